/** What is typed into the playground, as values; and values as text of a bounded length. */

const LONGEST = 2_000;

/** Throws an `Error` with a sentence for people. */
export function parseAuth(text: string): Record<string, unknown> {
  const value = parsed(text.trim() === "" ? "{}" : text, "Auth");
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("Auth must be a JSON object");
  return value as Record<string, unknown>;
}

/** Throws an `Error` with a sentence for people. */
export function parseArguments(text: string): unknown[] {
  const value = parsed(text.trim() === "" ? "[]" : text, "Arguments");
  if (!Array.isArray(value)) throw new Error("Arguments must be a JSON array");
  return value;
}

export function shown(values: readonly unknown[]): string {
  const text = JSON.stringify(values, (_key, value: unknown) =>
    value instanceof ArrayBuffer ? `<${value.byteLength} bytes>` : value,
  );
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`;
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${what} must be JSON`);
  }
}
