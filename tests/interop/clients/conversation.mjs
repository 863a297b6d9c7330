// What travels over a connection that stands: by every transport, with every parser.
import assert from "node:assert/strict";
import { ask, client, connected, event, heard, settings, settled, shared, upgraded } from "./harness.mjs";

export const variants = [settings.parser === "msgpack" ? "msgpack" : "plain"];
const bytes = (data) => [...(data instanceof ArrayBuffer ? new Uint8Array(data) : data)];
const range = (count) => Array.from({ length: count }, (_, index) => index);

export const scenarios = {
  async "order is kept in both directions while the transport changes"() {
    const socket = client();
    const [ticks, answers] = [heard(socket, "tick"), []];
    await event(socket, "connect");
    const changed = socket.io.engine.transport.name === settings.transports.at(-1) ? null : event(socket.io.engine, "upgrade");
    for (const round of range(10)) {
      socket.emit("burst", 20);
      await Promise.all(range(20).map(async (index) => answers.push(await ask(socket, "echo", round * 20 + index))));
    }
    await changed;
    await ask(socket, "burst", 20);
    assert.deepEqual(answers, range(200));
    assert.deepEqual(ticks, range(11).flatMap(() => range(20)));
  },
  async "nine hundred events at once arrive in order"() {
    const socket = client();
    const answers = await Promise.all(range(900).map((index) => socket.emitWithAck("echo", index)));
    assert.deepEqual(answers, range(900));
  },
  async "three megabytes at once are more than one request may hold, and arrive"() {
    const socket = await connected();
    // Answers without the text: what waits for a client that does not poll meanwhile is bounded.
    const sent = range(30).map((index) => ask(socket, "measure", String(index).padEnd(100_000, ".")));
    assert.deepEqual(await Promise.all(sent), range(30).map(() => 100_000));
  },
  async "an answer may be larger than a message may be"() {
    const socket = await connected();
    assert.equal((await ask(socket, "big", 3_000_000)).length, 3_000_000);
  },
  async "a message that is too large ends the connection, and only that one"() {
    const [socket, other] = [await upgraded(), await connected()];
    const end = event(socket, "disconnect");
    socket.emit("echo", "y".repeat(1_500_000));
    assert.ok(["transport error", "transport close"].includes((await end)[0]));
    assert.equal(await ask(other, "echo", "unharmed"), "unharmed");
  },
  async "ten attachments travel at once, to the server and back"() {
    const socket = await connected();
    const sent = range(10).map((index) => ({ index, deep: [{ data: Buffer.from([index, 255 - index]) }] }));
    const back = await ask(socket, "echo", sent);
    assert.deepEqual(back.map(({ index, deep }) => [index, bytes(deep[0].data)]), range(10).map((i) => [i, [i, 255 - i]]));
    const made = event(socket, "attachments");
    await ask(socket, "attachments", 10);
    assert.deepEqual((await made).map(({ number, data }) => [number, bytes(data)]), range(10).map((i) => [i, [i]]));
  },
  async "binary of every size keeps its bytes"() {
    const socket = await connected();
    for (const size of [0, 1, 2, 3, 125, 126, 65_535, 65_536, 200_000]) {
      const sent = Buffer.from(range(size).map((index) => index % 251));
      assert.ok(Buffer.from(await ask(socket, "echo", sent)).equals(sent), `${size} bytes`);
    }
  },
  async "the same buffer twice comes back twice"() {
    const socket = await connected();
    const twice = Buffer.from("twice");
    const back = await ask(socket, "echo", [twice, { again: twice }]);
    assert.deepEqual([Buffer.from(back[0]).toString(), Buffer.from(back[1].again).toString()], ["twice", "twice"]);
  },
  async "typed arrays come back as bytes"() {
    const socket = await connected();
    const whole = new Uint8Array([1, 2, 0, 250]);
    assert.deepEqual(bytes(await ask(socket, "echo", whole)), [1, 2, 0, 250]);
    assert.deepEqual(bytes(await ask(socket, "echo", whole.buffer)), [1, 2, 0, 250]);
  },
  async "an acknowledgement of the client may hold binary"() {
    const socket = await connected();
    socket.on("question", (value, ack) => ack({ heard: value, data: Buffer.from([9, 8]) }));
    const answer = await ask(socket, "ask", Buffer.from([1]));
    assert.deepEqual([bytes(answer.heard), bytes(answer.data)], [[1], [9, 8]]);
  },
  async "a client that acknowledges twice counts once"() {
    const socket = await connected();
    socket.on("question", (value, ack) => { ack("one"); ack("two"); });
    assert.equal(await ask(socket, "ask", 1), "one");
    assert.equal(await ask(socket, "ask", 2), "one");
  },
  async "what JavaScript has no JSON for becomes what JSON.stringify makes of it"() {
    if (settings.parser === "msgpack") return;
    const socket = await connected();
    const sent = [undefined, NaN, Infinity, new Date(0), -0, 1e21, 2 ** 53 - 1, 0.1];
    assert.deepEqual(await ask(socket, "echo", sent), JSON.parse(JSON.stringify(sent)));
  },
  async "undefined and dates survive msgpack"() {
    if (settings.parser !== "msgpack") return;
    const socket = await connected();
    const back = await ask(socket, "echo", [undefined, new Date(1_700_000_000_123), 2 ** 40, -(2 ** 40), 0.5]);
    assert.ok(back[0] === undefined || back[0] === null);
    assert.equal(new Date(back[1]).getTime(), 1_700_000_000_123);
    assert.deepEqual(back.slice(2), [2 ** 40, -(2 ** 40), 0.5]);
  },
  async "text of every script keeps its characters, in event names too"() {
    const socket = await connected();
    const text = "grüße 你好 😀 \u0000 \u001e \u2028 \"quoted\" \\ \ufeff";
    assert.equal(await ask(socket, "echo", text), text);
    const odd = event(socket, "echo");
    socket.emit("echo", { [text]: [text] });
    assert.deepEqual(await odd, [{ [text]: [text] }]);
    assert.deepEqual(await ask(socket, "join", "räume/😀"), ["räume/😀", socket.id].sort());
  },
  async "send() and message belong together"() {
    const socket = await connected();
    const message = event(socket, "message");
    socket.send("hello", { n: 1 });
    assert.deepEqual(await message, ["hello", { n: 1 }]);
  },
  async "an event that middleware refuses is answered with the reason"() {
    const socket = await connected();
    const answer = await ask(socket, "forbidden", 1);
    assert.deepEqual(answer, { error: { code: "forbidden", message: "not for you" } });
    assert.equal(await ask(socket, "echo", "still here"), "still here");
  },
  async "an acknowledgement that comes late, twice, disturbs nobody"() {
    const socket = await connected();
    const answers = [];
    const key = `hold-${socket.id}`;
    await new Promise((resolve) => socket.timeout(20).emit("hold", key, (error) => { answers.push(error?.message); resolve(); }));
    assert.equal(await ask(socket, "release", key), "released");
    await settled(socket);
    assert.deepEqual(answers, ["operation has timed out"]);
  },
  async "an event is tried again until it is acknowledged, and the next one waits"() {
    const socket = await connected("/", { retries: 5, ackTimeout: 100 });
    const order = [];
    const sent = (name, ...args) => new Promise((resolve) => {
      socket.emit(name, ...args, (error, value) => { order.push([name, error, value]); resolve(); });
    });
    await Promise.all([sent("stubborn", `twice-${socket.id}`, 2), sent("echo", "next")]);
    assert.deepEqual(order, [["stubborn", null, 3], ["echo", null, "next"]]);
  },
  async "an event is given up after the retries"() {
    const socket = await connected("/", { retries: 1, ackTimeout: 30 });
    const error = await new Promise((resolve) => socket.emit("stubborn", `never-${socket.id}`, 9, resolve));
    assert.equal(error.message, "operation has timed out");
  },
  async "volatile events are left out when the client is not ready for them"() {
    if (settings.transports.at(-1) !== "polling") return;
    const socket = await connected();
    const names = [];
    socket.onAny((name) => names.push(name));
    await ask(socket, "volatile-between");
    assert.deepEqual(names.filter((name) => name !== "welcome"), ["first", "last"]);
  },
  async "the server's catch-all listeners hear what comes and goes"() {
    const socket = await connected("/", { auth: { listen: true } });
    await ask(socket, "echo", "a", 1);
    const echoed = event(socket, "echo");
    socket.emit("echo", "b");
    await echoed;
    const welcome = ["out", "welcome", socket.id];
    const rest = [["in", "echo", "a", 1], ["in", "echo", "b"], ["out", "echo", "b"], ["in", "heard"]];
    assert.deepEqual(await ask(socket, "heard"), [welcome, ...rest]);
  },
  async "the main namespace says who a socket is"() {
    const socket = await upgraded("/", { auth: { name: "ada" }, query: { colour: "grün & blau" } });
    await ask(socket, "join", "b", "a");
    const { cookie, ...who } = await ask(socket, "who");
    const rooms = ["a", "b", socket.id].sort();
    assert.deepEqual(who, { auth: { name: "ada" }, query: "grün & blau", rooms, transport: settings.transports.at(-1) });
  },
  async "what middleware sends arrives, before what the connection brings"() {
    const socket = client("/guarded", { auth: { token: "good" } });
    const hints = heard(socket, "hint");
    await event(socket, "connect");
    assert.deepEqual((await ask(socket, "who")).auth, { token: "good" });
    assert.deepEqual(hints, ["before", "after"]);
  },
  async "a refused client may try again with a better token"() {
    const socket = client("/guarded", { auth: { token: "bad" } });
    const [first] = await event(socket, "connect_error");
    assert.deepEqual([first.message, first.data, socket.active], ["not allowed", { code: 7 }, false]);
    socket.auth = {};
    socket.connect();
    const [second] = await event(socket, "connect_error");
    assert.deepEqual([second.message, second.data], ["who are you?", undefined]);
    socket.auth = { token: "good" };
    socket.connect();
    await event(socket, "connect");
    assert.deepEqual((await ask(socket, "who")).auth, { token: "good" });
  },
  async "a namespace has the query of its address and an auth of its own"() {
    const main = await connected("/", { auth: { name: "main" } });
    const guarded = main.io.socket("/guarded", { auth: { token: "good" } });
    await event(guarded, "connect");
    assert.deepEqual((await ask(main, "who")).auth, { name: "main" });
    assert.deepEqual((await ask(guarded, "who")).auth, { token: "good" });
    assert.notEqual(main.id, guarded.id);
    const other = await connected("/guarded?colour=red", { auth: { token: "good" } });
    assert.equal((await ask(other, "who")).query, "red");
  },
  async "dynamic namespaces are apart from one another, and their parent reaches all"() {
    const [one, two, other] = await Promise.all([connected("/room-1"), connected("/room-1"), connected("/room-2")]);
    const lists = [one, two, other].map((socket) => heard(socket, "heard"));
    await ask(one, "shout", "here");
    await ask(one, "shout-everywhere", "all");
    await Promise.all([two, other].map((socket) => ask(socket, "shout", "last")));
    assert.deepEqual(lists.map((list) => list.slice(0, 2)), [["here", "all"], ["here", "all"], ["all", "last"]]);
  },
  async "a function decides on namespaces by name and auth"() {
    const welcome = event(client("/private-ada", { auth: { owner: "ada" } }), "welcome");
    assert.deepEqual(await welcome, ["/private-ada"]);
    const [error] = await event(client("/private-bob", { auth: { owner: "eve" } }), "connect_error");
    assert.equal(error.message, "Invalid namespace");
  },
  async "a broadcast addresses rooms and excepts rooms"() {
    const [one, two, three, outside] = await Promise.all(range(4).map(() => connected()));
    const [red, blue] = [`red-${one.id}`, `blue-${one.id}`];
    await Promise.all([ask(one, "join", red), ask(two, "join", red, blue), ask(three, "join", blue)]);
    const lists = [one, two, three, outside].map((socket) => heard(socket, "said"));
    await ask(outside, "tell", [red], [], "red");
    await ask(outside, "tell", [red, blue], [], "both");
    await ask(outside, "tell", [red], [blue], "red only");
    await ask(one, "tell-others", [red, blue], [three.id], "not three");
    await settled(one, two, three, outside);
    assert.deepEqual(lists, [["red", "both", "red only"], ["red", "both", "not three"], ["both"], []]);
  },
  async "flags change how a broadcast travels, not that it does"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const room = `flags-${one.id}`;
    await Promise.all([ask(one, "join", room), ask(two, "join", room)]);
    const lists = [heard(one, "said"), heard(two, "said"), heard(one, "message"), heard(two, "message")];
    await ask(one, "tell-in-every-way", room);
    await settled(one, two);
    assert.deepEqual(lists, [["uncompressed", "local"], ["uncompressed", "local", "others"], ["sent"], ["sent"]]);
  },
  async "sockets are found by room, with their data"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const room = `find-${one.id}`;
    await Promise.all([ask(one, "join", room), ask(two, "join", room), ask(one, "remember", { name: "ada" })]);
    assert.deepEqual(await ask(two, "find", room), [[one.id, { name: "ada" }], [two.id, null]].sort());
    assert.deepEqual(await ask(two, "find", "nobody"), []);
  },
  async "the server moves sockets between rooms and dismisses them"() {
    const [one, two, speaker] = await Promise.all([connected(), connected(), connected()]);
    const [from, into] = [`from-${one.id}`, `into-${one.id}`];
    await Promise.all([ask(one, "join", from), ask(two, "join", from)]);
    await ask(speaker, "gather", from, into);
    await ask(speaker, "scatter", one.id, from);
    assert.deepEqual((await ask(one, "who")).rooms, [into, one.id].sort());
    assert.deepEqual((await ask(two, "who")).rooms, [from, into, two.id].sort());
    const gone = Promise.all([event(one, "disconnect"), event(two, "disconnect")]);
    await ask(speaker, "dismiss", one.id, false);
    await ask(speaker, "dismiss", from, true);
    assert.deepEqual((await gone).map(([reason]) => reason), ["io server disconnect", "io server disconnect"]);
  },
  async "a broadcast collects everybody's acknowledgement, binary too"() {
    const sockets = await Promise.all(range(5).map(() => connected()));
    const room = `ask-${sockets[0].id}`;
    await Promise.all(sockets.map((socket) => ask(socket, "join", room)));
    for (const [index, socket] of sockets.entries()) socket.on("question", (value, ack) => ack(index));
    assert.deepEqual(await ask(sockets[0], "ask-everybody-in", room), range(5));
    assert.deepEqual(await ask(sockets[0], "ask-everybody-in", "nobody"), []);
  },
  async "forty tabs hear the same in the same order"() {
    const tabs = await Promise.all(range(40).map(() => connected()));
    const room = `tabs-${tabs[0].id}`;
    await Promise.all(tabs.map((tab) => ask(tab, "join", room)));
    const lists = tabs.map((tab) => heard(tab, "said"));
    for (const number of range(25)) tabs[0].emit("tell", [room], [], number);
    await settled(tabs[0]);
    await settled(...tabs);
    for (const list of lists) assert.deepEqual(list, range(25));
  },
  async "namespaces of one connection share its transport and keep apart"() {
    const main = await connected();
    const [room, other] = [main.io.socket("/room-11"), main.io.socket("/room-12")];
    await Promise.all([event(room, "connect"), event(other, "connect")]);
    const lists = [heard(room, "heard"), heard(other, "heard")];
    await ask(room, "shout", "eleven");
    room.disconnect();
    await ask(other, "shout", "twelve");
    assert.deepEqual(lists, [["eleven"], ["twelve"]]);
    assert.equal(main.io.engine.readyState, "open");
    room.connect();
    await event(room, "connect");
    await ask(room, "shout", "again");
    assert.deepEqual(lists, [["eleven", "again"], ["twelve"]]);
  },
  async "nobody is left when everybody has gone"() {
    const last = await connected();
    for (const _ of range(10)) client().disconnect();
    const sockets = await Promise.all(range(10).map(() => connected()));
    for (const [index, socket] of sockets.entries()) index % 2 ? socket.disconnect() : socket.io.engine.close();
    while ((await ask(last, "count")) !== 1);
    assert.equal(shared.server.process.exitCode, null);
  },
};
