export interface NamespaceReport { name: string; sockets: number; rooms: number; events: number }
export interface NodeReport {
  id: string; name: string; state: "starting" | "ready" | "draining" | "full"; uptime: number; polling: number; websocket: number;
  opened: number; packets_in: number; packets_out: number; bytes_in: number; bytes_out: number; slow_consumers: number;
  loop_delay: number; memory: number; relay: "none" | "healthy" | "degraded"; namespaces: NamespaceReport[];
}
export interface ClusterReport { at: number; nodes: NodeReport[] }
export interface SocketSummary { id: string; user: string | null; address: string; since: number; rooms: string[] }
export interface SocketsPage { total: number; sockets: SocketSummary[]; silent?: string[] }
export interface RoomSummary { name: string; sockets: number }
export interface RoomsPage { total: number; rooms: RoomSummary[] }
export interface SocketsQuery { namespace: string; search?: string; offset?: number; size?: number }
export interface SocketRef { namespace: string; id: string }
export interface Done { done?: boolean }
export interface SocketEvent { namespace: string; id: string; direction: "in" | "out"; event: string; args: string; at: number }
export interface Refusal { error: { code: string; message: string; retry_after?: number } }
export type Answer<T> = T | Refusal;
export type AdminServerToClientEvents = {
  "cluster:report": (report: ClusterReport) => void;
  "cluster:socket_event": (seen: SocketEvent) => void;
};
export type AdminClientToServerEvents = {
  "cluster:sockets": (query: SocketsQuery, ack: (page: Answer<SocketsPage>) => void) => void;
  "cluster:rooms": (query: SocketsQuery, ack: (page: Answer<RoomsPage>) => void) => void;
  "cluster:watch": (target: SocketRef, ack: (done: Answer<Done>) => void) => void;
  "cluster:unwatch": (target: SocketRef, ack: (done: Answer<Done>) => void) => void;
  "cluster:disconnect_socket": (target: SocketRef, ack: (done: Answer<Done>) => void) => void;
  "cluster:disconnect_user": (target: { id: string }, ack: (done: Answer<Done>) => void) => void;
  "cluster:drain": (target: { id: string }, ack: (done: Answer<Done>) => void) => void;
};
