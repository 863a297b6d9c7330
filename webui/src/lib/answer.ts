/** Answers of the server: a value, or a refusal with a code. */
import type { Answer, Refusal } from "./events";
import type { EventMap, Socket } from "./socket";

export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Seconds to wait, if the server has said so. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

function isRefusal(answer: unknown): answer is Refusal {
  return typeof answer === "object" && answer !== null && "error" in answer;
}

/** The value in an answer. Throws `Refused` if there is none. */
export function valueOf<T>(answer: Answer<T>): T {
  if (!isRefusal(answer)) return answer;
  const { code, message, retry_after } = answer.error;
  throw new Refused(code, message, retry_after);
}

/** What went wrong, for people. */
export function explain(problem: unknown): string {
  return problem instanceof Error ? problem.message : String(problem);
}

/** The arguments of an event that is acknowledged, and the answer if it is not refused. */
export type Asked<F> = F extends (...args: infer All) => void
  ? All extends [...infer Args, (answer: infer Given) => void]
    ? { args: Args; answer: Exclude<Given, Refusal> }
    : never
  : never;

/**
 * Emit an event and wait for its answer.
 *
 * @param patience - Milliseconds.
 * Throws `Refused`, or another error if no answer comes.
 */
export async function ask<Incoming extends EventMap, Outgoing extends EventMap, Name extends keyof Outgoing & string>(
  socket: Socket<Incoming, Outgoing>,
  patience: number,
  name: Name,
  ...args: Asked<Outgoing[Name]>["args"]
): Promise<Asked<Outgoing[Name]>["answer"]> {
  const plain = socket as unknown as Socket;
  return valueOf((await plain.timeout(patience).emitWithAck(name, ...args)) as Answer<Asked<Outgoing[Name]>["answer"]>);
}
