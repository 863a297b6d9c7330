import { Anchor, Table, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useCallback, useState } from "react";
import { ask } from "../../lib/answer";
import type { AdminSocket } from "./ClusterPage";
import type { SocketSummary } from "./events";
import { Pages, SearchBar, SIZE, type Query } from "./Search";
import { SocketDetails } from "./SocketDetails";
import { PATIENCE, usePage } from "./usePage";

export function SocketsTable({ socket, namespaces, active }: { socket: AdminSocket; namespaces: readonly string[]; active: boolean }) {
  const [query, setQuery] = useState<Query>({ namespace: namespaces[0] ?? "/", search: "", page: 1 });
  const [settled] = useDebouncedValue(query, 200);
  const [chosen, setChosen] = useState<SocketSummary | null>(null);
  const fetchPage = useCallback(
    () =>
      ask(socket, PATIENCE, "cluster:sockets", {
        namespace: settled.namespace,
        search: settled.search,
        offset: (settled.page - 1) * SIZE,
        size: SIZE,
      }),
    [socket, settled],
  );
  const { page, problem, reload } = usePage(fetchPage, active);
  return (
    <>
      <SearchBar what="sockets" namespaces={namespaces} query={query} onChange={setQuery} onReload={reload} />
      {problem !== null && <Text c="red">{problem}</Text>}
      {(page?.silent ?? 0) > 0 && <Text role="status">{page?.silent} nodes did not answer; their sockets are not listed.</Text>}
      <Table.ScrollContainer minWidth={560}>
        <Table striped>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Socket</Table.Th>
              <Table.Th>User</Table.Th>
              <Table.Th>Address</Table.Th>
              <Table.Th>Since</Table.Th>
              <Table.Th>Rooms</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {page?.sockets.map((one) => (
              <Table.Tr key={one.id} data-testid="socket">
                <Table.Td>
                  <Anchor component="button" type="button" onClick={() => setChosen(one)}>
                    {one.id}
                  </Anchor>
                </Table.Td>
                <Table.Td>{one.user ?? "–"}</Table.Td>
                <Table.Td>{one.address}</Table.Td>
                <Table.Td>{new Date(one.since).toLocaleTimeString()}</Table.Td>
                <Table.Td>{one.rooms.join(", ")}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      <Pages total={page?.total ?? 0} query={query} onChange={setQuery} />
      {chosen !== null && (
        <SocketDetails
          key={chosen.id}
          socket={socket}
          namespace={settled.namespace}
          chosen={chosen}
          onClose={() => {
            setChosen(null);
            reload();
          }}
        />
      )}
    </>
  );
}
