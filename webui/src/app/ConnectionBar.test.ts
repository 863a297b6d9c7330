import { expect, it } from "vitest";
import { describe as words } from "./ConnectionBar";

it.each([
  [{ phase: "closed" }, "Not connected"],
  [{ phase: "connecting" }, "Connecting…"],
  [{ phase: "waiting", attempt: 2, retryAt: 4_200 }, "Reconnecting in 4 s (attempt 2)"],
  [{ phase: "waiting", attempt: 2, retryAt: 0 }, "Reconnecting in 0 s (attempt 2)"],
  [{ phase: "connected", transport: "polling", again: false, recovered: false }, "Connected (polling, n1)"],
  [{ phase: "connected", transport: "websocket", again: true, recovered: false }, "Connected again (WebSocket, n1)"],
  [{ phase: "connected", transport: "polling", again: true, recovered: true }, "Connected again, recovered (polling, n1)"],
] as const)("%j reads %s", (state, text) => {
  expect(words(state, 1_000, "n1")).toBe(text);
});
