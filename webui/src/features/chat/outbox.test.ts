import { beforeEach, describe, expect, it } from "vitest";
import { Refused } from "../../lib/answer";
import type { Message, Pending } from "./model";
import { Outbox } from "./outbox";

let connected: boolean;
let posted: string[];
let changes: Pending[];
let stored: Message[];
let answer: (pending: Pending) => Promise<Message>;
let timers: { action: () => void; at: number }[];
let clock: number;
let outbox: Outbox;

function confirmed(pending: Pending): Message {
  return { room: "hall", seq: 1, author: { id: "a", name: "A" }, clientId: pending.clientId, text: pending.text, at: 0, edited: false, deleted: false };
}

/** Let everything that only waits for promises go on. */
async function settle(): Promise<void> {
  for (let round = 0; round < 5; round += 1) await Promise.resolve();
}

function advance(milliseconds: number): void {
  clock += milliseconds;
  const due = timers.filter((timer) => timer.at <= clock);
  timers = timers.filter((timer) => timer.at > clock);
  for (const timer of due) timer.action();
}

beforeEach(() => {
  [connected, posted, changes, stored, timers, clock] = [true, [], [], [], [], 1_000];
  answer = (pending) => Promise.resolve(confirmed(pending));
  outbox = new Outbox({
    post: (_room, pending) => {
      posted.push(pending.clientId);
      return answer(pending);
    },
    connected: () => connected,
    changed: (_room, pending) => changes.push(pending),
    stored: (message) => stored.push(message),
    now: () => clock,
    later: (action, milliseconds) => timers.push({ action, at: clock + milliseconds }),
  });
});

describe("Outbox", () => {
  it("sends at once and hands over what was stored", async () => {
    outbox.add("hall", "x", "hi");
    await settle();
    expect(posted).toEqual(["x"]);
    expect(stored.map((message) => message.clientId)).toEqual(["x"]);
    outbox.reconnected();
    expect(posted).toEqual(["x"]);
  });

  it("keeps what is written without a connection, and sends it in order when there is one", async () => {
    connected = false;
    outbox.add("hall", "x", "one");
    outbox.add("hall", "y", "two");
    await settle();
    expect(posted).toEqual([]);
    connected = true;
    outbox.reconnected();
    await settle();
    expect(posted).toEqual(["x", "y"]);
  });

  it("sends again under the same id when the acknowledgement was lost with the connection", async () => {
    answer = () => {
      connected = false;
      return Promise.reject(new Error("disconnected"));
    };
    outbox.add("hall", "x", "hi");
    await settle();
    expect(changes.at(-1)?.state).toBe("sending");
    answer = (pending) => Promise.resolve(confirmed(pending));
    connected = true;
    outbox.reconnected();
    await settle();
    expect(posted).toEqual(["x", "x"]);
    expect(stored).toHaveLength(1);
  });

  it("waits as long as the server asks, and is no failure", async () => {
    answer = () => Promise.reject(new Refused("rate_limited", "too many requests", 2));
    outbox.add("hall", "x", "hi");
    await settle();
    expect(changes.at(-1)).toMatchObject({ state: "waiting", until: 3_000 });
    answer = (pending) => Promise.resolve(confirmed(pending));
    advance(1_999);
    await settle();
    expect(posted).toHaveLength(1);
    advance(1);
    await settle();
    expect(posted).toHaveLength(2);
    expect(stored).toHaveLength(1);
  });

  it("hurries nobody with the rest while one of them waits", async () => {
    let allowed = 1;
    answer = (pending) => {
      allowed -= 1;
      return allowed >= 0 ? Promise.resolve(confirmed(pending)) : Promise.reject(new Refused("rate_limited", "too many requests", 1));
    };
    for (const id of ["a", "b", "c", "d"]) outbox.add("hall", id, id);
    await settle();
    await settle();
    expect(posted).toEqual(["a", "b"]);
    for (let second = 0; second < 3; second += 1) {
      allowed = 1;
      advance(1_000);
      await settle();
      await settle();
    }
    expect(stored.map((message) => message.clientId)).toEqual(["a", "b", "c", "d"]);
    expect(posted.length).toBeLessThan(8);
  });

  it("marks what is refused as failed, until the user tries again", async () => {
    answer = () => Promise.reject(new Refused("unavailable", "the message store is not available"));
    outbox.add("hall", "x", "hi");
    await settle();
    expect(changes.at(-1)).toMatchObject({ state: "failed", problem: "the message store is not available" });
    outbox.reconnected();
    await settle();
    expect(posted).toHaveLength(1);
    answer = (pending) => Promise.resolve(confirmed(pending));
    outbox.retry("x");
    await settle();
    expect(stored).toHaveLength(1);
  });

  it("fails what gets no answer while connected, and forgets what is given up", async () => {
    answer = () => Promise.reject(new Error("operation has timed out"));
    outbox.add("hall", "x", "hi");
    await settle();
    expect(changes.at(-1)).toMatchObject({ state: "failed", problem: "The server did not answer" });
    outbox.drop("x");
    outbox.retry("x");
    await settle();
    expect(posted).toHaveLength(1);
  });
});
