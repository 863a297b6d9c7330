/** The page's path, without a router: there are three pages. */
import { useSyncExternalStore } from "react";

export const ROUTES = ["/", "/cluster", "/playground"] as const;
export type Route = (typeof ROUTES)[number];

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

export function navigate(route: Route): void {
  window.history.pushState(null, "", route);
  for (const listener of [...listeners]) listener();
}

export function useRoute(): Route {
  const path = useSyncExternalStore(subscribe, () => window.location.pathname);
  return ROUTES.find((route) => route === path) ?? "/";
}
