/**
 * Rates out of counters, over the last minutes.
 *
 * Rule: a counter that went back belongs to a node that was restarted; that step counts
 * from nothing. The list is bounded.
 */
import type { ClusterReport, NodeReport } from "./events";

export const KEPT = 120;

export interface Rates {
  readonly received: number;
  readonly sent: number;
}

export interface Point extends Rates {
  readonly at: number;
  readonly sessions: number;
}

export interface History {
  readonly last: ClusterReport | null;
  readonly points: readonly Point[];
  /** By node id; nothing until a node has reported twice. */
  readonly rates: ReadonlyMap<string, Rates>;
}

export const EMPTY: History = { last: null, points: [], rates: new Map() };

/** Messages per second of one node between two of its reports. */
export function ratesOf(before: NodeReport, after: NodeReport): Rates {
  const seconds = after.uptime - before.uptime;
  if (seconds <= 0) return { received: 0, sent: 0 };
  return {
    received: Math.max(0, after.packets_in - before.packets_in) / seconds,
    sent: Math.max(0, after.packets_out - before.packets_out) / seconds,
  };
}

/** The history with one more report. */
export function extended(history: History, report: ClusterReport): History {
  const before = new Map(history.last?.nodes.map((node) => [node.id, node]));
  const rates = new Map<string, Rates>();
  for (const node of report.nodes) {
    const previous = before.get(node.id);
    if (previous === undefined) continue;
    // The same report again says nothing new.
    rates.set(node.id, previous.uptime === node.uptime ? (history.rates.get(node.id) ?? ratesOf(previous, node)) : ratesOf(previous, node));
  }
  const point: Point = {
    at: report.at,
    sessions: sum(report.nodes.map((node) => node.polling + node.websocket)),
    received: sum([...rates.values()].map((rate) => rate.received)),
    sent: sum([...rates.values()].map((rate) => rate.sent)),
  };
  return { last: report, points: [...history.points, point].slice(-KEPT), rates };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
