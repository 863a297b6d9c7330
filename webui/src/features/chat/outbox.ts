/**
 * Messages of one's own on their way to the server.
 *
 * Rule: a message keeps the id it was given when it was written, however often it is sent,
 * so the server stores it once. It is sent again when the connection is back, and after the
 * wait that the server has asked for; what it refuses for another reason is kept as failed.
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
  underway: boolean;
}

export class Outbox {
  private readonly entries = new Map<string, Entry>();

  constructor(private readonly wires: OutboxWires) {}

  /** A new message. */
  add(room: string, clientId: string, text: string): void {
    const entry: Entry = { room, pending: { clientId, text, at: this.wires.now(), state: "sending" }, underway: false };
    this.entries.set(clientId, entry);
    this.wires.changed(room, entry.pending);
    void this.send(entry);
  }

  /** The user asks to try a failed one again. */
  retry(clientId: string): void {
    const entry = this.entries.get(clientId);
    if (entry === undefined || entry.pending.state !== "failed") return;
    this.become(entry, { state: "sending" });
    void this.send(entry);
  }

  /** The user gives a failed one up. */
  drop(clientId: string): void {
    this.entries.delete(clientId);
  }

  /** The connection is back: everything that had no answer goes out again, in order. */
  reconnected(): void {
    for (const entry of this.entries.values()) {
      if (entry.pending.state === "sending") void this.send(entry);
    }
  }

  private async send(entry: Entry): Promise<void> {
    if (entry.underway || !this.wires.connected()) return;
    entry.underway = true;
    try {
      const stored = await this.wires.post(entry.room, entry.pending);
      this.entries.delete(entry.pending.clientId);
      this.wires.stored(stored);
    } catch (error) {
      this.refused(entry, error);
    } finally {
      entry.underway = false;
    }
  }

  private refused(entry: Entry, error: unknown): void {
    if (!this.entries.has(entry.pending.clientId)) return;
    if (error instanceof Refused && error.retryAfter !== undefined) {
      const wait = error.retryAfter * 1000;
      this.become(entry, { state: "waiting", until: this.wires.now() + wait });
      this.wires.later(() => {
        if (this.entries.get(entry.pending.clientId) !== entry) return;
        this.become(entry, { state: "sending" });
        void this.send(entry);
      }, wait);
    } else if (error instanceof Refused || this.wires.connected()) {
      this.become(entry, { state: "failed", problem: error instanceof Refused ? explain(error) : "The server did not answer" });
    }
    // Without a connection it stays as it is, and goes out again when there is one.
  }

  private become(entry: Entry, change: Pick<Pending, "state"> & Partial<Pending>): void {
    const { clientId, text, at } = entry.pending;
    entry.pending = { clientId, text, at, ...change };
    this.wires.changed(entry.room, entry.pending);
  }
}
