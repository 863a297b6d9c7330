// What scenarios share: servers to start and end, official clients, and waiting for events.
import { AsyncLocalStorage } from "node:async_hooks";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import msgpackParser from "socket.io-msgpack-parser";

// {server: "reference" | "front" | "asgi", transports: [...], parser: "json" | "msgpack", command: [...], several: [...]}
// `command` is what a user would type to serve one VARIANT on PORT; `several` serves the variants of its last argument.
export const settings = JSON.parse(process.argv[3]);
// The clients of each scenario: some scenarios run at the same time.
const clients = new AsyncLocalStorage();
const servers = new Set();

export class Server {
  static async start(ports) {
    const server = new Server();
    const [program, ...args] = commandFor(ports);
    // A group of its own: the server may be several processes.
    server.process = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], detached: true });
    server.ended = new Promise((resolve) => server.process.once("close", (code, signal) => resolve(signal ?? code)));
    server.log = "";
    servers.add(server);
    server.ports = await new Promise((resolve, reject) => {
      server.ended.then(() => reject(new Error(`the server did not start: ${server.log}`)));
      const listen = (line) => {
        server.log += `${line}\n`;
        const url = line.match(/http:\/\/127\.0\.0\.1:(\d+)/);
        if (line.startsWith("ports ")) resolve(JSON.parse(line.slice(6)));
        else if (url) resolve({ [Object.keys(ports)[0]]: Number(url[1]) });
      };
      for (const input of [server.process.stdout, server.process.stderr]) createInterface({ input }).on("line", listen);
    });
    return server;
  }

  url(variant = settings.parser === "msgpack" ? "msgpack" : "plain") {
    return `http://127.0.0.1:${this.ports[variant]}`;
  }

  // Another one in its place.
  again() {
    return Server.start(this.ports);
  }

  // Only the first process is told to stop; nobody is asked about SIGKILL, SIGSTOP and SIGCONT.
  signal(name) {
    process.kill(name === "SIGTERM" ? this.process.pid : -this.process.pid, name);
  }

  async end(signal) {
    this.signal(signal);
    const code = await this.ended;
    servers.delete(this);
    return code;
  }
}

function commandFor(ports) {
  const [[variant, port], ...others] = Object.entries(ports);
  if (others.length || !settings.command) return [...settings.several, JSON.stringify(ports)];
  return settings.command.map((word) => word.replace("VARIANT", variant).replace("PORT", port));
}

export const shared = {};

export function client(namespace = "/", { server = shared.server, variant, ...options } = {}) {
  const parser = variant === undefined && settings.parser === "msgpack" ? { parser: msgpackParser } : {};
  const socket = io(server.url(variant) + namespace, {
    forceNew: true, reconnection: false, transports: settings.transports, ...parser, ...options,
  });
  clients.getStore().add(socket);
  return socket;
}

// Reconnects at once, as the tests have no time to lose.
export const persistent = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 100 };

export function connected(namespace, options) {
  const socket = client(namespace, options);
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("connect_error", reject);
  });
}

export async function upgraded(namespace, options) {
  const socket = await connected(namespace, options);
  const { engine } = socket.io;
  const last = (options?.transports ?? settings.transports).at(-1);
  if (engine.transport.name !== (last.prototype?.name ?? last)) await event(engine, "upgrade");
  return socket;
}

export const event = (emitter, name) => new Promise((resolve) => emitter.once(name, (...args) => resolve(args)));

// The first event whose arguments satisfy `wanted`.
export const eventWhere = (emitter, name, wanted) => new Promise((resolve) => {
  emitter.on(name, function listener(...args) {
    if (!wanted(...args)) return;
    emitter.off(name, listener);
    resolve(args);
  });
});

export const ask = (socket, ...args) => socket.timeout(5000).emitWithAck(...args);

// Collects an event's arguments; whatever was sent before an answer is there once the answer is.
export function heard(socket, name) {
  const list = [];
  socket.on(name, (...args) => list.push(args.length > 1 ? args : args[0]));
  return list;
}

export async function settled(...sockets) {
  await Promise.all(sockets.map((socket) => ask(socket, "echo", 0)));
}

// Runs a scenario with clients of its own, which leave when it is over.
export async function withClients(scenario) {
  const own = new Set();
  try {
    await clients.run(own, scenario);
  } finally {
    for (const socket of own) {
      socket.io.reconnection(false);
      socket.disconnect();
    }
  }
}

export async function endServers(signal) {
  return Promise.all([...servers].map((server) => server.end(signal)));
}

process.once("exit", () => { for (const server of servers) server.signal("SIGKILL"); });
process.once("SIGTERM", () => process.exit(1));
