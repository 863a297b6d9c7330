/** The live view of the cluster, for administrators. */
import "./styles";
import { Alert, Loader, Stack, Tabs, Title } from "@mantine/core";
import { useEffect, useReducer, useState } from "react";
import { useJoined, useSocketEvent, useTheConnection } from "../../lib/connection";
import type { Credentials, Socket } from "../../lib/socket";
import type { AdminClientToServerEvents, AdminServerToClientEvents } from "./events";
import { EMPTY, extended } from "./history";
import { NodesTable } from "./NodesTable";
import { RoomsTable } from "./RoomsTable";
import { SocketsTable } from "./SocketsTable";
import { Traffic } from "./Traffic";

export type AdminSocket = Socket<AdminServerToClientEvents, AdminClientToServerEvents>;

export default function ClusterPage({ credentials }: { credentials: Credentials }) {
  const connection = useTheConnection();
  const socket: AdminSocket = connection.socket("/admin", credentials);
  const joined = useJoined(socket);
  const [history, add] = useReducer(extended, EMPTY);
  const [refusal, setRefusal] = useState<string | null>(null);

  useSocketEvent(socket, "cluster:report", add);
  useEffect(() => {
    const refused = (problem: Error): void => setRefusal(problem.message);
    const accepted = (): void => setRefusal(null);
    socket.on("connect_error", refused);
    socket.on("connect", accepted);
    socket.connect();
    return () => {
      socket.off("connect_error", refused);
      socket.off("connect", accepted);
      socket.disconnect();
    };
  }, [socket]);

  if (refusal !== null) {
    return (
      <Alert color="red" title="The cluster is for administrators" role="alert">
        {refusal}
      </Alert>
    );
  }
  if (history.last === null) return <Loader aria-label="Waiting for the first report" />;
  const namespaces = [...new Set(history.last.nodes.flatMap((node) => node.namespaces.map((one) => one.name)))].sort();
  return (
    <Stack gap="lg">
      <Title order={1} size="h3">
        Cluster
      </Title>
      <Traffic points={history.points} />
      <NodesTable socket={socket} nodes={history.last.nodes} rates={history.rates} />
      <Tabs defaultValue="sockets" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="sockets">Sockets</Tabs.Tab>
          <Tabs.Tab value="rooms">Rooms</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="sockets" pt="md">
          <SocketsTable socket={socket} namespaces={namespaces} active={joined} />
        </Tabs.Panel>
        <Tabs.Panel value="rooms" pt="md">
          <RoomsTable socket={socket} namespaces={namespaces} active={joined} />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}
