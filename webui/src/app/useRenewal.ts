/** Keeps a session's token fresh: asks for a newer one before it ends, and shows it to the server's sockets. */
import { useEffect } from "react";
import { renewed } from "../features/accounts/api";
import { Refused } from "../lib/answer";
import type { SessionStore } from "../lib/session";
import type { Connection } from "../lib/socket";

/** Milliseconds before the end at which a newer token is asked for. */
const AHEAD = 5 * 60_000;
const AGAIN = 30_000;

export function useRenewal(sessions: SessionStore, connection: Connection): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let renewing = false;

    function plan(): void {
      clearTimeout(timer);
      const session = sessions.get();
      if (session !== null && !renewing) timer = setTimeout(() => void renew(), Math.max(0, session.expiresAt - Date.now() - AHEAD));
    }

    async function renew(): Promise<void> {
      const session = sessions.get();
      if (session === null) return;
      renewing = true;
      try {
        const newer = await renewed(session);
        if (sessions.get() === session) {
          sessions.set(newer);
          connection.refresh({ token: newer.token });
        }
        renewing = false;
        plan();
      } catch (error) {
        renewing = false;
        // A server that cannot be reached now may be there in time; one that refuses has said its last word.
        if (error instanceof Refused && error.code.startsWith("invalid")) sessions.set(null);
        else timer = setTimeout(() => void renew(), AGAIN);
      }
    }

    plan();
    const end = sessions.subscribe(plan);
    return () => {
      end();
      clearTimeout(timer);
    };
  }, [sessions, connection]);
}
