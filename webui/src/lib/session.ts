/** Who is signed in: kept in the browser, and told to whoever asks. */
import { useSyncExternalStore } from "react";

export interface User {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
}

export interface Session {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly user: User;
}

const KEY = "rtserver.session";

export class SessionStore {
  private current: Session | null;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly storage: Storage = window.localStorage) {
    this.current = this.load();
  }

  readonly get = (): Session | null => this.current;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  set(session: Session | null): void {
    this.current = session;
    if (session === null) this.storage.removeItem(KEY);
    else this.storage.setItem(KEY, JSON.stringify(session));
    for (const listener of [...this.listeners]) listener();
  }

  private load(): Session | null {
    try {
      const kept = JSON.parse(this.storage.getItem(KEY) ?? "null") as Session | null;
      return kept !== null && kept.expiresAt > Date.now() ? kept : null;
    } catch {
      return null;
    }
  }
}

export function useSession(store: SessionStore): Session | null {
  return useSyncExternalStore(store.subscribe, store.get);
}
