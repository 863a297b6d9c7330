import { Badge, Button, Group, Modal, NavLink, Stack, Switch, Text, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import type { Invitation, RoomInfo } from "./model";
import type { Actions } from "./useChat";

interface Props {
  rooms: readonly RoomInfo[];
  invitations: readonly Invitation[];
  current: string | null;
  actions: Actions;
}

export function RoomList({ rooms, invitations, current, actions }: Props) {
  const [making, setMaking] = useState(false);
  const own = rooms.filter((room) => room.role !== null);
  const others = rooms.filter((room) => room.role === null);
  return (
    <nav className="chat-rooms" aria-label="Rooms">
      <Group justify="space-between" mb="xs">
        <Text fw={600} component="h2" size="md">
          Rooms
        </Text>
        <Button size="compact-sm" variant="light" onClick={() => setMaking(true)}>
          New room
        </Button>
      </Group>
      {own.map((room) => (
        <NavLink
          key={room.id}
          component="button"
          type="button"
          label={room.name}
          active={room.id === current}
          aria-current={room.id === current ? "true" : undefined}
          onClick={() => actions.select(room.id)}
          rightSection={
            room.unread > 0 ? (
              <Badge size="sm" aria-label={`${room.unread} unread`}>
                {room.unread > 99 ? "99+" : room.unread}
              </Badge>
            ) : undefined
          }
        />
      ))}
      {invitations.map((invitation) => (
        <Group key={invitation.room} justify="space-between" px="sm" py={4} data-testid="invitation">
          <Text size="sm">
            {invitation.by} invites you to {invitation.name}
          </Text>
          <Group gap={4}>
            <Button size="compact-xs" onClick={() => void actions.join(invitation.room)}>
              Accept
            </Button>
            <Button size="compact-xs" variant="default" onClick={() => void actions.decline(invitation.room)}>
              Decline
            </Button>
          </Group>
        </Group>
      ))}
      <TextInput
        label="Find a public room"
        size="xs"
        mt="md"
        mb={4}
        maxLength={64}
        onFocus={(event) => void actions.find(event.currentTarget.value)}
        onChange={(event) => void actions.find(event.currentTarget.value)}
      />
      {others.map((room) => (
        <Group key={room.id} justify="space-between" wrap="nowrap" px="sm" py={4}>
          <Text size="sm" truncate>
            {room.name}
          </Text>
          <Button size="compact-xs" variant="default" aria-label={`Join ${room.name}`} onClick={() => void actions.join(room.id)}>
            Join
          </Button>
        </Group>
      ))}
      <NewRoom opened={making} onClose={() => setMaking(false)} onCreate={actions.create} />
    </nav>
  );
}

interface NewRoomProps {
  opened: boolean;
  onClose: () => void;
  onCreate: (name: string, isPrivate: boolean) => Promise<boolean>;
}

function NewRoom({ opened, onClose, onCreate }: NewRoomProps) {
  const [name, setName] = useState("");
  const [isPrivate, setPrivate] = useState(false);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (await onCreate(name, isPrivate)) {
      setName("");
      setPrivate(false);
    }
    onClose();
  }

  return (
    <Modal opened={opened} onClose={onClose} title="New room" closeButtonProps={{ "aria-label": "Close" }}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <TextInput label="Name" value={name} onChange={(change) => setName(change.currentTarget.value)} maxLength={64} required data-autofocus />
          <Switch label="Only for those who are invited" checked={isPrivate} onChange={(change) => setPrivate(change.currentTarget.checked)} />
          <Button type="submit">Make the room</Button>
        </Stack>
      </form>
    </Modal>
  );
}
