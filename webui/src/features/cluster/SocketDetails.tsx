import { Button, Code, Drawer, Group, ScrollArea, Stack, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import { ask, explain } from "../../lib/answer";
import { useSocketEvent } from "../../lib/connection";
import type { AdminSocket } from "./ClusterPage";
import type { SocketEvent, SocketSummary } from "./events";

const SHOWN = 200;
/** Milliseconds. */
const PATIENCE = 5_000;

interface Props {
  socket: AdminSocket;
  namespace: string;
  chosen: SocketSummary;
  onClose: () => void;
}

export function SocketDetails({ socket, namespace, chosen, onClose }: Props) {
  const [seen, setSeen] = useState<readonly SocketEvent[]>([]);
  const [problem, setProblem] = useState<string | null>(null);
  const { id } = chosen;

  useSocketEvent(socket, "cluster:socket_event", (event) => {
    if (event.id === id) setSeen((before) => [event, ...before].slice(0, SHOWN));
  });
  useEffect(() => {
    const target = { namespace, id };
    const watch = (): void => {
      socket.emit("cluster:watch", target, () => undefined);
    };
    watch();
    socket.on("connect", watch);
    return () => {
      socket.off("connect", watch);
      socket.emit("cluster:unwatch", target, () => undefined);
    };
  }, [socket, namespace, id]);

  async function end(what: "socket" | "user"): Promise<void> {
    try {
      if (what === "socket") await ask(socket, PATIENCE, "cluster:disconnect_socket", { namespace, id });
      else await ask(socket, PATIENCE, "cluster:disconnect_user", { id: chosen.user ?? "" });
      onClose();
    } catch (error) {
      setProblem(explain(error));
    }
  }

  return (
    <Drawer opened onClose={onClose} position="right" size="lg" title={`Socket ${id}`}>
      <Stack>
        <Text size="sm">
          {chosen.user ?? "no user"} · {chosen.address} · {chosen.rooms.join(", ") || "no rooms"}
        </Text>
        <Group>
          <Button color="red" variant="light" onClick={() => void end("socket")}>
            Disconnect socket
          </Button>
          <Button color="red" variant="light" disabled={chosen.user === null} onClick={() => void end("user")}>
            Disconnect user
          </Button>
        </Group>
        {problem !== null && (
          <Text c="red" role="alert">
            {problem}
          </Text>
        )}
        <Text fw={600}>Events</Text>
        <ScrollArea h={400} viewportProps={{ tabIndex: 0, "aria-label": "Events of the socket" }}>
          {seen.length === 0 && <Text size="sm">Nothing yet.</Text>}
          {seen.map((event, index) => (
            <Group key={seen.length - index} gap="xs" wrap="nowrap" align="flex-start">
              <Text size="xs" w={72}>
                {new Date(event.at).toLocaleTimeString()}
              </Text>
              <Text size="xs" w={28}>
                {event.direction}
              </Text>
              <Code>
                {event.event} {event.args}
              </Code>
            </Group>
          ))}
        </ScrollArea>
      </Stack>
    </Drawer>
  );
}
