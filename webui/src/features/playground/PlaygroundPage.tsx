/** Try a server: connect with any auth, join, emit, and watch what comes. */
import "./styles";
import { Badge, Button, Checkbox, Code, Grid, Group, JsonInput, NumberInput, ScrollArea, Stack, Text, TextInput, Title } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { explain } from "../../lib/answer";
import { Connection, type Socket } from "../../lib/socket";
import { parseArguments, parseAuth, shown } from "./values";

const SHOWN = 500;

interface Line {
  readonly id: number;
  readonly at: number;
  readonly direction: "in" | "out" | "ack" | "state";
  readonly text: string;
}

export default function PlaygroundPage() {
  const [url, setUrl] = useState(() => window.location.origin);
  const [namespace, setNamespace] = useState("/");
  const [auth, setAuth] = useState("{}");
  const [event, setEvent] = useState("echo");
  const [args, setArgs] = useState('["hello"]');
  const [wantsAck, setWantsAck] = useState(true);
  const [patience, setPatience] = useState<number>(5);
  const [lines, setLines] = useState<readonly Line[]>([]);
  const [joined, setJoined] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const current = useRef<{ connection: Connection; socket: Socket } | null>(null);
  const count = useRef(0);

  function add(direction: Line["direction"], text: string): void {
    count.current += 1;
    const line = { id: count.current, at: Date.now(), direction, text };
    setLines((before) => [line, ...before].slice(0, SHOWN));
  }

  function disconnect(): void {
    current.current?.connection.close();
    current.current = null;
    setJoined(false);
  }

  useEffect(() => () => current.current?.connection.close(), []);

  function connect(): void {
    disconnect();
    try {
      const credentials = parseAuth(auth);
      const connection = new Connection({ url });
      const socket: Socket = connection.socket(namespace, () => credentials);
      socket.onAny((name: string, ...values: unknown[]) => add("in", `${name} ${shown(values)}`));
      socket.on("connect", () => {
        setJoined(true);
        add("state", `connected as ${socket.id ?? ""}`);
      });
      socket.on("disconnect", (reason) => {
        setJoined(false);
        add("state", `disconnected: ${reason}`);
      });
      socket.on("connect_error", (error) => add("state", `refused: ${error.message}`));
      connection.subscribe(() => {
        const state = connection.state();
        add("state", state.phase === "connected" ? `${state.phase} by ${state.transport}` : state.phase);
      });
      current.current = { connection, socket };
      socket.connect();
      connection.open();
      setProblem(null);
    } catch (error) {
      setProblem(explain(error));
    }
  }

  async function emit(): Promise<void> {
    const socket = current.current?.socket;
    if (socket === undefined) return;
    try {
      const values = parseArguments(args);
      setProblem(null);
      add("out", `${event} ${shown(values)}`);
      if (!wantsAck) {
        socket.emit(event, ...values);
        return;
      }
      const answer: unknown = await socket.timeout(patience * 1000).emitWithAck(event, ...values);
      add("ack", `${event} ${shown([answer])}`);
    } catch (error) {
      setProblem(explain(error));
    }
  }

  return (
    <Stack>
      <Title order={1} size="h3">
        Playground
      </Title>
      <Grid>
        <Grid.Col span={{ base: 12, sm: 6 }}>
          <Stack gap="xs" component="section" aria-label="Connection">
            <TextInput label="Server" value={url} onChange={(change) => setUrl(change.currentTarget.value)} />
            <TextInput label="Namespace" value={namespace} onChange={(change) => setNamespace(change.currentTarget.value)} />
            <JsonInput label="Auth (a JSON object)" value={auth} onChange={setAuth} autosize minRows={2} />
            <Group>
              <Button onClick={connect}>Connect</Button>
              <Button variant="default" onClick={disconnect}>
                Disconnect
              </Button>
              <Badge color={joined ? "teal.9" : "gray.7"} role="status">
                {joined ? "joined" : "not joined"}
              </Badge>
            </Group>
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, sm: 6 }}>
          <Stack gap="xs" component="section" aria-label="Emit">
            <TextInput label="Event" value={event} onChange={(change) => setEvent(change.currentTarget.value)} />
            <JsonInput label="Arguments (a JSON array)" value={args} onChange={setArgs} autosize minRows={2} />
            <Group align="flex-end">
              <Checkbox label="with acknowledgement" checked={wantsAck} onChange={(change) => setWantsAck(change.currentTarget.checked)} />
              <NumberInput
                label="Seconds to wait"
                value={patience}
                min={1}
                max={60}
                disabled={!wantsAck}
                onChange={(value) => setPatience(typeof value === "number" ? value : 5)}
              />
              <Button onClick={() => void emit()} disabled={!joined}>
                Emit
              </Button>
            </Group>
          </Stack>
        </Grid.Col>
      </Grid>
      {problem !== null && (
        <Text c="red" role="alert">
          {problem}
        </Text>
      )}
      <Group justify="space-between">
        <Text fw={600}>Events</Text>
        <Button size="compact-sm" variant="default" onClick={() => setLines([])}>
          Clear
        </Button>
      </Group>
      <ScrollArea h={360} viewportProps={{ tabIndex: 0, "aria-label": "Events" }}>
        {lines.map((line) => (
          <Group key={line.id} gap="xs" wrap="nowrap" align="flex-start" data-testid="line">
            <Text size="xs" w={84}>
              {new Date(line.at).toLocaleTimeString()}
            </Text>
            <Text size="xs" w={40}>
              {line.direction}
            </Text>
            <Code>{line.text}</Code>
          </Group>
        ))}
      </ScrollArea>
    </Stack>
  );
}
