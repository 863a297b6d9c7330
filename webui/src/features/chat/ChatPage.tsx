/** The chat: rooms beside, messages in the middle, people on the other side. */
import { ActionIcon, Alert, Button, Group, Menu, Stack, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import { useTheConnection } from "../../lib/connection";
import type { User } from "../../lib/session";
import type { Credentials } from "../../lib/socket";
import "./chat.css";
import { Composer } from "./Composer";
import { InviteDialog } from "./InviteDialog";
import { Members } from "./Members";
import { MessageList } from "./MessageList";
import { EMPTY_ROOM, type Message } from "./model";
import type { ChatSocket } from "./protocol";
import { RoomList } from "./RoomList";
import { useChat, type Notice } from "./useChat";

interface Props {
  credentials: Credentials;
  user: User;
  onRefused: () => void;
}

export function ChatPage({ credentials, user, onRefused }: Props) {
  const socket: ChatSocket = useTheConnection().socket("/chat", credentials);
  const { state, notice, actions } = useChat(socket, user);
  const [editing, setEditing] = useState<Message | null>(null);
  const [inviting, setInviting] = useState(false);
  const room = state.rooms.find((one) => one.id === state.current) ?? null;
  const open = (room === null ? undefined : state.open.get(room.id)) ?? EMPTY_ROOM;

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refused = (problem: Error & { data?: { retry_after?: number } }): void => {
      // A connection that fails is tried again by itself; a namespace that refuses is not.
      if (socket.active) return;
      const wait = problem.data?.retry_after;
      // Without a wait it is the token that is no good any more: only signing in again helps.
      if (wait === undefined) onRefused();
      else timer = setTimeout(() => socket.connect(), wait * 1000);
    };
    const ended = (reason: string): void => {
      if (reason === "io server disconnect") onRefused();
    };
    socket.on("connect_error", refused);
    socket.on("disconnect", ended);
    return () => {
      clearTimeout(timer);
      socket.off("connect_error", refused);
      socket.off("disconnect", ended);
    };
  }, [socket, onRefused]);

  return (
    <div className="chat" data-room={room === null ? "none" : "open"}>
      <RoomList rooms={state.rooms} invitations={state.invitations} current={state.current} actions={actions} />
      <section className="chat-main" aria-label={room === null ? "No room" : `Room ${room.name}`}>
        <NoticeBar notice={notice} onClose={actions.dismiss} />
        {room === null ? (
          <Stack align="center" justify="center" className="chat-empty">
            <Text>Choose a room, or make one.</Text>
          </Stack>
        ) : (
          <>
            <Group className="chat-head" justify="space-between" wrap="nowrap">
              <Group gap="xs" wrap="nowrap">
                <ActionIcon variant="subtle" className="chat-back" aria-label="Back to the rooms" onClick={() => actions.select(null)}>
                  ‹
                </ActionIcon>
                <Text fw={600} component="h1" size="lg" truncate>
                  {room.name}
                </Text>
                {room.private && <Text size="sm">private</Text>}
              </Group>
              <Menu>
                <Menu.Target>
                  <Button variant="subtle" size="compact-sm">
                    Room
                  </Button>
                </Menu.Target>
                <Menu.Dropdown>
                  {(room.role === "owner" || room.role === "moderator") && <Menu.Item onClick={() => setInviting(true)}>Invite…</Menu.Item>}
                  <Menu.Item onClick={() => void actions.leave(room.id)}>Leave the room</Menu.Item>
                </Menu.Dropdown>
              </Menu>
            </Group>
            <MessageList
              key={room.id}
              room={open}
              me={user}
              canModerate={room.role === "owner" || room.role === "moderator"}
              onOlder={(before) => actions.older(room.id, before)}
              onRetry={actions.retry}
              onDrop={(clientId) => actions.drop(room.id, clientId)}
              onEdit={setEditing}
              onRemove={(message) => void actions.remove(message)}
            />
            <Typing names={[...open.typing.values()].map((one) => one.name)} />
            <Composer
              key={`composer ${room.id} ${editing?.seq ?? ""}`}
              room={room.id}
              editing={editing?.room === room.id ? editing : null}
              last={open.messages.findLast((one) => one.author.id === user.id && !one.deleted) ?? null}
              onEdit={setEditing}
              onSend={(text) => actions.send(room.id, text)}
              onChange={async (message, text) => {
                if (await actions.edit(message, text)) setEditing(null);
              }}
              onTyping={() => actions.typing(room.id)}
            />
            <InviteDialog opened={inviting} onClose={() => setInviting(false)} onInvite={(name) => actions.invite(room.id, name)} />
          </>
        )}
      </section>
      {room !== null && <Members members={open.members} online={open.online} />}
    </div>
  );
}

function Typing({ names }: { names: readonly string[] }) {
  const text = names.length === 0 ? "" : names.length > 2 ? "Several people are writing…" : `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} writing…`;
  return (
    <Text size="xs" className="chat-typing" aria-live="polite" data-testid="typing">
      {text}
    </Text>
  );
}

function NoticeBar({ notice, onClose }: { notice: Notice | null; onClose: () => void }) {
  const [now, setNow] = useState(() => Date.now());
  const until = notice?.until ?? null;
  useEffect(() => {
    if (until === null) return;
    const timer = setInterval(() => {
      setNow(Date.now());
      if (Date.now() >= until) onClose();
    }, 250);
    return () => clearInterval(timer);
  }, [until, onClose]);
  if (notice === null) return null;
  if (until !== null) {
    return (
      <Alert color="blue" role="status" data-testid="wait">
        Please wait {Math.max(1, Math.ceil((until - now) / 1000))} s: that was too fast.
      </Alert>
    );
  }
  return (
    <Alert color="red" role="alert" withCloseButton closeButtonLabel="Close" onClose={onClose}>
      {notice.text}
    </Alert>
  );
}
