/** Answers of the server: a value, or a refusal with a code. */
import type { Answer, Refusal } from "./events";

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
