/** Joins the chat's socket with its model: what is heard becomes actions, what the user does becomes commands. */
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from "react";
import { explain, Refused } from "../../lib/answer";
import { useSocketEvent } from "../../lib/connection";
import { EMPTY, reduce, type Message, type Person } from "./model";
import { Outbox } from "./outbox";
import { commands, toInvitation, toMember, toMessage, toRoom, type ChatSocket } from "./protocol";

/** Milliseconds for which somebody counts as writing, and after which one says so again. */
const TYPING_FOR = 4_000;
const TYPING_EVERY = 2_500;

const now = (): number => Date.now();

function later(action: () => void, milliseconds: number): void {
  setTimeout(action, milliseconds);
}

export interface Notice {
  readonly text: string;
  /** Milliseconds since the epoch until when to wait; null if it is an error. */
  readonly until: number | null;
}

export function useChat(socket: ChatSocket, me: Person) {
  const [state, dispatch] = useReducer(reduce, EMPTY);
  const [notice, setNotice] = useState<Notice | null>(null);
  const current = useRef<string | null>(null);
  const lastTyped = useRef(0);
  const search = useRef("");
  const api = useMemo(() => commands(socket), [socket]);

  /** Do something for the user, and tell them if it cannot be done. */
  const attempt = useCallback(async (action: () => Promise<void>): Promise<boolean> => {
    try {
      await action();
      setNotice(null);
      return true;
    } catch (error) {
      const wait = error instanceof Refused ? error.retryAfter : undefined;
      setNotice({ text: explain(error), until: wait === undefined ? null : Date.now() + wait * 1000 });
      return false;
    }
  }, []);

  const outbox = useMemo(
    () =>
      new Outbox({
        post: (room, pending) => api.post(room, pending),
        connected: () => socket.connected,
        changed: (room, pending) => dispatch({ type: "pending", room, pending }),
        stored: (message) => dispatch({ type: "message", message, own: true }),
        now,
        later,
      }),
    [api, socket],
  );

  // Whether everything, and the room that is looked at, have been read and kept up to date since.
  const opened = useRef(false);
  const loaded = useRef(false);

  const load = useCallback(
    async (room: string): Promise<void> => {
      loaded.current = false;
      const [page, members, online] = await Promise.all([api.history(room, null), api.members(room), api.online(room)]);
      dispatch({ type: "newest", room, ...page });
      dispatch({ type: "members", room, members });
      dispatch({ type: "online", room, users: online });
      const last = page.messages.at(-1);
      if (last !== undefined) dispatch({ type: "read", room, unread: await api.read(room, last.seq) });
      loaded.current = room === current.current;
    },
    [api],
  );

  // Whatever happened while there was no connection is asked for when it is back, unless the server has sent all of it.
  const catchUp = useCallback(() => {
    if (socket.recovered && opened.current && (loaded.current || current.current === null)) {
      outbox.reconnected();
      return;
    }
    opened.current = false;
    void attempt(async () => {
      const everything = await api.everything();
      dispatch({ type: "rooms", ...everything });
      dispatch({ type: "public", rooms: await api.find(search.current) });
      if (current.current !== null) await load(current.current);
      opened.current = true;
      outbox.reconnected();
    });
  }, [api, attempt, load, outbox, socket]);

  useEffect(() => {
    socket.on("connect", catchUp);
    socket.connect();
    return () => {
      socket.off("connect", catchUp);
      socket.disconnect();
    };
  }, [socket, catchUp]);

  useEffect(() => {
    const timer = setInterval(() => dispatch({ type: "quiet", now: Date.now() }), 1_000);
    return () => clearInterval(timer);
  }, []);

  const seen = useCallback(
    (message: Message) => {
      if (message.room !== current.current || document.hidden) return;
      dispatch({ type: "read", room: message.room, unread: 0 });
      void api.read(message.room, message.seq).catch(() => undefined);
    },
    [api],
  );

  useSocketEvent(socket, "chat:posted", (wire) => {
    const message = toMessage(wire);
    dispatch({ type: "message", message, own: message.author.id === me.id });
    seen(message);
  });
  useSocketEvent(socket, "chat:edited", (wire) => dispatch({ type: "changed", message: toMessage(wire) }));
  useSocketEvent(socket, "chat:deleted", (wire) => dispatch({ type: "changed", message: toMessage(wire) }));
  useSocketEvent(socket, "chat:was_read", (mark) => dispatch({ type: "read", room: mark.room, unread: mark.unread }));
  useSocketEvent(socket, "chat:room_opened", (wire) => dispatch({ type: "room", room: toRoom(wire) }));
  useSocketEvent(socket, "chat:room_gone", (gone) => dispatch({ type: "gone", room: gone.room }));
  useSocketEvent(socket, "chat:invited", (wire) => dispatch({ type: "invited", invitation: toInvitation(wire) }));
  useSocketEvent(socket, "chat:uninvited", (wire) => dispatch({ type: "uninvited", room: wire.room }));
  const member = (wire: Parameters<typeof toMember>[0]): void => {
    const { role, ...person } = toMember(wire);
    dispatch({ type: "member", room: wire.room, person, role });
  };
  useSocketEvent(socket, "chat:joined", member);
  useSocketEvent(socket, "chat:role_changed", member);
  useSocketEvent(socket, "chat:left", (left) => dispatch({ type: "member", room: left.room, person: left.user, role: null }));
  useSocketEvent(socket, "chat:typing", (one) => {
    if (one.user.id === me.id) return;
    if (one.typing) dispatch({ type: "typing", room: one.room, person: one.user, until: Date.now() + TYPING_FOR });
    else dispatch({ type: "silent", room: one.room, user: one.user.id });
  });
  useSocketEvent(socket, "presence:changed", (one) => dispatch({ type: "presence", user: one.user, online: one.online }));

  const select = useCallback(
    (room: string | null): void => {
      current.current = room;
      dispatch({ type: "select", room });
      if (room !== null) void attempt(() => load(room));
    },
    [attempt, load],
  );

  const actions = useMemo(
    () => ({
      select,
      dismiss: () => setNotice(null),
      find: (text: string) =>
        attempt(async () => {
          search.current = text;
          const rooms = await api.find(text);
          if (search.current === text) dispatch({ type: "public", rooms });
        }),
      join: (room: string) =>
        attempt(async () => {
          dispatch({ type: "room", room: await api.join(room) });
          select(room);
        }),
      create: (name: string, isPrivate: boolean) =>
        attempt(async () => {
          const room = await api.create(name, isPrivate);
          dispatch({ type: "room", room });
          select(room.id);
        }),
      leave: (room: string) =>
        attempt(async () => {
          await api.leave(room);
          dispatch({ type: "gone", room });
          current.current = null;
        }),
      decline: (room: string) =>
        attempt(async () => {
          await api.decline(room);
          dispatch({ type: "uninvited", room });
        }),
      invite: (room: string, name: string) => attempt(() => api.invite(room, name)),
      older: (room: string, before: number) =>
        attempt(async () => dispatch({ type: "older", room, ...(await api.history(room, before)) })),
      send: (room: string, text: string): void => outbox.add(room, crypto.randomUUID(), text),
      retry: (clientId: string): void => outbox.retry(clientId),
      drop: (room: string, clientId: string): void => {
        outbox.drop(clientId);
        dispatch({ type: "dropped", room, clientId });
      },
      edit: (message: Message, text: string) =>
        attempt(async () => dispatch({ type: "changed", message: await api.edit(message, text) })),
      remove: (message: Message) => attempt(async () => dispatch({ type: "changed", message: await api.remove(message) })),
      typing: (room: string): void => {
        if (now() - lastTyped.current < TYPING_EVERY) return;
        lastTyped.current = now();
        api.typing(room);
      },
    }),
    [api, attempt, outbox, select],
  );

  return { state, notice, actions };
}

export type Actions = ReturnType<typeof useChat>["actions"];
