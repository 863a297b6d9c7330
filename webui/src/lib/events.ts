/* eslint-disable @typescript-eslint/no-explicit-any */
/** The events of rtserver chat, version 0. Made by `rtserver typescript`: do not edit. */

/** What a client hears in `/`. */
export type ServerToClientEvents = {
  "node:hello": (hello: Hello) => void;
};

/** What a client may send in `/`. */
export type ClientToServerEvents = {
  "auth:refresh": (...args: any[]) => void;
};

/** What a client hears in `/admin`. */
export type AdminServerToClientEvents = {
  "cluster:report": (clusterReport: ClusterReport) => void;
  "cluster:socket_event": (socketEvent: SocketEvent) => void;
};

/** What a client may send in `/admin`. */
export type AdminClientToServerEvents = {
  "auth:refresh": (...args: any[]) => void;
  "cluster:disconnect_socket": (socketRef: SocketRef, ack: (answer: Answer<RtserverHandlersAdminEventsDone>) => void) => void;
  "cluster:disconnect_user": (rtserverHandlersAdminEventsUserRef: RtserverHandlersAdminEventsUserRef, ack: (answer: Answer<RtserverHandlersAdminEventsDone>) => void) => void;
  "cluster:drain": (nodeRef: NodeRef, ack: (answer: Answer<RtserverHandlersAdminEventsDone>) => void) => void;
  "cluster:rooms": (roomsQuery: RoomsQuery, ack: (answer: Answer<RoomsPage>) => void) => void;
  "cluster:sockets": (socketsQuery: SocketsQuery, ack: (answer: Answer<SocketsPage>) => void) => void;
  "cluster:unwatch": (socketRef: SocketRef, ack: (answer: Answer<RtserverHandlersAdminEventsDone>) => void) => void;
  "cluster:watch": (socketRef: SocketRef, ack: (answer: Answer<RtserverHandlersAdminEventsDone>) => void) => void;
};

/** What a client hears in `/chat`. */
export type ChatServerToClientEvents = {
  "chat:deleted": (message: Message) => void;
  "chat:edited": (message: Message) => void;
  "chat:invited": (invitation: Invitation) => void;
  "chat:joined": (member: Member) => void;
  "chat:left": (left: Left) => void;
  "chat:posted": (message: Message) => void;
  "chat:role_changed": (member: Member) => void;
  "chat:room_gone": (roomGone: RoomGone) => void;
  "chat:room_opened": (roomState: RoomState) => void;
  "chat:typing": (typing: Typing) => void;
  "chat:uninvited": (roomRef: RoomRef) => void;
  "chat:was_read": (readState: ReadState) => void;
  "presence:changed": (presence: Presence) => void;
};

/** What a client may send in `/chat`. */
export type ChatClientToServerEvents = {
  "auth:refresh": (...args: any[]) => void;
  "chat:close": (roomRef: RoomRef, ack: (answer: Answer<RtserverHandlersChatEventsDone>) => void) => void;
  "chat:create": (newRoom: NewRoom, ack: (answer: Answer<RoomState>) => void) => void;
  "chat:decline": (roomRef: RoomRef, ack: (answer: Answer<RtserverHandlersChatEventsDone>) => void) => void;
  "chat:delete": (messageRef: MessageRef, ack: (answer: Answer<Message>) => void) => void;
  "chat:edit": (edit: Edit, ack: (answer: Answer<Message>) => void) => void;
  "chat:history": (historyQuery: HistoryQuery, ack: (answer: Answer<HistoryPage>) => void) => void;
  "chat:invite": (inviteByName: InviteByName, ack: (answer: Answer<RtserverHandlersChatEventsUserRef>) => void) => void;
  "chat:join": (roomRef: RoomRef, ack: (answer: Answer<RoomState>) => void) => void;
  "chat:leave": (roomRef: RoomRef, ack: (answer: Answer<RtserverHandlersChatEventsDone>) => void) => void;
  "chat:members": (memberQuery: MemberQuery, ack: (answer: Answer<MemberPage>) => void) => void;
  "chat:open": (ack: (answer: Answer<ChatState>) => void) => void;
  "chat:post": (draft: Draft, ack: (answer: Answer<Message>) => void) => void;
  "chat:read": (messageRef: MessageRef, ack: (answer: Answer<ReadState>) => void) => void;
  "chat:remove": (memberRef: MemberRef, ack: (answer: Answer<RtserverHandlersChatEventsDone>) => void) => void;
  "chat:rooms": (roomQuery: RoomQuery, ack: (answer: Answer<RoomPage>) => void) => void;
  "chat:set_role": (newRole: NewRole, ack: (answer: Answer<Member>) => void) => void;
  "chat:typing_in": (typingIn: TypingIn, ack?: (answer?: unknown) => void) => void;
  "presence:online": (onlineQuery: OnlineQuery, ack: (answer: Answer<Online>) => void) => void;
};

/** What acknowledges an event: its answer, or why it was refused. */
export type Answer<T> = T | Refusal;

/** Everything about a user: the rooms, newest activity first, and the invitations. */
export interface ChatState {
  user: RtserverHandlersChatEventsUserRef;
  rooms: RoomState[];
  invitations: Invitation[];
}

/** Every node that has reported of late. ``at`` is in milliseconds since the epoch. */
export interface ClusterReport {
  at: number;
  nodes: NodeReport[];
}

/** A message that shall be stored. Sent again with the same ``id`` it is stored once. */
export interface Draft {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  id: string;
  /**
   * @maxLength 2000
   * @minLength 1
   * @pattern ^[^\x00]+$
   */
  text: string;
}

/** Another text for a message. */
export interface Edit {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @maximum 9007199254740991
   * @minimum 0
   */
  seq: number;
  /**
   * @maxLength 2000
   * @minLength 1
   * @pattern ^[^\x00]+$
   */
  text: string;
}

/** The node that a client is connected to. */
export interface Hello {
  node: string;
}

/** Messages, and whether there are more in that direction. */
export interface HistoryPage {
  messages: Message[];
  more: boolean;
}

/** The messages before one, newest first, or those after one, oldest first; without either the newest. */
export interface HistoryQuery {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  before?: number | null;
  after?: number | null;
  /**
   * @default 50
   * @maximum 50
   * @minimum 1
   */
  size?: number;
}

/** ``by`` would like the user in the room. */
export interface Invitation {
  room: Room;
  by: RtserverHandlersChatEventsUserRef;
  at: number;
}

/** Somebody who shall be invited, by name. */
export interface InviteByName {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[^\x00]+$
   */
  name: string;
}

/** Somebody is no longer a member. */
export interface Left {
  room: string;
  user: RtserverHandlersChatEventsUserRef;
}

/** A user in a room. */
export interface Member {
  room: string;
  user: RtserverHandlersChatEventsUserRef;
  role: "member" | "moderator" | "owner";
}

/** Members by name; ``next`` is None on the last page. */
export interface MemberPage {
  members: Member[];
  next: string | null;
}

/** A page of a room's members; ``after`` is the ``next`` of the page before. */
export interface MemberQuery {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @default ""
   * @maxLength 200
   * @pattern ^[^\x00]*$
   */
  after?: string;
  /**
   * @default 50
   * @maximum 50
   * @minimum 1
   */
  size?: number;
}

/** A member of a room, by id. */
export interface MemberRef {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  user: string;
}

/** A message that is stored. ``id`` is what its author's client gave it; a deleted one has no text. */
export interface Message {
  room: string;
  seq: number;
  id: string;
  author: RtserverHandlersChatEventsUserRef;
  text: string;
  at: number;
  edited_at?: number | null;
  /** @default false */
  deleted?: boolean;
}

/** A message. */
export interface MessageRef {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @maximum 9007199254740991
   * @minimum 0
   */
  seq: number;
}

/** What a node has of one namespace. ``events`` counts those received since the start. */
export interface NamespaceReport {
  name: string;
  sockets: number;
  rooms: number;
  events: number;
}

/** What a member shall be. A new owner takes the place of the present one. */
export interface NewRole {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  user: string;
  role: "member" | "moderator" | "owner";
}

/** A room that shall be made. Names of public rooms are taken once. */
export interface NewRoom {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[^\x00]+$
   */
  name: string;
  /** @default false */
  private?: boolean;
}

/** A node, by the id in its report. */
export interface NodeRef {
  /** @maxLength 256 */
  id: string;
}

/** One node at one moment. Counters count since its start. */
export interface NodeReport {
  /** Of the process; a node that is restarted has another one. */
  id: string;
  /** Host and process id, for people. */
  name: string;
  /** Whether it takes new clients. */
  state: "draining" | "full" | "ready" | "starting";
  /** Seconds. */
  uptime: number;
  /** Sessions by long-polling. */
  polling: number;
  /** Sessions by WebSocket. */
  websocket: number;
  /** Sessions, counted. */
  opened: number;
  /** Events received, counted. */
  packets_in: number;
  /** Engine.IO packets sent, counted. */
  packets_out: number;
  /** Read from sockets, counted. */
  bytes_in: number;
  /** Written to sockets, counted. */
  bytes_out: number;
  /** Sessions closed because they did not keep up, counted. */
  slow_consumers: number;
  /** By how much the loop was late, in seconds. */
  loop_delay: number;
  /** Resident, in bytes; 0 where the system does not tell. */
  memory: number;
  /** Whether it hears the other nodes. */
  relay: "degraded" | "healthy" | "none";
  /** Static ones each; all dynamic ones together under ``(dynamic)``. */
  namespaces: NamespaceReport[];
}

/** Some of the ``total`` users who are online in a room. */
export interface Online {
  room: string;
  users: OnlineUser[];
  total: number;
}

/** A room of which one is a member. */
export interface OnlineQuery {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
}

/** A user who is online. */
export interface OnlineUser {
  id: string;
  name: string;
}

/** Somebody with whom one shares a room has come, or has gone. */
export interface Presence {
  user: string;
  online: boolean;
}

/** How far the user has read, on another device too. */
export interface ReadState {
  room: string;
  read: number;
  unread: number;
}

/** Why an event was refused. Further fields may say more. */
export interface Refusal {
  error: {
    /** For programs. */
    code: string;
    /** For people. */
    message: string;
    /** Seconds after which to try again. */
    retry_after?: number;
    [name: string]: unknown;
  };
}

/** A room. ``last_seq`` is the number of its newest message, 0 without one. */
export interface Room {
  id: string;
  name: string;
  private: boolean;
  members: number;
  last_seq: number;
  last_at: number;
}

/** The user is no longer a member, and why. */
export interface RoomGone {
  room: string;
  reason: "closed" | "left" | "removed";
}

/** Rooms by name; ``next`` is None on the last page. */
export interface RoomPage {
  rooms: Room[];
  next: string | null;
}

/** A page of public rooms whose names contain ``search``; ``after`` is the ``next`` of the page before. */
export interface RoomQuery {
  /**
   * @default ""
   * @maxLength 200
   * @pattern ^[^\x00]*$
   */
  search?: string;
  /**
   * @default ""
   * @maxLength 200
   * @pattern ^[^\x00]*$
   */
  after?: string;
  /**
   * @default 50
   * @maximum 50
   * @minimum 1
   */
  size?: number;
}

/** A room. */
export interface RoomRef {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
}

/** A room, as one of its members sees it: read up to ``read``, with ``unread`` messages after it. */
export interface RoomState {
  room: Room;
  role: "member" | "moderator" | "owner";
  read: number;
  unread: number;
}

/** A room, and how many sockets are in it on all nodes. */
export interface RoomSummary {
  name: string;
  sockets: number;
}

/** Some of ``total`` rooms. */
export interface RoomsPage {
  total: number;
  rooms: RoomSummary[];
}

/** A page of rooms whose names contain ``search``, largest first. */
export interface RoomsQuery {
  /** @maxLength 256 */
  namespace: string;
  /**
   * @default ""
   * @maxLength 256
   */
  search?: string;
  /**
   * @default 0
   * @maximum 1000000
   * @minimum 0
   */
  offset?: number;
  /**
   * @default 50
   * @maximum 100
   * @minimum 1
   */
  size?: number;
}

/** An event of a watched socket. ``args`` is JSON, cut where it is long; ``at`` in milliseconds. */
export interface SocketEvent {
  namespace: string;
  id: string;
  direction: "in" | "out";
  event: string;
  args: string;
  at: number;
}

/** A socket of a namespace. */
export interface SocketRef {
  /** @maxLength 256 */
  namespace: string;
  /** @maxLength 256 */
  id: string;
}

/** One socket, on whatever node. ``since`` is in milliseconds since the epoch. */
export interface SocketSummary {
  id: string;
  user: string | null;
  address: string;
  since: number;
  rooms: string[];
}

/** Some of ``total`` sockets. ``silent`` nodes did not answer in time. */
export interface SocketsPage {
  total: number;
  sockets: SocketSummary[];
  /** @default 0 */
  silent?: number;
}

/** A page of sockets whose id, user, address or rooms contain ``search``. */
export interface SocketsQuery {
  /** @maxLength 256 */
  namespace: string;
  /**
   * @default ""
   * @maxLength 256
   */
  search?: string;
  /**
   * @default 0
   * @maximum 1000000
   * @minimum 0
   */
  offset?: number;
  /**
   * @default 50
   * @maximum 100
   * @minimum 1
   */
  size?: number;
}

/** Somebody writes, or has stopped. Take it back after some seconds by yourself: it may get lost. */
export interface Typing {
  room: string;
  user: RtserverHandlersChatEventsUserRef;
  typing: boolean;
}

/** The user writes in a room, or has stopped. */
export interface TypingIn {
  /**
   * @maxLength 64
   * @minLength 1
   * @pattern ^[A-Za-z0-9_-]+$
   */
  room: string;
  /** @default true */
  typing?: boolean;
}

/** It has been passed on to the nodes. */
export interface RtserverHandlersAdminEventsDone {
  /** @default true */
  done?: boolean;
}

/** A user, wherever they are connected. */
export interface RtserverHandlersAdminEventsUserRef {
  /** @maxLength 256 */
  id: string;
}

/** It is done. */
export interface RtserverHandlersChatEventsDone {
  /** @default true */
  done?: boolean;
}

/** A user. */
export interface RtserverHandlersChatEventsUserRef {
  id: string;
  name: string;
}
