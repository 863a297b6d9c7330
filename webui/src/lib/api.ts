/** Requests to the server's HTTP API. */
import { Refused } from "./answer";

const PATIENCE = 10_000;

/** POST `body` as JSON. Throws `Refused` with the server's code, or `unreachable`. */
export async function post<T>(path: string, body: object, token?: string): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Refused("unreachable", "The server cannot be reached");
  }
  const answer: unknown = await response.json().catch(() => null);
  if (response.ok) return answer as T;
  const error = (answer as { error?: { code?: string; message?: string; retry_after?: number } } | null)?.error;
  throw new Refused(error?.code ?? `http_${response.status}`, error?.message ?? "The server has refused", error?.retry_after);
}
