// Runs the official client through scenarios and prints a JSON line for each.
// usage: node scenarios.mjs URL '{"transports": ["polling"], "msgpack": false, "only": null}'
import assert from "node:assert/strict";
import { writeSync } from "node:fs";
import { io } from "socket.io-client";
import msgpackParser from "socket.io-msgpack-parser";

const url = process.argv[2];
const settings = JSON.parse(process.argv[3] ?? "{}");
const open = new Set();

function client(namespace = "/", options = {}) {
  const socket = io(url + namespace, {
    forceNew: true, reconnection: false, transports: settings.transports,
    ...(settings.msgpack ? { parser: msgpackParser } : {}), ...options,
  });
  open.add(socket);
  return socket;
}

const event = (emitter, name) => new Promise((resolve) => emitter.once(name, (...args) => resolve(args)));

async function connected(namespace = "/", options = {}) {
  const socket = client(namespace, options);
  await new Promise((resolve, reject) => { socket.once("connect", resolve); socket.once("connect_error", reject); });
  return socket;
}

const ask = (socket, ...args) => socket.timeout(5000).emitWithAck(...args);

// Everything sent before is there once an answer has come.
async function silent(socket, name) {
  let count = 0;
  socket.on(name, () => { count += 1; });
  await ask(socket, "echo", 0);
  assert.equal(count, 0);
}

const scenarios = {
  async "a client connects and learns its id"() {
    const socket = client();
    const [id] = await event(socket, "welcome");
    assert.equal(id, socket.id);
    assert.equal(socket.id.length, 20);
  },
  async "the transport is the one that was asked for"() {
    const socket = await connected();
    if (settings.transports.length === 2) await new Promise((resolve) => {
      if (socket.io.engine.transport.name === "websocket") resolve();
      else socket.io.engine.once("upgrade", resolve);
    });
    assert.equal(socket.io.engine.transport.name, settings.transports.at(-1));
    assert.equal((await ask(socket, "who")).transport, settings.transports.at(-1));
  },
  async "values come back as they were sent"() {
    const socket = await connected();
    const value = { text: "grüße 😀 \u2028 \"'\\", list: [1, -2.5, settings.msgpack ? 7 : 1e21, true, null, []], deep: { a: { b: {} } }, "": 0 };
    assert.deepEqual(await ask(socket, "echo", value), value);
  },
  async "events without acknowledgement are answered by events"() {
    const socket = await connected();
    const answer = event(socket, "echo");
    socket.emit("echo", 1, "two", [3]);
    assert.deepEqual(await answer, [1, "two", [3]]);
  },
  async "an acknowledgement may have several values, or none"() {
    const socket = await connected();
    const several = await new Promise((resolve) => socket.emit("echo", 1, 2, (...values) => resolve(values)));
    assert.deepEqual(several, [1, 2]);
    const none = await new Promise((resolve) => socket.emit("nothing", (...values) => resolve(values)));
    assert.deepEqual(none, []);
  },
  async "an acknowledgement that never comes times out"() {
    const socket = await connected();
    await assert.rejects(socket.timeout(100).emitWithAck("never"));
  },
  async "binary travels both ways, nested and several at once"() {
    const socket = await connected();
    const four = settings.msgpack ? Buffer.from([4]) : new Uint8Array([4]); // notepack loses bare typed arrays
    const sent = { first: Buffer.from([1, 2, 3]), list: [four, { deep: Buffer.alloc(70000, 5) }] };
    const got = await ask(socket, "echo", sent);
    assert.deepEqual([...got.first], [1, 2, 3]);
    assert.deepEqual([...new Uint8Array(got.list[0])], [4]);
    assert.equal(got.list[1].deep.length ?? got.list[1].deep.byteLength, 70000);
    const made = await ask(socket, "bytes", 5);
    assert.deepEqual([...new Uint8Array(made.nested[0])], [7, 7, 7, 7, 7]);
    const event1 = event(socket, "echo");
    socket.emit("echo", Buffer.from("ab"), "text", Buffer.from("cd"));
    const [a, text, b] = await event1;
    assert.deepEqual([Buffer.from(a).toString(), text, Buffer.from(b).toString()], ["ab", "text", "cd"]);
  },
  async "a large answer arrives whole"() {
    const socket = await connected();
    assert.equal((await ask(socket, "big", 500000)).length, 500000);
  },
  async "a large message arrives whole"() {
    const socket = await connected();
    assert.equal((await ask(socket, "echo", "y".repeat(700000))).length, 700000);
  },
  async "order is kept in both directions"() {
    const socket = await connected();
    const numbers = [];
    socket.on("number", (number) => numbers.push(number));
    assert.equal(await ask(socket, "many", 500), "sent");
    assert.deepEqual(numbers, Array.from({ length: 500 }, (_, i) => i));
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(socket, "echo", i)));
    assert.deepEqual(answers, Array.from({ length: 200 }, (_, i) => i));
  },
  async "the server asks the client"() {
    const socket = await connected();
    socket.on("question", (value, ack) => ack({ answer: value }));
    assert.deepEqual(await ask(socket, "ask-me", [1, 2]), { answer: [1, 2] });
  },
  async "the server does not wait for ever"() {
    const socket = await connected();
    assert.equal(await ask(socket, "ask-me-briefly"), "timeout");
  },
  async "a broadcast is acknowledged by everybody"() {
    const sockets = await Promise.all([connected(), connected(), connected()]);
    const room = `ask-${sockets[0].id}`;
    for (const [index, socket] of sockets.entries()) {
      socket.on("question", (value, ack) => ack(`${index}${value}`));
      await ask(socket, "join", room);
    }
    assert.deepEqual(await ask(sockets[0], "ask-room", room), [`0${room}`, `1${room}`, `2${room}`]);
  },
  async "a broadcast that is not acknowledged by everybody reports those who did"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const room = `brief-${one.id}`;
    one.on("question", (value, ack) => ack("mine"));
    await ask(one, "join", room);
    await ask(two, "join", room);
    const answer = await new Promise((resolve) => one.emit("ask-room-briefly", room, (...values) => resolve(values)));
    assert.deepEqual(answer, ["timeout", ["mine"]]);
  },
  async "a room hears what is said to it, the speaker does not"() {
    const [one, two, three] = await Promise.all([connected(), connected(), connected()]);
    const room = `room-${one.id}`;
    await ask(one, "join", room);
    await ask(two, "join", room);
    const heard = event(two, "said");
    await ask(one, "to-room", room, "hello");
    assert.deepEqual(await heard, ["hello"]);
    await silent(one, "said");
    await silent(three, "said");
  },
  async "who left a room hears nothing any more"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const room = `left-${one.id}`;
    await ask(two, "join", room);
    await ask(two, "leave", room);
    await ask(one, "to-room", room, "hello");
    await silent(two, "said");
  },
  async "a broadcast to several rooms reaches each socket once, and not the excepted"() {
    const [one, two, three] = await Promise.all([connected(), connected(), connected()]);
    const [a, b, c] = ["a", "b", "c"].map((name) => `${name}-${one.id}`);
    for (const room of [a, b]) await ask(one, "join", room);
    for (const room of [b, c]) await ask(two, "join", room);
    await ask(three, "join", a);
    const heard = [];
    one.on("said", (text) => heard.push(["one", text]));
    two.on("said", (text) => heard.push(["two", text]));
    three.on("said", (text) => heard.push(["three", text]));
    await ask(three, "to-rooms", [a, b], [c], "hello");
    for (const socket of [one, two, three]) await ask(socket, "echo", 0);
    assert.deepEqual(heard.sort(), [["one", "hello"], ["three", "hello"]]);
  },
  async "a socket's id is a room"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const heard = event(two, "said");
    await ask(one, "to-room", two.id, "psst");
    assert.deepEqual(await heard, ["psst"]);
  },
  async "the others hear a broadcast"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const heard = event(two, "said");
    await ask(one, "to-others", "all");
    assert.deepEqual(await heard, ["all"]);
  },
  async "volatile events arrive at a client that is ready"() {
    const socket = await connected("/", { transports: ["websocket"] });
    const heard = event(socket, "maybe");
    assert.equal(await ask(socket, "volatile"), "sent");
    assert.deepEqual(await heard, [1]);
  },
  async "query, headers and auth reach the server"() {
    const socket = await connected("/", { query: { colour: "rosé & blue" }, extraHeaders: { "x-colour": "green" }, auth: { token: "t" } });
    const who = await ask(socket, "who");
    assert.deepEqual([who.query, who.header, who.auth], ["rosé & blue", "green", { token: "t" }]);
  },
  async "a guarded namespace lets the right token in"() {
    const socket = await connected("/guarded", { auth: (give) => give({ token: "good" }) });
    assert.equal(await ask(socket, "echo", "in"), "in");
  },
  async "a guarded namespace says why it refuses"() {
    const socket = client("/guarded", { auth: { token: "bad" } });
    const [error] = await event(socket, "connect_error");
    assert.equal(error.message, "not allowed");
    assert.deepEqual(error.data, { code: 7 });
    assert.equal(socket.connected, false);
  },
  async "an unknown namespace is refused and the connection stays"() {
    const main = await connected();
    const other = main.io.socket("/nowhere");
    const [error] = await event(other, "connect_error");
    assert.equal(error.message, "Invalid namespace");
    assert.equal(await ask(main, "echo", "still here"), "still here");
  },
  async "several namespaces share a connection"() {
    const main = await connected();
    const guarded = main.io.socket("/guarded", { auth: { token: "good" } });
    await event(guarded, "connect");
    const slow = main.io.socket("/slow");
    const welcome = event(slow, "welcome");
    assert.deepEqual(await welcome, ["slow"]);
    assert.deepEqual(await Promise.all([ask(main, "echo", 1), ask(guarded, "echo", 2)]), [1, 2]);
    guarded.disconnect();
    assert.equal(await ask(main, "echo", 3), 3);
  },
  async "a namespace that matches comes into being"() {
    const [one, two, other] = [client("/dyn-101"), client("/dyn-101"), client("/dyn-102")];
    const welcomes = await Promise.all([event(one, "welcome"), event(two, "welcome"), event(other, "welcome")]);
    assert.deepEqual(welcomes, [["/dyn-101"], ["/dyn-101"], ["/dyn-102"]]);
    const heard = Promise.all([event(one, "said"), event(two, "said")]);
    other.on("said", () => assert.fail("another namespace"));
    one.emit("shout", "here");
    assert.deepEqual(await heard, [["here"], ["here"]]);
  },
  async "a server disconnect is told apart from a lost connection"() {
    const left = await connected();
    const leaving = event(left, "disconnect");
    left.emit("leave-me");
    assert.equal((await leaving)[0], "io server disconnect");
    const closed = await connected();
    const closing = event(closed, "disconnect");
    closed.emit("close-me");
    assert.equal((await closing)[0], "io server disconnect");
  },
  async "a client may leave and come back"() {
    const socket = await connected();
    const first = socket.id;
    const left = event(socket, "disconnect");
    socket.disconnect();
    assert.equal((await left)[0], "io client disconnect");
    const again = event(socket, "connect");
    socket.connect();
    await again;
    assert.notEqual(socket.id, first);
    assert.equal(await ask(socket, "echo", "back"), "back");
  },
  async "catch-all listeners hear everything"() {
    const socket = await connected();
    const heard = [];
    const sent = [];
    socket.onAny((...args) => heard.push(args));
    socket.onAnyOutgoing((...args) => sent.push(args[0]));
    const echoed = event(socket, "echo");
    socket.emit("echo", 1);
    await echoed;
    assert.deepEqual(heard.filter(([name]) => name === "echo"), [["echo", 1]]);
    assert.deepEqual(sent, ["echo"]);
  },
  async "emits made before the connection are sent after it"() {
    const socket = client();
    assert.equal(await ask(socket, "echo", "early"), "early");
  },
  async "retries are acknowledged once"() {
    const socket = await connected("/", { retries: 3, ackTimeout: 5000 });
    assert.equal(await new Promise((resolve) => socket.emit("echo", "once", (error, value) => resolve(value))), "once");
  },
  async "fifty clients at once are all served"() {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => connected()));
    const answers = await Promise.all(sockets.map((socket, index) => ask(socket, "echo", index)));
    assert.deepEqual(answers, sockets.map((_, index) => index));
  },
};

for (const [name, run] of Object.entries(scenarios)) {
  if (settings.only && !settings.only.includes(name)) continue;
  let timer;
  const limit = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("took too long")), 15000); });
  try {
    await Promise.race([run(), limit]);
    writeSync(1, `${JSON.stringify({ name, ok: true })}\n`);
  } catch (error) {
    writeSync(1, `${JSON.stringify({ name, ok: false, error: String(error.stack ?? error).slice(0, 2000) })}\n`);
  }
  clearTimeout(timer);
  for (const socket of open) socket.disconnect();
  open.clear();
}
process.exit(0);
