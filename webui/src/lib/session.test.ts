import { beforeEach, expect, it } from "vitest";
import { SessionStore } from "./session";

const SESSION = { token: "t", expiresAt: Date.now() + 60_000, user: { id: "1", name: "Ann", scopes: [] } };

beforeEach(() => window.localStorage.clear());

it("survives a reload until it expires or is ended", () => {
  new SessionStore().set(SESSION);
  expect(new SessionStore().get()).toEqual(SESSION);
  new SessionStore().set({ ...SESSION, expiresAt: Date.now() - 1 });
  expect(new SessionStore().get()).toBeNull();
  new SessionStore().set(null);
  expect(window.localStorage).toHaveLength(0);
});

it("takes garbage in the storage for nothing", () => {
  window.localStorage.setItem("rtserver.session", "{");
  expect(new SessionStore().get()).toBeNull();
});
