import type { Credentials } from "../../lib/socket";
import type { User } from "../../lib/session";
export function ChatPage(_: { credentials: Credentials; user: User; onRefused: () => void }) { return null; }
