/** The part of the generated event maps that this feature speaks. */
export type {
  AdminClientToServerEvents,
  AdminServerToClientEvents,
  ClusterReport,
  NodeReport,
  RoomSummary,
  SocketEvent,
  SocketSummary,
} from "../../lib/events";
