/** The part of the generated event maps that this feature speaks. */
export type {
  AdminClientToServerEvents,
  AdminServerToClientEvents,
  ClusterReport,
  NodeReport,
  RoomsPage,
  RoomSummary,
  SocketEvent,
  SocketsPage,
  SocketSummary,
} from "../../lib/events";
