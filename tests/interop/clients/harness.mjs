// What scenarios share: servers to start and end, official clients, and waiting for events.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import msgpackParser from "socket.io-msgpack-parser";

// {command: [...], server: "reference" | "front" | "asgi", transports: [...], parser: "json" | "msgpack"}
// The command serves the variants of its last argument. With a url instead, a server that runs already is used.
export const settings = JSON.parse(process.argv[3]);
const clients = new Set();
const servers = new Set();

export class Server {
  static async start(ports) {
    const server = new Server();
    const [program, ...args] = settings.command;
    server.process = spawn(program, [...args, JSON.stringify(ports)], { stdio: ["pipe", "pipe", "pipe"] });
    server.ended = new Promise((resolve) => server.process.once("close", (code, signal) => resolve(signal ?? code)));
    server.log = "";
    server.process.stderr.setEncoding("utf8").on("data", (text) => { server.log += text; });
    servers.add(server);
    server.ports = await new Promise((resolve, reject) => {
      server.ended.then(() => reject(new Error(`the server did not start: ${server.log}`)));
      createInterface({ input: server.process.stdout }).on("line", (line) => {
        if (line.startsWith("ports ")) resolve(JSON.parse(line.slice(6)));
        else server.log += `${line}\n`;
      });
    });
    return server;
  }

  // One that somebody else has started and will end.
  static running(url) {
    return { url: () => url, ended: new Promise(() => {}), process: { exitCode: null } };
  }

  url(variant = settings.parser === "msgpack" ? "msgpack" : "plain") {
    return `http://127.0.0.1:${this.ports[variant]}`;
  }

  // Another one in its place.
  again() {
    return Server.start(this.ports);
  }

  async end(signal) {
    servers.delete(this);
    this.process.kill(signal);
    return this.ended;
  }
}

export const shared = {};

export function client(namespace = "/", { server = shared.server, variant, ...options } = {}) {
  const parser = variant === undefined && settings.parser === "msgpack" ? { parser: msgpackParser } : {};
  const socket = io(server.url(variant) + namespace, {
    forceNew: true, reconnection: false, transports: settings.transports, ...parser, ...options,
  });
  clients.add(socket);
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
  if (engine.transport.name !== settings.transports.at(-1)) await event(engine, "upgrade");
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

export function hangUp() {
  for (const socket of clients) {
    socket.io.reconnection(false);
    socket.disconnect();
  }
  clients.clear();
}

export async function endServers(signal) {
  return Promise.all([...servers].map((server) => server.end(signal)));
}

process.once("exit", () => { for (const server of servers) server.process.kill("SIGKILL"); });
