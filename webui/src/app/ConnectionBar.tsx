/** One line that says how the page is connected. */
import { Button, Group, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import { useConnection, useTheConnection } from "../lib/connection";
import type { ConnectionState } from "../lib/socket";

const COLORS = { closed: "gray", connecting: "yellow", waiting: "red", connected: "teal" } as const;

/** The line's words at the moment `now`, in milliseconds. */
export function describe(state: ConnectionState, now: number, node: string | null): string {
  switch (state.phase) {
    case "closed":
      return "Not connected";
    case "connecting":
      return "Connecting…";
    case "waiting":
      return `Reconnecting in ${Math.max(0, Math.ceil((state.retryAt - now) / 1000))} s (attempt ${state.attempt})`;
    case "connected": {
      const transport = state.transport === "websocket" ? "WebSocket" : "polling";
      const how = state.recovered ? "Connected again, recovered" : state.again ? "Connected again" : "Connected";
      return `${how} (${transport}${node === null ? "" : `, ${node}`})`;
    }
  }
}

export function ConnectionBar({ node = null }: { node?: string | null }) {
  const connection = useTheConnection();
  const state = useConnection();
  const [now, setNow] = useState(() => Date.now());
  const waiting = state.phase === "waiting";
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [waiting]);
  return (
    <Group gap="xs" wrap="nowrap" miw={0}>
      <span className="dot" data-color={COLORS[state.phase]} aria-hidden />
      <Text size="sm" role="status" data-testid="connection" truncate>
        {describe(state, now, node)}
      </Text>
      {waiting && (
        <Button size="compact-xs" variant="default" onClick={() => connection.retryNow()}>
          Now
        </Button>
      )}
    </Group>
  );
}
