/**
 * The one connection of the application, and the only module that knows socket.io-client.
 *
 * Rule: one engine connection whatever the number of namespaces; it is opened by
 * `open`, comes back by itself, and says at every moment what state it is in.
 */
import { Manager, type Socket as ClientSocket } from "socket.io-client";

// Wherever the typed event maps are not known: the playground, and tests.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type EventMap = Record<string, (...args: any[]) => void>;
export type Socket<Incoming extends EventMap = EventMap, Outgoing extends EventMap = EventMap> = ClientSocket<
  Incoming,
  Outgoing
>;

export type Transport = "polling" | "websocket";

export type ConnectionState =
  | { readonly phase: "closed" }
  | { readonly phase: "connecting" }
  | {
      readonly phase: "connected";
      readonly transport: Transport;
      /** Whether there was a connection before this one. */
      readonly again: boolean;
      /** Whether the server has given back every namespace's socket, with what it had missed. */
      readonly recovered: boolean;
    }
  | { readonly phase: "waiting"; readonly attempt: number; readonly retryAt: number };

export interface ConnectionOptions {
  /** Where the server is; the page's own origin unless given. */
  readonly url?: string;
  readonly path?: string;
  readonly transports?: Transport[];
  /** Milliseconds until the first attempt to come back; doubles, with a random half, up to `retryMost`. */
  readonly retryLeast?: number;
  readonly retryMost?: number;
  readonly random?: () => number;
}

/** What a namespace is told about the user; asked for again at every connect. */
export type Credentials = () => Record<string, unknown>;

const NO_CREDENTIALS: Credentials = () => ({});

export class Connection {
  private readonly manager: Manager;
  private readonly sockets = new Map<string, ClientSocket>();
  private readonly listeners = new Set<() => void>();
  private readonly leastDelay: number;
  private readonly mostDelay: number;
  private readonly random: () => number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private wanted = false;
  private everConnected = false;
  private current: ConnectionState = { phase: "closed" };

  constructor({ url, path, transports, retryLeast = 500, retryMost = 10_000, random = Math.random }: ConnectionOptions = {}) {
    this.leastDelay = retryLeast;
    this.mostDelay = retryMost;
    this.random = random;
    // It comes back by our own clock, so that the page can say when it will.
    this.manager = new Manager(url ?? window.location.origin, {
      autoConnect: false,
      reconnection: false,
      ...(path === undefined ? {} : { path }),
      ...(transports === undefined ? {} : { transports }),
    });
    this.manager.on("open", () => this.opened());
    this.manager.on("error", () => this.failed());
    this.manager.on("close", () => this.failed());
  }

  /** The state of this moment; the same object until it changes. */
  readonly state = (): ConnectionState => this.current;

  /** Hear of changes of `state`; returns what ends it. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The socket of a namespace, made when first asked for and then always the same. */
  socket<Incoming extends EventMap, Outgoing extends EventMap>(
    namespace: string,
    credentials: Credentials = NO_CREDENTIALS,
  ): Socket<Incoming, Outgoing> {
    let socket = this.sockets.get(namespace);
    if (socket === undefined) {
      socket = this.manager.socket(namespace, { auth: (give: (auth: object) => void) => give(credentials()) });
      socket.on("connect", () => this.joined());
      this.sockets.set(namespace, socket);
    }
    return socket as unknown as Socket<Incoming, Outgoing>;
  }

  /**
   * Connect, and stay connected until `close`.
   *
   * @param credentials - With these the main namespace is joined too, so that the connection stays
   * while pages with sockets of their own come and go.
   */
  open(credentials?: Credentials): void {
    this.wanted = true;
    if (credentials !== undefined) this.socket("/", credentials).connect();
    if (this.current.phase === "closed" || this.current.phase === "waiting") this.dial();
  }

  /** Show newer credentials in every namespace that has been joined. */
  refresh(credentials: Record<string, unknown>): void {
    for (const socket of this.sockets.values()) {
      if (socket.connected) socket.emit("auth:refresh", credentials);
    }
  }

  /** Do not wait for the next attempt. */
  retryNow(): void {
    if (this.current.phase === "waiting") this.dial();
  }

  /** Disconnect, and stay disconnected. */
  close(): void {
    this.wanted = false;
    clearTimeout(this.timer);
    for (const socket of this.sockets.values()) socket.disconnect();
    this.manager.engine?.close();
    this.attempt = 0;
    this.everConnected = false;
    this.become({ phase: "closed" });
  }

  private dial(): void {
    clearTimeout(this.timer);
    this.become({ phase: "connecting" });
    this.manager.open();
  }

  private opened(): void {
    clearTimeout(this.timer);
    this.attempt = 0;
    const again = this.everConnected;
    this.everConnected = true;
    const engine = this.manager.engine;
    const say = () => {
      const transport = engine.transport.name === "websocket" ? "websocket" : "polling";
      this.become({ phase: "connected", transport, again, recovered: this.allRecovered() });
    };
    engine.on("upgrade", say);
    say();
  }

  private joined(): void {
    if (this.current.phase !== "connected") return;
    const recovered = this.allRecovered();
    if (recovered !== this.current.recovered) this.become({ ...this.current, recovered });
  }

  private allRecovered(): boolean {
    const joined = [...this.sockets.values()].filter((socket) => socket.connected);
    return joined.length > 0 && joined.every((socket) => socket.recovered);
  }

  private failed(): void {
    if (!this.wanted || this.current.phase === "waiting" || this.current.phase === "closed") return;
    const ceiling = Math.min(this.mostDelay, this.leastDelay * 2 ** this.attempt);
    const delay = ceiling / 2 + (ceiling / 2) * this.random();
    this.attempt += 1;
    this.become({ phase: "waiting", attempt: this.attempt, retryAt: Date.now() + delay });
    this.timer = setTimeout(() => this.dial(), delay);
  }

  private become(state: ConnectionState): void {
    this.current = state;
    for (const listener of [...this.listeners]) listener();
  }
}
