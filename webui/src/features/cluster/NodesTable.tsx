import { Badge, Button, Group, Modal, Table, Text } from "@mantine/core";
import { useState } from "react";
import { ask, explain } from "../../lib/answer";
import { bytes, duration, milliseconds, rate } from "../../lib/format";
import type { AdminSocket } from "./ClusterPage";
import type { NodeReport } from "./events";
import type { Rates } from "./history";

/** Milliseconds. */
const PATIENCE = 5_000;
const STATE_COLORS = { ready: "teal.9", starting: "blue.9", draining: "orange.9", full: "red.9" } as const;
const RELAY = { none: ["gray.7", "alone"], healthy: ["teal.9", "healthy"], degraded: ["red.9", "degraded"] } as const;

interface Props {
  socket: AdminSocket;
  nodes: readonly NodeReport[];
  rates: ReadonlyMap<string, Rates>;
}

export function NodesTable({ socket, nodes, rates }: Props) {
  const [asked, setAsked] = useState<NodeReport | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  async function drain(node: NodeReport): Promise<void> {
    setAsked(null);
    try {
      await ask(socket, PATIENCE, "cluster:drain", { id: node.id });
      setProblem(null);
    } catch (error) {
      setProblem(`${node.name}: ${explain(error)}`);
    }
  }

  return (
    <section aria-label="Nodes">
      <Table.ScrollContainer minWidth={720}>
        <Table verticalSpacing="xs" striped>
          <Table.Thead>
            <Table.Tr>
              {["Node", "State", "Polling", "WebSocket", "In/s", "Out/s", "Loop delay", "Memory", "Relay", "Up", ""].map((title) => (
                <Table.Th key={title}>{title === "" ? <span className="visually-hidden">Actions</span> : title}</Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {nodes.map((node) => (
              <Table.Tr key={node.id} data-testid="node">
                <Table.Td>{node.name}</Table.Td>
                <Table.Td>
                  <Badge color={STATE_COLORS[node.state]}>
                    {node.state}
                  </Badge>
                </Table.Td>
                <Table.Td>{node.polling}</Table.Td>
                <Table.Td>{node.websocket}</Table.Td>
                <Table.Td>{rate(rates.get(node.id)?.received ?? 0)}</Table.Td>
                <Table.Td>{rate(rates.get(node.id)?.sent ?? 0)}</Table.Td>
                <Table.Td>{milliseconds(node.loop_delay)}</Table.Td>
                <Table.Td>{bytes(node.memory)}</Table.Td>
                <Table.Td>
                  <Badge color={RELAY[node.relay][0]}>
                    {RELAY[node.relay][1]}
                  </Badge>
                </Table.Td>
                <Table.Td>{duration(node.uptime)}</Table.Td>
                <Table.Td>
                  <Button size="compact-sm" variant="default" disabled={node.state === "draining"} onClick={() => setAsked(node)}>
                    Drain
                  </Button>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {problem !== null && (
        <Text c="red" role="alert">
          {problem}
        </Text>
      )}
      <Modal opened={asked !== null} onClose={() => setAsked(null)} title={`Drain ${asked?.name ?? ""}?`}>
        <Text>It takes no new clients, its {(asked?.polling ?? 0) + (asked?.websocket ?? 0)} sessions move to other nodes, and it ends.</Text>
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={() => setAsked(null)}>
            Cancel
          </Button>
          <Button color="red" onClick={() => asked !== null && void drain(asked)}>
            Drain
          </Button>
        </Group>
      </Modal>
    </section>
  );
}
