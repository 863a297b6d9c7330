import { Group, Text } from "@mantine/core";
import type { Member } from "./model";

export function Members({ members, online }: { members: readonly Member[]; online: ReadonlySet<string> }) {
  const ordered = [...members].sort((one, two) => Number(online.has(two.id)) - Number(online.has(one.id)));
  return (
    <aside className="chat-members" aria-label="People">
      <Text fw={600} component="h2" size="md" mb="xs">
        People <span data-testid="online-count">{online.size}</span> online
      </Text>
      <ul>
        {ordered.map((member) => (
          <li key={member.id}>
            <Group gap="xs" wrap="nowrap">
              <span className="dot" data-color={online.has(member.id) ? "teal" : "gray"} aria-hidden />
              <Text size="sm" truncate>
                {member.name}
                <span className="visually-hidden">{online.has(member.id) ? ", online" : ", offline"}</span>
              </Text>
              {member.role !== "member" && <Text size="xs">{member.role}</Text>}
            </Group>
          </li>
        ))}
      </ul>
    </aside>
  );
}
