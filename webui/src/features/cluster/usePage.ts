/** One page of a search, asked for again when the query changes. */
import { useEffect, useState } from "react";
import { explain } from "../../lib/answer";

/** Milliseconds that a search may take: nodes that are silent are waited for. */
export const PATIENCE = 10_000;

export interface PageState<T> {
  readonly page: T | null;
  readonly problem: string | null;
  readonly reload: () => void;
}

/**
 * @param ask - Asks the server; must be the same function while the query is the same.
 * @param active - Nothing is asked while this is false.
 */
export function usePage<T>(ask: () => Promise<T>, active: boolean): PageState<T> {
  const [found, setFound] = useState<{ page: T | null; problem: string | null }>({ page: null, problem: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!active) return;
    let wanted = true;
    ask().then(
      (page) => wanted && setFound({ page, problem: null }),
      (error: unknown) => wanted && setFound({ page: null, problem: explain(error) }),
    );
    return () => {
      wanted = false;
    };
  }, [ask, active, round]);
  return { ...found, reload: () => setRound(round + 1) };
}
