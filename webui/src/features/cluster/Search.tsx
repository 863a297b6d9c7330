import { Button, Group, Pagination, Select, Text, TextInput } from "@mantine/core";

export const SIZE = 25;

export interface Query {
  readonly namespace: string;
  readonly search: string;
  readonly page: number;
}

interface Props {
  what: string;
  namespaces: readonly string[];
  query: Query;
  onChange: (query: Query) => void;
  onReload: () => void;
}

export function SearchBar({ what, namespaces, query, onChange, onReload }: Props) {
  return (
    <Group align="flex-end" mb="sm">
      <Select
        label="Namespace"
        data={[...namespaces]}
        value={query.namespace}
        allowDeselect={false}
        onChange={(namespace) => namespace !== null && onChange({ ...query, namespace, page: 1 })}
      />
      <TextInput
        label={`Search ${what}`}
        value={query.search}
        maxLength={256}
        onChange={(event) => onChange({ ...query, search: event.currentTarget.value, page: 1 })}
      />
      <Button variant="default" onClick={onReload}>
        Refresh
      </Button>
    </Group>
  );
}

export function Pages({ total, query, onChange }: { total: number; query: Query; onChange: (query: Query) => void }) {
  return (
    <Group justify="space-between" mt="sm">
      <Text size="sm">{total} found</Text>
      <Pagination
        total={Math.max(1, Math.ceil(total / SIZE))}
        value={query.page}
        onChange={(page) => onChange({ ...query, page })}
        getItemProps={(page) => ({ "aria-label": `Page ${page}` })}
        getControlProps={(control) => ({ "aria-label": `Go to the ${control} page` })}
      />
    </Group>
  );
}
