/**
 * Messages of one's own on their way to the server.
 *
 * Rule: a message keeps the id it was given when it was written, however often it is sent,
 * so the server stores it once. One is under way at a time. It is sent again when the connection is
 * back, and after the wait that the server has asked for; what it refuses for another reason is
 * kept as failed.
 */
import { explain, Refused } from "../../lib/answer";
import type { Message, Pending } from "./model";

export interface OutboxWires {
  /** Sends, and gives the stored message. Rejects with `Refused`, or another error if no answer came. */
  post(room: string, pending: Pending): Promise<Message>;
  /** Whether the server can be reached now. */
  connected(): boolean;
  changed(room: string, pending: Pending): void;
  stored(message: Message): void;
  now(): number;
  later(action: () => void, milliseconds: number): void;
}

interface Entry {
  readonly room: string;
  pending: Pending;
}

export class Outbox {
  private readonly entries = new Map<string, Entry>();
  private underway = false;
  private waiting = false;

  constructor(private readonly wires: OutboxWires) {}

  /** A new message. */
  add(room: string, clientId: string, text: string): void {
    const entry: Entry = { room, pending: { clientId, text, at: this.wires.now(), state: "sending" } };
    this.entries.set(clientId, entry);
    this.wires.changed(room, entry.pending);
    void this.send();
  }

  /** The user asks to try a failed one again. */
  retry(clientId: string): void {
    const entry = this.entries.get(clientId);
    if (entry === undefined || entry.pending.state !== "failed") return;
    this.become(entry, { state: "sending" });
    void this.send();
  }

  /** The user gives a failed one up. */
  drop(clientId: string): void {
    this.entries.delete(clientId);
  }

  /** The connection is back: everything that had no answer goes out again, in order. */
  reconnected(): void {
    void this.send();
  }

  /** One after another, so that they arrive in order, and none hurries a server that has asked to wait. */
  private async send(): Promise<void> {
    if (this.underway) return;
    this.underway = true;
    try {
      while (!this.waiting && this.wires.connected()) {
        const entry = [...this.entries.values()].find((one) => one.pending.state !== "failed");
        if (entry === undefined || !(await this.sendOne(entry))) break;
      }
    } finally {
      this.underway = false;
    }
  }

  /** False if nothing more can be sent for now. */
  private async sendOne(entry: Entry): Promise<boolean> {
    try {
      const stored = await this.wires.post(entry.room, entry.pending);
      this.entries.delete(entry.pending.clientId);
      this.wires.stored(stored);
      return true;
    } catch (error) {
      return this.refused(entry, error);
    }
  }

  private refused(entry: Entry, error: unknown): boolean {
    if (!this.entries.has(entry.pending.clientId)) return true;
    if (error instanceof Refused && error.retryAfter !== undefined) {
      const wait = error.retryAfter * 1000;
      this.become(entry, { state: "waiting", until: this.wires.now() + wait });
      this.waiting = true;
      this.wires.later(() => {
        this.waiting = false;
        void this.send();
      }, wait);
      return false;
    }
    if (error instanceof Refused || this.wires.connected()) {
      this.become(entry, { state: "failed", problem: error instanceof Refused ? explain(error) : "The server did not answer" });
      return true;
    }
    // Without a connection it stays as it is, and goes out again when there is one.
    return false;
  }

  private become(entry: Entry, change: Pick<Pending, "state"> & Partial<Pending>): void {
    const { clientId, text, at } = entry.pending;
    entry.pending = { clientId, text, at, ...change };
    this.wires.changed(entry.room, entry.pending);
  }
}
