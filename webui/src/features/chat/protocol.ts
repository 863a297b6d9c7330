/** Between the server's events and the model: the one file that knows both. */
import { ask, type Asked } from "../../lib/answer";
import type * as wire from "../../lib/events";
import type { Socket } from "../../lib/socket";
import type { Invitation, Member, Message, Pending, RoomInfo } from "./model";

export type ChatSocket = Socket<wire.ChatServerToClientEvents, wire.ChatClientToServerEvents>;

const PATIENCE = 8_000;
export const PAGE = 50;
/** Pages of members that are fetched of a room. */
const MEMBER_PAGES = 10;

export function toMessage(message: wire.Message): Message {
  return {
    room: message.room,
    seq: message.seq,
    author: message.author,
    clientId: message.id,
    text: message.text,
    at: message.at,
    edited: (message.edited_at ?? null) !== null,
    deleted: message.deleted ?? false,
  };
}

export function toRoom(state: wire.RoomState): RoomInfo {
  return { id: state.room.id, name: state.room.name, private: state.room.private, role: state.role, unread: state.unread };
}

export function toPublicRoom(room: wire.Room): RoomInfo {
  return { id: room.id, name: room.name, private: room.private, role: null, unread: 0 };
}

export function toMember(member: wire.Member): Member {
  return { ...member.user, role: member.role };
}

export function toInvitation(invitation: wire.Invitation): Invitation {
  return { room: invitation.room.id, name: invitation.room.name, by: invitation.by.name };
}

/** What a user can ask of the server. Every promise rejects with `Refused`, or another error without an answer. */
export function commands(socket: ChatSocket) {
  type Events = wire.ChatClientToServerEvents;
  function asked<Name extends keyof Events & string>(name: Name, ...args: Asked<Events[Name]>["args"]): Promise<Asked<Events[Name]>["answer"]> {
    return ask(socket, PATIENCE, name, ...args);
  }
  return {
    /** One's own rooms, and invitations. */
    async everything(): Promise<{ rooms: RoomInfo[]; invitations: Invitation[] }> {
      const state = await asked("chat:open");
      const rooms = state.rooms.map(toRoom);
      return { rooms, invitations: state.invitations.map(toInvitation) };
    },
    /** Public rooms whose names contain a text. */
    async find(search: string): Promise<RoomInfo[]> {
      return (await asked("chat:rooms", { search })).rooms.map(toPublicRoom);
    },
    async create(name: string, isPrivate: boolean): Promise<RoomInfo> {
      return toRoom(await asked("chat:create", { name, private: isPrivate }));
    },
    async join(room: string): Promise<RoomInfo> {
      return toRoom(await asked("chat:join", { room }));
    },
    async leave(room: string): Promise<void> {
      await asked("chat:leave", { room });
    },
    async decline(room: string): Promise<void> {
      await asked("chat:decline", { room });
    },
    async invite(room: string, name: string): Promise<void> {
      await asked("chat:invite", { room, name });
    },
    async members(room: string): Promise<Member[]> {
      const members: Member[] = [];
      let after = "";
      for (let page = 0; page < MEMBER_PAGES; page += 1) {
        const found = await asked("chat:members", { room, after });
        members.push(...found.members.map(toMember));
        if (found.next === null) break;
        after = found.next;
      }
      return members;
    },
    async online(room: string): Promise<string[]> {
      return (await asked("presence:online", { room })).users.map((user) => user.id);
    },
    /** A page of messages, the oldest first. */
    async history(room: string, before: number | null): Promise<{ messages: Message[]; more: boolean }> {
      const page = await asked("chat:history", { room, before, size: PAGE });
      return { messages: page.messages.map(toMessage).reverse(), more: page.more };
    },
    async post(room: string, pending: Pending): Promise<Message> {
      return toMessage(await asked("chat:post", { room, id: pending.clientId, text: pending.text }));
    },
    async edit(message: Message, text: string): Promise<Message> {
      return toMessage(await asked("chat:edit", { room: message.room, seq: message.seq, text }));
    },
    async remove(message: Message): Promise<Message> {
      return toMessage(await asked("chat:delete", { room: message.room, seq: message.seq }));
    },
    async read(room: string, seq: number): Promise<number> {
      return (await asked("chat:read", { room, seq })).unread;
    },
    typing(room: string): void {
      socket.volatile.emit("chat:typing_in", { room });
    },
  };
}

export type Commands = ReturnType<typeof commands>;
