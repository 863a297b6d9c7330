import { Table, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useCallback, useState } from "react";
import { ask } from "../../lib/answer";
import type { AdminSocket } from "./ClusterPage";
import { Pages, SearchBar, SIZE, type Query } from "./Search";
import { PATIENCE, usePage } from "./usePage";

export function RoomsTable({ socket, namespaces, active }: { socket: AdminSocket; namespaces: readonly string[]; active: boolean }) {
  const [query, setQuery] = useState<Query>({ namespace: namespaces[0] ?? "/", search: "", page: 1 });
  const [settled] = useDebouncedValue(query, 200);
  const fetchPage = useCallback(
    () =>
      ask(socket, PATIENCE, "cluster:rooms", {
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
      <SearchBar what="rooms" namespaces={namespaces} query={query} onChange={setQuery} onReload={reload} />
      {problem !== null && <Text c="red">{problem}</Text>}
      <Table striped>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Room</Table.Th>
            <Table.Th>Sockets</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {page?.rooms.map((room) => (
            <Table.Tr key={room.name}>
              <Table.Td>{room.name}</Table.Td>
              <Table.Td>{room.sockets}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Pages total={page?.total ?? 0} query={query} onChange={setQuery} />
    </>
  );
}
