/**
 * Where one writes. What is being written stays, whatever happens to the connection.
 *
 * Rule: a new one for each room and each message that is being changed, by its key.
 */
import { Button, Group, Text } from "@mantine/core";
import { useEffect, useRef, useState, type FormEvent, type KeyboardEvent } from "react";
import type { Message } from "./model";

const LONGEST = 2_000;
/** What is being written in each room, for as long as the page is open. */
const drafts = new Map<string, string>();

interface Props {
  room: string;
  editing: Message | null;
  /** One's own last message: what the arrow up edits. */
  last: Message | null;
  onEdit: (message: Message | null) => void;
  onSend: (text: string) => void;
  onChange: (message: Message, text: string) => Promise<void>;
  onTyping: () => void;
}

export function Composer({ room, editing, last, onEdit, onSend, onChange, onTyping }: Props) {
  const [text, setText] = useState(() => (editing === null ? (drafts.get(room) ?? "") : editing.text));
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    if (editing === null) drafts.set(room, text);
  }, [room, text, editing]);
  useEffect(() => field.current?.focus(), []);

  function submit(event?: FormEvent): void {
    event?.preventDefault();
    const trimmed = text.trim();
    if (trimmed === "") return;
    if (editing !== null) {
      void onChange(editing, trimmed);
    } else {
      onSend(trimmed);
      setText("");
    }
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && editing !== null) {
      onEdit(null);
    } else if (event.key === "ArrowUp" && text === "" && editing === null && last !== null) {
      event.preventDefault();
      onEdit(last);
    }
  }

  return (
    <form className="chat-composer" onSubmit={submit}>
      {editing !== null && (
        <Text size="xs" mb={4}>
          You are changing a message. Esc to leave it as it was.
        </Text>
      )}
      <Group gap="xs" wrap="nowrap" align="flex-end">
        <textarea
          ref={field}
          aria-label={editing === null ? "Write a message" : "Change the message"}
          placeholder={editing === null ? "Write a message" : ""}
          rows={Math.min(6, text.split("\n").length)}
          maxLength={LONGEST}
          value={text}
          onKeyDown={onKeyDown}
          onChange={(change) => {
            setText(change.currentTarget.value);
            if (editing === null && change.currentTarget.value !== "") onTyping();
          }}
        />
        <Button type="submit" disabled={text.trim() === ""}>
          {editing === null ? "Send" : "Save"}
        </Button>
      </Group>
    </form>
  );
}
