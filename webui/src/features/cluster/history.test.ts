import { describe, expect, it } from "vitest";
import type { ClusterReport, NodeReport } from "./events";
import { EMPTY, extended, KEPT, ratesOf } from "./history";

const NODE: NodeReport = {
  id: "a", name: "host:1", state: "ready", uptime: 10, polling: 1, websocket: 2, opened: 3, packets_in: 100, packets_out: 200,
  bytes_in: 0, bytes_out: 0, slow_consumers: 0, loop_delay: 0, memory: 0, relay: "none", namespaces: [],
};

function report(at: number, ...nodes: NodeReport[]): ClusterReport {
  return { at, nodes };
}

describe("ratesOf", () => {
  it("is messages per second of the node's own clock", () => {
    expect(ratesOf(NODE, { ...NODE, uptime: 12, packets_in: 110, packets_out: 240 })).toEqual({ received: 5, sent: 20 });
  });

  it("never goes below nothing when a node was restarted", () => {
    expect(ratesOf(NODE, { ...NODE, uptime: 1, packets_in: 1 })).toEqual({ received: 0, sent: 0 });
  });
});

describe("extended", () => {
  it("adds up what nodes do", () => {
    const other = { ...NODE, id: "b" };
    const first = extended(EMPTY, report(0, NODE, other));
    expect(first.points).toEqual([{ at: 0, sessions: 6, received: 0, sent: 0 }]);
    const later = { uptime: 11, packets_in: 103, packets_out: 205 };
    const second = extended(first, report(1000, { ...NODE, ...later }, { ...other, ...later }));
    expect(second.points.at(-1)).toEqual({ at: 1000, sessions: 6, received: 6, sent: 10 });
    expect(second.rates.get("b")).toEqual({ received: 3, sent: 5 });
  });

  it("lets go of nodes that are gone, and of old points", () => {
    let history = extended(EMPTY, report(0, NODE));
    for (let at = 1; at <= KEPT + 5; at += 1) history = extended(history, report(at));
    expect(history.points).toHaveLength(KEPT);
    expect(history.rates.size).toBe(0);
  });

  it("keeps a node's rate while its report has not changed", () => {
    const busy = { ...NODE, uptime: 11, packets_in: 105 };
    const history = [report(0, NODE), report(1, busy), report(2, busy)].reduce(extended, EMPTY);
    expect(history.rates.get("a")?.received).toBe(5);
  });
});
