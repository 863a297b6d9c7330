// Who is together with whom: namespaces, rooms and broadcasts, by every transport, with every parser.
import assert from "node:assert/strict";
import { ask, client, connected, event, heard, settings, settled, shared, upgraded } from "./harness.mjs";

export const variants = [settings.parser === "msgpack" ? "msgpack" : "plain"];
const range = (count) => Array.from({ length: count }, (_, index) => index);

export const scenarios = {
  async "the main namespace says who a socket is"() {
    const extraHeaders = { "x-colour": "rot" };
    const socket = await upgraded("/", { auth: { name: "ada" }, query: { colour: "grün & blau" }, extraHeaders });
    await ask(socket, "join", "b", "a");
    const { cookie, ...who } = await ask(socket, "who");
    const rooms = ["a", "b", socket.id].sort();
    const transport = settings.transports.at(-1);
    assert.deepEqual(who, { auth: { name: "ada" }, query: "grün & blau", header: "rot", rooms, transport });
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
  async "an unknown namespace is refused and the connection stays"() {
    const main = await connected();
    const other = main.io.socket("/nowhere");
    const [error] = await event(other, "connect_error");
    assert.deepEqual([error.message, error.data, other.connected], ["Invalid namespace", undefined, false]);
    assert.equal(await ask(main, "echo", "still here"), "still here");
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
  async "a socket's id is a room, and the others are everybody but oneself"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const lists = [heard(one, "said"), heard(two, "said")];
    await ask(one, "tell", [two.id], [], "psst");
    await ask(one, "tell-others", [], [], "all");
    await settled(one, two);
    assert.deepEqual(lists, [[], ["psst", "all"]]);
  },
  async "who has left a room hears nothing of it any more"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const room = `left-${one.id}`;
    await ask(two, "join", room);
    const list = heard(two, "said");
    await ask(one, "tell-others", [room], [], "before");
    assert.deepEqual(await ask(two, "leave", room), [two.id]);
    await ask(one, "tell-others", [room], [], "after");
    await settled(two);
    assert.deepEqual(list, ["before"]);
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
  async "a broadcast that is not acknowledged by everybody tells who did"() {
    const [one, two] = await Promise.all([connected(), connected()]);
    const room = `brief-${one.id}`;
    await Promise.all([ask(one, "join", room), ask(two, "join", room)]);
    one.on("question", (value, ack) => ack("mine"));
    const answer = await new Promise((resolve) => one.emit("ask-everybody-briefly", room, (...values) => resolve(values)));
    assert.deepEqual(answer, ["unanswered", ["mine"]]);
  },
  async "twenty tabs hear the same in the same order"() {
    const tabs = await Promise.all(range(20).map(() => connected()));
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
