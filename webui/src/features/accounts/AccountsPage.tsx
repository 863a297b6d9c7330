import type { SessionStore } from "../../lib/session";
export function AccountsPage(_: { sessions: SessionStore }) { return null; }
