/** Sign in, register, or come as a guest. */
import { Alert, Button, Paper, PasswordInput, SegmentedControl, Stack, TextInput, Title } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { explain, Refused } from "../../lib/answer";
import type { SessionStore } from "../../lib/session";
import { enterAsGuest, register, signIn } from "./api";

type Way = "guest" | "sign-in" | "register";

const WORDS: Record<Way, string> = { guest: "Enter as a guest", "sign-in": "Sign in", register: "Register" };

interface Problem {
  readonly text: string;
  readonly wait: boolean;
}

export function AccountsPage({ sessions }: { sessions: SessionStore }) {
  const [way, setWay] = useState<Way>("guest");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    try {
      const enter = { guest: () => enterAsGuest(name), "sign-in": () => signIn(name, password), register: () => register(name, password) };
      sessions.set(await enter[way]());
    } catch (error) {
      const seconds = error instanceof Refused ? error.retryAfter : undefined;
      setProblem(
        seconds === undefined
          ? { text: explain(error), wait: false }
          : { text: `Too many attempts: please wait ${Math.ceil(seconds)} s.`, wait: true },
      );
      setBusy(false);
    }
  }

  return (
    <Paper withBorder p="lg" maw={420} mx="auto" mt="xl" component="section" aria-label="Account">
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Title order={1} size="h3">
            Welcome
          </Title>
          <SegmentedControl
            fullWidth
            aria-label="How to enter"
            value={way}
            onChange={(value) => {
              setWay(value as Way);
              setProblem(null);
            }}
            data={[
              { value: "guest", label: "Guest" },
              { value: "sign-in", label: "Sign in" },
              { value: "register", label: "Register" },
            ]}
          />
          <TextInput
            label={way === "guest" ? "Your name (or leave it empty)" : "Name"}
            value={name}
            maxLength={32}
            required={way !== "guest"}
            autoComplete="username"
            onChange={(event) => setName(event.currentTarget.value)}
          />
          {way !== "guest" && (
            <PasswordInput
              label="Password"
              value={password}
              required
              minLength={way === "register" ? 8 : undefined}
              maxLength={256}
              autoComplete={way === "register" ? "new-password" : "current-password"}
              onChange={(event) => setPassword(event.currentTarget.value)}
            />
          )}
          {problem !== null && (
            <Alert color={problem.wait ? "blue" : "red"} role="alert">
              {problem.text}
            </Alert>
          )}
          <Button type="submit" loading={busy}>
            {WORDS[way]}
          </Button>
        </Stack>
      </form>
    </Paper>
  );
}
