import { Button, Modal, Stack, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";

interface Props {
  opened: boolean;
  onClose: () => void;
  onInvite: (name: string) => Promise<boolean>;
}

export function InviteDialog({ opened, onClose, onInvite }: Props) {
  const [name, setName] = useState("");

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (await onInvite(name)) setName("");
    onClose();
  }

  return (
    <Modal opened={opened} onClose={onClose} title="Invite somebody" closeButtonProps={{ "aria-label": "Close" }}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <TextInput label="Their name" value={name} onChange={(change) => setName(change.currentTarget.value)} maxLength={64} required data-autofocus />
          <Button type="submit">Invite</Button>
        </Stack>
      </form>
    </Modal>
  );
}
