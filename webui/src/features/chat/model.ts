/**
 * What the chat knows, and how it changes.
 *
 * Rule: a message is known by the id that its sender gave it, so one that was sent again,
 * or comes twice, is one message. Lists are bounded: the oldest messages go first, and can be
 * fetched again.
 */

export interface Person {
  readonly id: string;
  readonly name: string;
}

export type Role = "owner" | "moderator" | "member";

export interface Member extends Person {
  readonly role: Role;
}

export interface Message {
  readonly room: string;
  /** Its number in the room. */
  readonly seq: number;
  readonly author: Person;
  readonly clientId: string;
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly edited: boolean;
  readonly deleted: boolean;
}

/** A message of one's own that the server has not confirmed yet. */
export interface Pending {
  readonly clientId: string;
  readonly text: string;
  readonly at: number;
  readonly state: "sending" | "failed" | "waiting";
  /** What went wrong, or until when it waits, in milliseconds since the epoch. */
  readonly problem?: string;
  readonly until?: number;
}

export interface RoomInfo {
  readonly id: string;
  readonly name: string;
  readonly private: boolean;
  /** Null for who is no member. */
  readonly role: Role | null;
  readonly unread: number;
}

export interface RoomState {
  readonly messages: readonly Message[];
  readonly pending: readonly Pending[];
  readonly members: readonly Member[];
  readonly online: ReadonlySet<string>;
  /** Who is writing, until when, in milliseconds since the epoch. */
  readonly typing: ReadonlyMap<string, { readonly name: string; readonly until: number }>;
  /** Whether there are older messages than those that are here. */
  readonly more: boolean;
  readonly loaded: boolean;
}

/** Somebody would like one in a room. */
export interface Invitation {
  readonly room: string;
  readonly name: string;
  readonly by: string;
}

export interface ChatState {
  readonly rooms: readonly RoomInfo[];
  readonly invitations: readonly Invitation[];
  readonly current: string | null;
  readonly open: ReadonlyMap<string, RoomState>;
}

export type Action =
  | { type: "rooms"; rooms: readonly RoomInfo[]; invitations: readonly Invitation[] }
  | { type: "invited"; invitation: Invitation }
  | { type: "uninvited"; room: string }
  | { type: "room"; room: RoomInfo }
  | { type: "public"; rooms: readonly RoomInfo[] }
  | { type: "gone"; room: string }
  | { type: "select"; room: string | null }
  | { type: "members"; room: string; members: readonly Member[] }
  | { type: "member"; room: string; person: Person; role: Role | null }
  | { type: "online"; room: string; users: readonly string[] }
  | { type: "presence"; user: string; online: boolean }
  | { type: "newest"; room: string; messages: readonly Message[]; more: boolean }
  | { type: "older"; room: string; messages: readonly Message[]; more: boolean }
  | { type: "message"; message: Message; own: boolean }
  | { type: "changed"; message: Message }
  | { type: "read"; room: string; unread: number }
  | { type: "typing"; room: string; person: Person; until: number }
  | { type: "silent"; room: string; user: string }
  | { type: "quiet"; now: number }
  | { type: "pending"; room: string; pending: Pending }
  | { type: "dropped"; room: string; clientId: string };

export const KEPT = 2_000;

export const EMPTY: ChatState = { rooms: [], invitations: [], current: null, open: new Map() };

export const EMPTY_ROOM: RoomState = {
  messages: [],
  pending: [],
  members: [],
  online: new Set(),
  typing: new Map(),
  more: false,
  loaded: false,
};

export function reduce(state: ChatState, action: Action): ChatState {
  switch (action.type) {
    case "rooms":
      return {
        ...state,
        rooms: sorted(action.rooms),
        invitations: action.invitations,
        current: action.rooms.some((room) => room.id === state.current) ? state.current : null,
      };
    case "invited":
      return { ...state, invitations: [...state.invitations.filter((one) => one.room !== action.invitation.room), action.invitation] };
    case "uninvited":
      return { ...state, invitations: state.invitations.filter((one) => one.room !== action.room) };
    case "room":
      return {
        ...state,
        rooms: sorted([...state.rooms.filter((room) => room.id !== action.room.id), action.room]),
        invitations: action.room.role === null ? state.invitations : state.invitations.filter((one) => one.room !== action.room.id),
      };
    case "public": {
      const own = state.rooms.filter((room) => room.role !== null);
      const known = new Set(own.map((room) => room.id));
      return { ...state, rooms: sorted([...own, ...action.rooms.filter((room) => !known.has(room.id))]) };
    }
    case "gone": {
      const rooms = state.rooms.flatMap((room) => (room.id !== action.room ? [room] : room.private ? [] : [{ ...room, role: null, unread: 0 }]));
      const open = new Map(state.open);
      open.delete(action.room);
      return { ...state, rooms, open, current: state.current === action.room ? null : state.current };
    }
    case "select":
      return { ...state, current: action.room };
    case "members":
      return inRoom(state, action.room, (room) => ({ ...room, members: action.members }));
    case "member":
      return inRoom(state, action.room, (room) => {
        const others = room.members.filter((member) => member.id !== action.person.id);
        const members = action.role === null ? others : [...others, { ...action.person, role: action.role }];
        return { ...room, members: members.sort((one, two) => one.name.localeCompare(two.name)) };
      });
    case "online":
      return inRoom(state, action.room, (room) => ({ ...room, online: new Set(action.users) }));
    case "presence":
      return { ...state, open: new Map([...state.open].map(([id, room]) => [id, withPresence(room, action.user, action.online)])) };
    case "newest":
      return inRoom(state, action.room, (room) => newest(room, action.messages, action.more));
    case "older":
      return inRoom(state, action.room, (room) => ({ ...room, messages: merged(action.messages, room.messages, Infinity), more: action.more }));
    case "message":
      return arrived(state, action.message, action.own);
    case "changed":
      return inRoom(state, action.message.room, (room) => ({
        ...room,
        messages: room.messages.map((message) => (message.seq === action.message.seq ? action.message : message)),
      }));
    case "read":
      return withUnread(state, action.room, () => action.unread);
    case "typing":
      return inRoom(state, action.room, (room) => ({
        ...room,
        typing: new Map(room.typing).set(action.person.id, { name: action.person.name, until: action.until }),
      }));
    case "silent":
      return inRoom(state, action.room, (room) => {
        const typing = new Map(room.typing);
        typing.delete(action.user);
        return { ...room, typing };
      });
    case "quiet":
      return { ...state, open: new Map([...state.open].map(([id, room]) => [id, withoutOldTyping(room, action.now)])) };
    case "pending":
      return inRoom(state, action.room, (room) => ({
        ...room,
        pending: [...room.pending.filter((one) => one.clientId !== action.pending.clientId), action.pending].sort((one, two) => one.at - two.at),
      }));
    case "dropped":
      return inRoom(state, action.room, (room) => ({ ...room, pending: room.pending.filter((one) => one.clientId !== action.clientId) }));
  }
}

function inRoom(state: ChatState, id: string, change: (room: RoomState) => RoomState): ChatState {
  return { ...state, open: new Map(state.open).set(id, change(state.open.get(id) ?? EMPTY_ROOM)) };
}

/** The newest page has come: after a time without a connection it may not join on to what is here. */
function newest(room: RoomState, page: readonly Message[], more: boolean): RoomState {
  const oldest = page.at(0);
  const last = room.messages.at(-1);
  const joins = oldest === undefined || last === undefined || oldest.seq <= last.seq + 1;
  const known = new Set(page.map((message) => message.clientId));
  return {
    ...room,
    loaded: true,
    messages: joins ? merged(room.messages, page, KEPT) : page,
    more: joins && room.messages.length > 0 ? room.more : more,
    pending: room.pending.filter((one) => !known.has(one.clientId)),
  };
}

function arrived(state: ChatState, message: Message, own: boolean): ChatState {
  const seen = state.open.get(message.room)?.messages.some((one) => one.seq === message.seq) ?? false;
  const next = inRoom(state, message.room, (room) => {
    const typing = new Map(room.typing);
    typing.delete(message.author.id);
    return {
      ...room,
      typing,
      messages: merged(room.messages, [message], KEPT),
      pending: room.pending.filter((one) => one.clientId !== message.clientId),
    };
  });
  return own || seen ? next : withUnread(next, message.room, (unread) => unread + 1);
}

/** Both lists as one in order of number, each message once, the newer of two; only the last `most`. */
function merged(older: readonly Message[], newer: readonly Message[], most: number): readonly Message[] {
  const bySeq = new Map<number, Message>();
  for (const message of [...older, ...newer]) bySeq.set(message.seq, message);
  const all = [...bySeq.values()].sort((one, two) => one.seq - two.seq);
  return most === Infinity ? all : all.slice(-most);
}

function withUnread(state: ChatState, id: string, change: (unread: number) => number): ChatState {
  return { ...state, rooms: state.rooms.map((room) => (room.id === id ? { ...room, unread: change(room.unread) } : room)) };
}

function withPresence(room: RoomState, user: string, online: boolean): RoomState {
  const here = room.members.some((member) => member.id === user) && online;
  if (here === room.online.has(user)) return room;
  const next = new Set(room.online);
  if (here) next.add(user);
  else next.delete(user);
  return { ...room, online: next };
}

function withoutOldTyping(room: RoomState, now: number): RoomState {
  const typing = [...room.typing].filter(([, one]) => one.until > now);
  return typing.length === room.typing.size ? room : { ...room, typing: new Map(typing) };
}

/** One's own first, then by name. */
function sorted(rooms: readonly RoomInfo[]): readonly RoomInfo[] {
  return [...rooms].sort((one, two) => Number(one.role === null) - Number(two.role === null) || one.name.localeCompare(two.name));
}
