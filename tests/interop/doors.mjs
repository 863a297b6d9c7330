// How a client gets in, and what keeps it out: options of server and client, whatever the transport.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { Fetch, NodeWebSocket, NodeXHR } from "engine.io-client";
import { Manager } from "socket.io-client";
import { ask, client, connected, event, settings, shared, upgraded } from "./harness.mjs";

export const variants = ["plain", "polling", "websocket", "deflate", "cookie", "refusing"];
const ALLOWED = "http://app.example";
const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";
const polling = { transports: ["polling"] };
const websocket = { transports: ["websocket"] };
const both = { transports: ["polling", "websocket"] };
const get = (path, options) => fetch(shared.server.url("plain") + path, options);

async function refused(options) {
  const socket = client("/", options);
  const [error] = await event(socket, "connect_error");
  assert.equal(socket.connected, false);
  return error;
}

export const scenarios = {
  async "a handshake that is refused says so"() {
    const error = await refused({ variant: "refusing", ...polling });
    assert.deepEqual([error.message, error.description, error.type], ["xhr poll error", 403, "TransportError"]);
    const { context } = await refused({ variant: "refusing", transports: [Fetch] });
    assert.deepEqual(await context.json(), { code: 4, message: "Forbidden" });
    assert.equal((await refused({ variant: "refusing", ...websocket })).message, "websocket error");
  },
  async "a handshake that is not refused goes on"() {
    for (const transports of [polling, websocket, both]) {
      const socket = await upgradedTo(transports, { variant: "refusing", query: { ticket: "valid" } });
      assert.equal(await ask(socket, "echo", "in"), "in");
    }
  },
  async "a transport that the server does not have is refused, and another tried"() {
    const { context } = await refused({ variant: "websocket", transports: [Fetch] });
    assert.deepEqual(await context.json(), { code: 0, message: "Transport unknown" });
    const socket = await connected("/", { variant: "polling", transports: ["websocket", "polling"], tryAllTransports: true });
    assert.equal(socket.io.engine.transport.name, "polling");
    const other = await connected("/", { variant: "websocket", transports: ["polling", "websocket"], tryAllTransports: true });
    assert.equal(other.io.engine.transport.name, "websocket");
  },
  async "a server without WebSocket offers no upgrade"() {
    const socket = await connected("/", { variant: "polling", ...both });
    assert.deepEqual(socket.io.engine.upgrades ?? socket.io.engine._upgrades, []);
    assert.equal(await ask(socket, "echo", "polling"), "polling");
    assert.equal(socket.io.engine.transport.name, "polling");
  },
  async "a client that does not want to upgrade keeps polling"() {
    const socket = await connected("/", { variant: "plain", ...both, upgrade: false });
    assert.equal((await ask(socket, "who")).transport, "polling");
  },
  async "a client that remembers the upgrade begins with WebSocket next time"() {
    const socket = await upgradedTo(both, { variant: "plain", rememberUpgrade: true });
    socket.disconnect().connect();
    await event(socket, "connect");
    assert.equal(socket.io.engine.transport.name, "websocket");
  },
  async "another path has nothing for a client"() {
    const error = await refused({ variant: "plain", ...polling, path: "/nothing/" });
    assert.deepEqual([error.message, error.description], ["xhr poll error", 404]);
  },
  async "a path of one's own, and a cookie that comes back"() {
    const options = { variant: "cookie", path: "/live/", withCredentials: true };
    for (const transports of [polling, both]) {
      const socket = await connected("/", { ...options, ...transports });
      assert.match((await ask(socket, "who")).auth && socket.io.engine.id, /^[\w-]{20,}$/);
    }
    const answer = await fetch(`${shared.server.url("cookie")}/live/?EIO=4&transport=polling`);
    const { sid } = JSON.parse((await answer.text()).slice(1));
    assert.equal(answer.headers.get("set-cookie"), `io=${sid}; Path=/; HttpOnly; SameSite=Lax`);
  },
  async "the fetch transport works like the other one, and upgrades"() {
    for (const transports of [[Fetch], [Fetch, NodeWebSocket], [NodeXHR, NodeWebSocket]]) {
      const socket = await upgradedTo({ transports }, { variant: "plain" });
      assert.equal((await ask(socket, "echo", "z".repeat(300_000))).length, 300_000);
      assert.equal((await ask(socket, "big", 2_000_000)).length, 2_000_000);
    }
  },
  async "a large answer is compressed for who accepts it, a small one is not"() {
    const { sid } = await open();
    await post(sid, "40");
    await (await poll(sid)).text();
    await post(sid, '420["big",50000]');
    let answer = await poll(sid, { "accept-encoding": "gzip" });
    let body = await answer.text();
    if (!body.includes("430[")) {
      assert.equal(answer.headers.get("content-encoding"), null);
      answer = await poll(sid, { "accept-encoding": "gzip" });
      body = await answer.text();
    }
    assert.equal(answer.headers.get("content-encoding"), "gzip");
    assert.ok(body.includes(`430["${"x".repeat(50_000)}"]`));
    await post(sid, '421["big",50000]');
    answer = await poll(sid, { "accept-encoding": "identity" });
    assert.equal(answer.headers.get("content-encoding"), null);
    assert.equal((await answer.text()).length, 50_000 + '431[""]'.length);
  },
  async "messages are deflated on a WebSocket that both want compressed"() {
    const socket = await connected("/", { variant: "deflate", ...websocket, perMessageDeflate: { threshold: 0 } });
    assert.match(socket.io.engine.transport.ws.extensions, /permessage-deflate/);
    for (const size of [10, 1_000, 100_000, 900_000]) {
      assert.equal((await ask(socket, "echo", "w".repeat(size))).length, size);
    }
    const data = Buffer.alloc(200_000, "binary");
    assert.ok(Buffer.from(await ask(socket, "echo", data)).equals(data));
    const sockets = await Promise.all(Array.from({ length: 5 }, () => connected("/", { variant: "deflate", ...websocket, perMessageDeflate: true })));
    await Promise.all(sockets.map((each) => ask(each, "join", "deflated")));
    const said = sockets.map((each) => event(each, "said"));
    await ask(socket, "tell", ["deflated"], [], "v".repeat(5_000));
    assert.deepEqual((await Promise.all(said)).map(([text]) => text.length), [5000, 5000, 5000, 5000, 5000]);
  },
  async "compression is not forced on who does not want it"() {
    const plain = await connected("/", { variant: "deflate", ...websocket, perMessageDeflate: false });
    assert.equal(plain.io.engine.transport.ws.extensions, "");
    assert.equal((await ask(plain, "echo", "u".repeat(5_000))).length, 5_000);
    const wanting = await connected("/", { variant: "plain", ...websocket, perMessageDeflate: true });
    assert.equal((await ask(wanting, "echo", "u".repeat(5_000))).length, 5_000);
  },
  async "a page of an allowed origin may read every answer"() {
    const headers = { origin: ALLOWED };
    for (const path of [HANDSHAKE, "/socket.io/?EIO=4&transport=polling&sid=unknown", "/socket.io/?EIO=3&transport=polling"]) {
      const answer = await get(path, { headers });
      assert.equal(answer.headers.get("access-control-allow-origin"), ALLOWED, path);
      assert.match(answer.headers.get("vary"), /Origin/);
    }
    for (const transports of [polling, websocket, both]) {
      const socket = await upgradedTo(transports, { variant: "plain", extraHeaders: headers });
      assert.equal(await ask(socket, "echo", "from the page"), "from the page");
    }
  },
  async "a preflight is answered"() {
    const headers = {
      origin: ALLOWED, "access-control-request-method": "POST", "access-control-request-headers": "content-type,x-token",
    };
    const answer = await get(HANDSHAKE, { method: "OPTIONS", headers });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get("access-control-allow-origin"), ALLOWED);
    assert.match(answer.headers.get("access-control-allow-methods"), /POST/);
    assert.equal(answer.headers.get("access-control-allow-headers"), "content-type,x-token");
    assert.match(answer.headers.get("vary"), /Access-Control-Request-Headers/);
  },
  async "a page of another origin gets nothing"() {
    const headers = { origin: "http://evil.example" };
    const answer = await get(HANDSHAKE, { headers });
    assert.notEqual(answer.headers.get("access-control-allow-origin"), "http://evil.example");
    // The reference leaves it to the browser, which does not ask before it opens a WebSocket.
    if (settings.server === "reference") return;
    assert.equal(answer.status, 403);
    for (const transports of [polling, websocket]) await refused({ variant: "plain", ...transports, extraHeaders: headers });
  },
  async "nobody listens: the client tries as often as it was told to"() {
    const placeholder = createServer().listen(0, "127.0.0.1");
    await event(placeholder, "listening");
    const { port } = placeholder.address();
    await new Promise((resolve) => placeholder.close(resolve));
    const manager = new Manager(`http://127.0.0.1:${port}`, {
      transports: ["websocket"], reconnectionAttempts: 2, reconnectionDelay: 10, autoConnect: false, timeout: 2000,
    });
    const attempts = [];
    manager.on("reconnect_attempt", (number) => attempts.push(number));
    const socket = manager.socket("/");
    const failed = event(manager, "reconnect_failed");
    socket.connect();
    const [error] = await event(socket, "connect_error");
    assert.deepEqual([error.message, socket.active], ["websocket error", true]);
    await failed;
    assert.deepEqual(attempts, [1, 2]);
  },
  async "one connection serves several namespaces, and another if it is forced"() {
    const shareable = { variant: "plain", ...websocket, forceNew: false, multiplex: true };
    const [main, room] = [await connected("/", shareable), await connected("/room-1", shareable)];
    assert.equal(main.io, room.io);
    const apart = await connected("/room-1", { variant: "plain", ...websocket });
    assert.notEqual(apart.io, main.io);
  },
  async "thirty-two namespaces fit into one connection"() {
    const main = await connected("/", { variant: "plain", ...both });
    const rooms = await Promise.all(Array.from({ length: 31 }, async (_, number) => {
      const room = main.io.socket(`/room-${100 + number}`);
      await event(room, "connect");
      return room;
    }));
    await Promise.all(rooms.map(async (room, number) => {
      const heard = event(room, "heard");
      room.emit("shout", number);
      assert.deepEqual(await heard, [number]);
    }));
  },
};

const upgradedTo = ({ transports }, options) => upgraded("/", { ...options, transports });

async function open() {
  return JSON.parse((await (await get(HANDSHAKE)).text()).slice(1));
}

const poll = (sid, headers) => get(`${HANDSHAKE}&sid=${sid}`, { headers });

async function post(sid, body) {
  assert.equal(await (await get(`${HANDSHAKE}&sid=${sid}`, { method: "POST", body })).text(), "ok");
}
