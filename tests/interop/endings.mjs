// How connections end, as both sides see it, and how they come back.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import {
  ask, client, connected, event, eventWhere, heard, persistent, Server, settings, settled, shared, upgraded,
} from "./harness.mjs";

export const variants = ["plain", "fast"];
// Nearly all of their time is waiting, and each has a server or sockets of its own.
export const together = 5;
const LOST = ["transport close", "transport error"];
const isPolling = settings.transports.at(-1) === "polling";

// Hears of departures on the server, from a connection of its own.
async function observer() {
  const socket = await connected("/watch", { variant: "plain", transports: ["websocket"] });
  return async (id) => {
    const [, reason, before, after] = await eventWhere(socket, "gone", (gone) => gone === id);
    return { reason, before, after };
  };
}

// Why the client says that it is disconnected, when it is.
const leaving = async (socket) => (await event(socket, "disconnect"))[0];

// By the command that a user would type, so that signals are its own affair.
const ownServer = (variant = "plain") => Server.start({ [variant]: 0 });

async function reconnected(socket) {
  if (!socket.connected) await event(socket, "connect");
}

export const scenarios = {
  async "a client that leaves is gone from its rooms"() {
    const [departure, socket] = [await observer(), await upgraded()];
    await ask(socket, "join", "a", "b");
    const [seen, left, { id }] = [departure(socket.id), leaving(socket), socket];
    socket.disconnect();
    assert.equal(await left, "io client disconnect");
    assert.deepEqual(await seen, { reason: "client namespace disconnect", before: ["a", "b", id].sort(), after: [] });
    assert.equal(socket.active, false);
    socket.connect();
    await event(socket, "connect");
    assert.notEqual(socket.id, id);
    assert.deepEqual((await ask(socket, "who")).rooms, [socket.id]);
  },
  async "the server takes a client out of a namespace, after what it said before"() {
    const [departure, socket] = [await observer(), await upgraded("/", persistent)];
    const names = [];
    for (const name of ["goodbye", "disconnect"]) socket.on(name, (reason) => names.push(reason ?? name));
    const [seen, left] = [departure(socket.id), leaving(socket)];
    socket.emit("kick", false);
    await left;
    assert.deepEqual(names, ["goodbye", "io server disconnect"]);
    assert.equal((await seen).reason, "server namespace disconnect");
    // It does not come back by itself, but may.
    assert.equal(socket.active, false);
    socket.connect();
    await event(socket, "connect");
    assert.equal(await ask(socket, "echo", "back"), "back");
  },
  async "the server ends the whole connection, after what it said before"() {
    const [departure, socket] = [await observer(), await upgraded()];
    const names = [];
    for (const name of ["goodbye", "disconnect"]) socket.on(name, (reason) => names.push(reason ?? name));
    const [seen, closed] = [departure(socket.id), event(socket.io, "close")];
    socket.emit("kick", true);
    await closed;
    assert.deepEqual(names, ["goodbye", "io server disconnect"]);
    assert.equal((await seen).reason, "server namespace disconnect");
  },
  async "the server ends a connection that has only just begun"() {
    const departure = await observer();
    for (let round = 0; round < 5; round += 1) {
      const socket = client();
      const names = [];
      for (const name of ["goodbye", "disconnect"]) socket.on(name, (reason) => names.push(reason ?? name));
      const left = leaving(socket);
      await event(socket, "connect");
      const seen = departure(socket.id);
      socket.emit("kick", true);
      await left;
      assert.deepEqual(names, ["goodbye", "io server disconnect"]);
      assert.equal((await seen).reason, "server namespace disconnect");
      socket.disconnect();
    }
  },
  async "a client that closes its transport is seen to do so, and comes back"() {
    const [departure, socket] = [await observer(), await upgraded("/", persistent)];
    const [{ id }, seen, left, back] = [socket, departure(socket.id), leaving(socket), event(socket, "connect")];
    socket.io.engine.close();
    assert.equal(await left, "forced close");
    assert.equal((await seen).reason, "transport close");
    await back;
    assert.notEqual(socket.id, id);
  },
  async "a connection that is cut is lost for both sides"() {
    if (isPolling) return;
    const [departure, socket] = [await observer(), await upgraded("/", persistent)];
    const [seen, left, back] = [departure(socket.id), leaving(socket), event(socket, "connect")];
    socket.io.engine.transport.ws.terminate();
    assert.ok(LOST.includes(await left));
    assert.ok(LOST.includes((await seen).reason));
    await back;
    assert.equal(await ask(socket, "echo", "again"), "again");
  },
  async "a client that is killed is missed"() {
    const departure = await observer();
    const [frozen, id] = await otherProcess("fast");
    const seen = departure(id);
    frozen.kill("SIGKILL");
    // Between two polls nobody holds a connection that could be lost.
    assert.ok([...LOST, ...(isPolling ? ["ping timeout"] : [])].includes((await seen).reason));
  },
  async "a client that hangs misses its pings, and comes back"() {
    const departure = await observer();
    const [frozen, id, lines] = await otherProcess("fast");
    const seen = departure(id);
    frozen.kill("SIGSTOP");
    assert.equal((await seen).reason, "ping timeout");
    frozen.kill("SIGCONT");
    const told = [];
    for await (const line of lines) if (told.push(JSON.parse(line)) === 2) break;
    assert.equal(told[0][0], "disconnect");
    assert.equal(told[1][0], "connect");
    assert.notEqual(told[1][1], id);
    frozen.kill("SIGKILL");
  },
  async "a client stays as long as it answers pings"() {
    const socket = await upgraded("/", { variant: "fast" });
    const lost = leaving(socket).then((reason) => assert.fail(reason));
    for (let pings = 0; pings < 3; pings += 1) await Promise.race([event(socket.io, "ping"), lost]);
    assert.equal(await ask(socket, "echo", "alive"), "alive");
  },
  async "what is unanswered when a connection ends fails on both sides"() {
    const watching = await connected("/watch", { variant: "plain", transports: ["websocket"] });
    const socket = await upgraded();
    const key = `key-${socket.id}`;
    const told = eventWhere(watching, "told", (which) => which === key);
    const asked = event(socket, "question");
    socket.emit("ask-and-tell", key);
    await asked;
    const unanswered = socket.emitWithAck("stubborn", key, 1);
    socket.disconnect();
    await assert.rejects(unanswered, { message: "socket has been disconnected" });
    assert.deepEqual(await told, [key, "unanswered"]);
  },
  async "a server that is killed is missed, and found again when it is back"() {
    const server = await ownServer();
    let asked = 0;
    const socket = await upgraded("/", { server, ...persistent, auth: (give) => give({ visit: (asked += 1) }) });
    await ask(socket, "join", "room");
    const { id } = socket;
    const left = leaving(socket);
    await server.end("SIGKILL");
    assert.ok(LOST.includes(await left));
    assert.equal(socket.active, true);
    // What is said meanwhile is said later.
    const echoed = heard(socket, "echo");
    for (const word of ["one", "two", "three"]) socket.emit("echo", word);
    const pending = socket.emitWithAck("echo", "answered");
    const next = await server.again();
    assert.equal(await pending, "answered");
    await settled(socket);
    assert.deepEqual(echoed, ["one", "two", "three"]);
    const who = await ask(socket, "who");
    assert.equal(who.auth.visit, asked);
    assert.deepEqual(who.rooms, [socket.id]);
    assert.notEqual(socket.id, id);
    socket.disconnect();
    await next.end("SIGTERM");
  },
  async "a server that is told to stop says first what it had to say, and lets its clients come back"() {
    const server = await ownServer();
    const sockets = await Promise.all([1, 2, 3].map(() => upgraded("/", { server, ...persistent })));
    const room = await connected("/room-1", { server, ...persistent });
    const left = Promise.all([...sockets, room].map((socket) => leaving(socket)));
    const ticks = heard(sockets[0], "tick");
    await ask(sockets[0], "burst", 300);
    assert.equal(await server.end("SIGTERM"), 0);
    // Never "io server disconnect": after that one they would stay away.
    for (const reason of await left) assert.ok(LOST.includes(reason), reason);
    assert.equal(ticks.length, 300);
    const next = await server.again();
    await Promise.all([...sockets, room].map(reconnected));
    assert.deepEqual(await Promise.all(sockets.map((socket, number) => ask(socket, "echo", number))), [0, 1, 2]);
    for (const socket of [...sockets, room]) socket.disconnect();
    assert.equal(await next.end("SIGTERM"), 0);
  },
  async "a server that hangs is missed by its pings, and found again"() {
    const server = await ownServer("fast");
    const socket = await upgraded("/", { server, variant: "fast", ...persistent, timeout: 1000 });
    const left = leaving(socket);
    server.signal("SIGSTOP");
    assert.equal(await left, "ping timeout");
    server.signal("SIGCONT");
    await event(socket, "connect");
    assert.equal(await ask(socket, "echo", "hello again"), "hello again");
    socket.disconnect();
    await server.end("SIGTERM");
  },
};

// A client in a process that can be stopped; gives its process, its id, and lines about what it hears later.
async function otherProcess(variant) {
  const script = fileURLToPath(new URL("./bystander.mjs", import.meta.url));
  const url = shared.server.url(variant);
  const frozen = spawn(process.execPath, [script, url, JSON.stringify(settings.transports)], { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => frozen.kill("SIGKILL"));
  const lines = createInterface({ input: frozen.stdout })[Symbol.asyncIterator]();
  const { value } = await lines.next();
  return [frozen, JSON.parse(value)[1], lines];
}
