/** The messages of a room, of which only those in sight are drawn. */
import { ActionIcon, Button, Group, Menu, Text } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { lines, timeOf, type Line } from "./grouping";
import type { Message, Pending, Person, RoomState } from "./model";

/** Pixels from an end at which one counts as being there. */
const NEAR = 80;

interface Props {
  room: RoomState;
  me: Person;
  canModerate: boolean;
  onOlder: (before: number) => Promise<boolean>;
  onRetry: (clientId: string) => void;
  onDrop: (clientId: string) => void;
  onEdit: (message: Message) => void;
  onRemove: (message: Message) => void;
}

export function MessageList({ room, me, canModerate, onOlder, onRetry, onDrop, onEdit, onRemove }: Props) {
  const shown = useMemo(() => lines(room.messages, room.pending, me), [room.messages, room.pending, me]);
  const scroller = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const [loading, setLoading] = useState(false);
  const keys = useRef<readonly string[]>([]);
  // eslint-disable-next-line react-hooks/incompatible-library -- its functions are not kept
  const list = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 44,
    getItemKey: (index) => shown[index]?.key ?? index,
    overscan: 12,
  });

  // What is added above must not move what is being read; what is added below is followed by who is there.
  useLayoutEffect(() => {
    const before = keys.current;
    keys.current = shown.map((line) => line.key);
    if (atEnd.current) {
      if (shown.length > 0) list.scrollToIndex(shown.length - 1, { align: "end" });
      return;
    }
    const anchor = before[0] === undefined ? -1 : keys.current.indexOf(before.find((key) => key.includes(" ") && !key.startsWith("day")) ?? "");
    if (anchor > 1 && before[0] !== keys.current[0]) list.scrollToIndex(anchor, { align: "start" });
  }, [shown, list]);

  const oldest = room.messages[0]?.seq;
  function scrolled(): void {
    const element = scroller.current;
    if (element === null) return;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
    if (element.scrollTop < NEAR && room.more && !loading && oldest !== undefined) {
      setLoading(true);
      void onOlder(oldest).finally(() => setLoading(false));
    }
  }

  useEffect(() => {
    // A page that does not fill the view cannot be scrolled for more.
    const element = scroller.current;
    if (element !== null && room.more && !loading && oldest !== undefined && element.scrollHeight <= element.clientHeight) {
      setLoading(true);
      void onOlder(oldest).finally(() => setLoading(false));
    }
  }, [room.more, loading, oldest, onOlder]);

  return (
    <div ref={scroller} className="chat-scroller" onScroll={scrolled} tabIndex={0} role="log" aria-label="Messages" aria-busy={!room.loaded || loading}>
      <div style={{ height: list.getTotalSize(), position: "relative" }}>
        {list.getVirtualItems().map((item) => {
          const line = shown[item.index];
          if (line === undefined) return null;
          return (
            <div
              key={item.key}
              data-index={item.index}
              ref={list.measureElement}
              style={{ position: "absolute", top: 0, left: 0, width: "100%", transform: `translateY(${item.start}px)` }}
            >
              <LineView
                line={line}
                own={line.kind === "message" && line.message.author.id === me.id}
                canModerate={canModerate}
                onRetry={onRetry}
                onDrop={onDrop}
                onEdit={onEdit}
                onRemove={onRemove}
              />
            </div>
          );
        })}
      </div>
    </div>
  );
}

interface LineProps extends Pick<Props, "canModerate" | "onRetry" | "onDrop" | "onEdit" | "onRemove"> {
  line: Line;
  own: boolean;
}

function LineView({ line, own, canModerate, onRetry, onDrop, onEdit, onRemove }: LineProps) {
  switch (line.kind) {
    case "day":
      return (
        <Text size="xs" className="chat-day">
          {line.text}
        </Text>
      );
    case "pending":
      return (
        <article className="chat-message" data-testid="pending" data-state={line.pending.state}>
          {line.first && <Heading name={line.author.name} at={line.pending.at} />}
          <Text className="chat-text chat-pending">{line.pending.text}</Text>
          <PendingState pending={line.pending} onRetry={onRetry} onDrop={onDrop} />
        </article>
      );
    case "message": {
      const { message } = line;
      const menu = !message.deleted && (own || canModerate);
      return (
        <article className="chat-message" data-testid="message" data-first={line.first}>
          {line.first && <Heading name={message.author.name} at={message.at} />}
          <Group gap="xs" wrap="nowrap" align="flex-start" justify="space-between">
            <Text className={message.deleted ? "chat-text chat-deleted" : "chat-text"}>
              {message.deleted ? "This message was deleted" : message.text}
              {message.edited && !message.deleted && <span className="chat-edited"> (edited)</span>}
            </Text>
            {menu && (
              <Menu>
                <Menu.Target>
                  <ActionIcon variant="subtle" size="sm" className="chat-menu" aria-label={`What to do with “${message.text.slice(0, 40)}”`}>
                    ⋯
                  </ActionIcon>
                </Menu.Target>
                <Menu.Dropdown>
                  {own && <Menu.Item onClick={() => onEdit(message)}>Change</Menu.Item>}
                  <Menu.Item color="red" onClick={() => onRemove(message)}>
                    Delete
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            )}
          </Group>
        </article>
      );
    }
  }
}

function Heading({ name, at }: { name: string; at: number }) {
  return (
    <Group gap="xs" align="baseline">
      <Text size="sm" fw={600}>
        {name}
      </Text>
      <Text size="xs" component="time" dateTime={new Date(at).toISOString()} className="chat-time">
        {timeOf(at)}
      </Text>
    </Group>
  );
}

function PendingState({ pending, onRetry, onDrop }: { pending: Pending; onRetry: (clientId: string) => void; onDrop: (clientId: string) => void }) {
  if (pending.state === "sending") return <Text size="xs">Sending…</Text>;
  if (pending.state === "waiting") return <Text size="xs">Waiting: it is sent when the server takes more.</Text>;
  return (
    <Group gap="xs">
      <Text size="xs" className="chat-failed" role="alert">
        Not sent: {pending.problem}
      </Text>
      <Button size="compact-xs" variant="default" onClick={() => onRetry(pending.clientId)}>
        Try again
      </Button>
      <Button size="compact-xs" variant="subtle" onClick={() => onDrop(pending.clientId)}>
        Discard
      </Button>
    </Group>
  );
}
