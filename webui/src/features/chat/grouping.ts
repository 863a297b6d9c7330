/** Messages as they are shown: one heading for a day, one name for what somebody says in a row. */
import type { Message, Pending, Person } from "./model";

export type Line =
  | { readonly kind: "day"; readonly key: string; readonly text: string }
  | { readonly kind: "message"; readonly key: string; readonly message: Message; readonly first: boolean }
  | { readonly kind: "pending"; readonly key: string; readonly pending: Pending; readonly author: Person; readonly first: boolean };

/** After so long, somebody's next message has a heading of its own. */
const PAUSE = 5 * 60_000;

export function lines(messages: readonly Message[], pending: readonly Pending[], me: Person): readonly Line[] {
  const shown: Line[] = [];
  let day = "";
  let author = "";
  let last = 0;

  function heading(at: number, who: string): boolean {
    const today = dayOf(at);
    const first = today !== day || who !== author || at - last > PAUSE;
    if (today !== day) shown.push({ kind: "day", key: `day ${today}`, text: today });
    [day, author, last] = [today, who, at];
    return first;
  }

  for (const message of messages) {
    const first = heading(message.at, message.author.id);
    // The key of a message of one's own is that of its pending form, so that it does not blink.
    shown.push({ kind: "message", key: `${message.author.id} ${message.clientId}`, message, first });
  }
  for (const one of pending) {
    const first = heading(Math.max(one.at, last), me.id);
    shown.push({ kind: "pending", key: `${me.id} ${one.clientId}`, pending: one, author: me, first });
  }
  return shown;
}

export function dayOf(at: number): string {
  return new Date(at).toLocaleDateString(undefined, { weekday: "long", year: "numeric", month: "long", day: "numeric" });
}

export function timeOf(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}
