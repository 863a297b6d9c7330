import { act, render, screen, waitFor } from "@testing-library/react";
import { StrictMode, useState } from "react";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { ConnectionProvider, useConnection, useJoined, useSocketEvent, useTheConnection } from "./connection";
import { Connection, type Socket } from "./socket";

type Incoming = { said: (room: string, from: string, text: string) => void; welcome: (id: string) => void };
type Outgoing = {
  echo: (value: unknown, ack: (value: unknown) => void) => void;
  join: (room: string, ack: (rooms: unknown) => void) => void;
  say: (room: string, text: string) => void;
};

let connection: Connection;
let socket: Socket<Incoming, Outgoing>;

beforeEach(() => {
  connection = new Connection({ url: inject("serverUrl"), retryLeast: 20, random: () => 0 });
  socket = connection.socket("/");
});

afterEach(() => {
  connection.close();
});

async function joined(): Promise<void> {
  socket.connect();
  connection.open();
  await vi.waitFor(() => expect(socket.connected).toBe(true));
}

describe("useSocketEvent", () => {
  function Listener({ onSaid }: { onSaid: (text: string) => void }) {
    useSocketEvent(socket, "said", (_room, _from, text) => onSaid(text));
    return null;
  }

  it.each([["plain"], ["StrictMode"]])("leaves one listener after a hundred mounts (%s)", async (mode) => {
    const heard: string[] = [];
    const element = <Listener onSaid={(text) => heard.push(text)} />;
    const tree = mode === "StrictMode" ? <StrictMode>{element}</StrictMode> : element;
    for (let round = 0; round < 99; round += 1) render(tree).unmount();
    expect(socket.listeners("said")).toHaveLength(0);
    const last = render(tree);
    expect(socket.listeners("said")).toHaveLength(1);

    await joined();
    const other = new Connection({ url: inject("serverUrl") });
    const speaker = other.socket<Incoming, Outgoing>("/");
    speaker.connect();
    other.open();
    await socket.emitWithAck("join", "hall");
    await speaker.emitWithAck("join", "hall");
    speaker.emit("say", "hall", "once");
    await vi.waitFor(() => expect(heard).toEqual(["once"]));
    // Whatever else was on its way is here before this answer.
    await socket.emitWithAck("echo", "fence");
    expect(heard).toEqual(["once"]);
    last.unmount();
    expect(socket.listeners("said")).toHaveLength(0);
    other.close();
  });

  it("calls the newest handler without subscribing again", () => {
    const on = vi.spyOn(socket, "on");
    function Counter() {
      const [count, setCount] = useState(0);
      useSocketEvent(socket, "welcome", () => setCount(count + 1));
      return <span>{count}</span>;
    }
    render(<Counter />);
    const subscribed = on.mock.calls.length;
    const [listener] = socket.listeners("welcome");
    act(() => listener?.("a"));
    act(() => listener?.("b"));
    expect(screen.getByText("2")).toBeDefined();
    expect(on.mock.calls.length).toBe(subscribed);
  });
});

describe("useConnection", () => {
  function Status() {
    const state = useConnection();
    const here = useJoined(socket);
    return <output>{`${state.phase}${state.phase === "connected" ? ` ${state.transport}` : ""} ${here ? "in" : "out"}`}</output>;
  }

  it("tells the phases, the transport and the upgrade", async () => {
    render(
      <ConnectionProvider connection={connection}>
        <Status />
      </ConnectionProvider>,
    );
    expect(screen.getByRole("status").textContent).toBe("closed out");
    act(() => {
      socket.connect();
      connection.open();
    });
    await waitFor(() => expect(screen.getByRole("status").textContent).toBe("connected websocket in"));
    act(() => connection.close());
    expect(screen.getByRole("status").textContent).toBe("closed out");
  });

  it("is an error outside of a provider", () => {
    function Lost() {
      useTheConnection();
      return null;
    }
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    expect(() => render(<Lost />)).toThrow("ConnectionProvider");
  });
});

describe("Connection", () => {
  it("comes back by itself, says when, and says that it has recovered", async () => {
    await joined();
    expect(connection.state()).toMatchObject({ phase: "connected", again: false, recovered: false });
    const phases: string[] = [];
    connection.subscribe(() => phases.push(connection.state().phase));
    socket.io.engine.close();
    expect(connection.state()).toMatchObject({ phase: "waiting", attempt: 1 });
    await vi.waitFor(() => expect(connection.state()).toMatchObject({ phase: "connected", again: true, recovered: true }));
    expect(socket.connected).toBe(true);
    expect(phases.slice(0, 3)).toEqual(["waiting", "connecting", "connected"]);
    expect(await socket.emitWithAck("echo", 7)).toBe(7);
  });

  it("says that a namespace has begun afresh, if one has", async () => {
    await joined();
    socket.io.engine.close();
    await vi.waitFor(() => expect(connection.state()).toMatchObject({ recovered: true }));
    socket.disconnect();
    socket.connect();
    await vi.waitFor(() => expect(socket.connected).toBe(true));
    expect(connection.state()).toMatchObject({ phase: "connected", again: true, recovered: false });
  });

  it("waits longer after each failure, and tries at once when told", async () => {
    const nowhere = new Connection({ url: "http://127.0.0.1:1", retryLeast: 1000, retryMost: 3000, random: () => 1 });
    const delays: number[] = [];
    nowhere.subscribe(() => {
      const state = nowhere.state();
      if (state.phase === "waiting") delays.push(Math.round((state.retryAt - Date.now()) / 1000));
    });
    nowhere.open();
    for (const expected of [[1], [1, 2], [1, 2, 3], [1, 2, 3, 3]]) {
      await vi.waitFor(() => expect(delays).toEqual(expected));
      nowhere.retryNow();
    }
    nowhere.close();
    expect(nowhere.state()).toEqual({ phase: "closed" });
  });

  it("gives one socket for a namespace, and one connection for all of them", async () => {
    expect(connection.socket("/")).toBe(socket);
    await joined();
    const elsewhere = connection.socket("/nowhere");
    const refused = new Promise<Error>((resolve) => elsewhere.on("connect_error", resolve));
    elsewhere.connect();
    expect((await refused).message).toBe("Invalid namespace");
    expect(elsewhere.io).toBe(socket.io);
    expect(socket.connected).toBe(true);
  });
});
