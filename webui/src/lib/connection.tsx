/** The connection in a React context, and the hooks that components use it by. */
import { createContext, use, useEffect, useRef, useSyncExternalStore, type ReactNode } from "react";
import type { Connection, ConnectionState, EventMap, Socket } from "./socket";

const ConnectionContext = createContext<Connection | null>(null);

export function ConnectionProvider({ connection, children }: { connection: Connection; children: ReactNode }) {
  return <ConnectionContext value={connection}>{children}</ConnectionContext>;
}

/** The application's connection. */
export function useTheConnection(): Connection {
  const connection = use(ConnectionContext);
  if (connection === null) throw new Error("there is no ConnectionProvider around this component");
  return connection;
}

/** The connection's state, kept up to date. */
export function useConnection(): ConnectionState {
  const connection = useTheConnection();
  return useSyncExternalStore(connection.subscribe, connection.state);
}

/** Call `handler` for every `event` of `socket`, always the newest one, for as long as the component is mounted. */
export function useSocketEvent<Incoming extends EventMap, Outgoing extends EventMap, Name extends keyof Incoming & string>(
  socket: Socket<Incoming, Outgoing>,
  event: Name,
  handler: Incoming[Name],
): void {
  const newest = useRef(handler);
  useEffect(() => {
    newest.current = handler;
  });
  useEffect(() => {
    const plain = socket as unknown as Socket;
    const listener = (...args: unknown[]): void => newest.current(...args);
    plain.on(event as string, listener);
    return () => {
      plain.off(event as string, listener);
    };
  }, [socket, event]);
}

/** Whether `socket` has joined its namespace, kept up to date. */
export function useJoined<Incoming extends EventMap, Outgoing extends EventMap>(socket: Socket<Incoming, Outgoing>): boolean {
  const plain = socket as unknown as Socket;
  return useSyncExternalStore(
    (listener) => {
      plain.on("connect", listener);
      plain.on("disconnect", listener);
      return () => {
        plain.off("connect", listener);
        plain.off("disconnect", listener);
      };
    },
    () => plain.connected,
  );
}
