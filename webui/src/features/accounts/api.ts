/** Accounts over HTTP: the one file that knows how the server writes a session. */
import { post } from "../../lib/api";
import type { Session } from "../../lib/session";

interface WireSession {
  token: string;
  /** Seconds since the epoch. */
  expires_at: number;
  user: { id: string; name: string; scopes: string[] };
}

function toSession(wire: WireSession): Session {
  return { token: wire.token, expiresAt: wire.expires_at * 1000, user: wire.user };
}

export async function signIn(name: string, password: string): Promise<Session> {
  return toSession(await post<WireSession>("/api/accounts/sign-in", { name, password }));
}

export async function register(name: string, password: string): Promise<Session> {
  return toSession(await post<WireSession>("/api/accounts/register", { name, password }));
}

export async function enterAsGuest(name: string): Promise<Session> {
  return toSession(await post<WireSession>("/api/accounts/guest", { name }));
}

/** A newer token for the same user. */
export async function renewed(session: Session): Promise<Session> {
  return toSession(await post<WireSession>("/api/accounts/refresh", {}, session.token));
}
