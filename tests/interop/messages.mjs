// What events and acknowledgements carry: by every transport, with every parser.
import assert from "node:assert/strict";
import { ask, client, connected, event, heard, settings, settled, upgraded } from "./harness.mjs";

export const variants = [settings.parser === "msgpack" ? "msgpack" : "plain"];
const bytes = (data) => [...(data instanceof ArrayBuffer ? new Uint8Array(data) : data)];
const range = (count) => Array.from({ length: count }, (_, index) => index);

export const scenarios = {
  async "a client is told its id, and values come back as they were sent"() {
    const socket = client();
    assert.deepEqual(await event(socket, "welcome"), [socket.id]);
    assert.match(socket.id, /^[\w-]{20}$/);
    const value = { list: [1, -2.5, true, false, null, [], {}], deep: { a: { b: [{ c: "" }] } }, "": 0 };
    assert.deepEqual(await ask(socket, "echo", value), value);
  },
  async "events and acknowledgements have one value, several, or none"() {
    const socket = await connected();
    for (const values of [[1], [1, "two", [3]], []]) {
      const answer = event(socket, "echo");
      socket.emit("echo", ...values);
      assert.deepEqual(await answer, values);
      assert.deepEqual(await new Promise((resolve) => socket.emit("echo", ...values, (...back) => resolve(back))), values);
    }
  },
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
  async "a message may be large, and an answer larger than that"() {
    const socket = await connected();
    assert.equal((await ask(socket, "echo", "y".repeat(700_000))).length, 700_000);
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
    const answer = event(socket, "echo");
    socket.emit("echo", Buffer.from("ab"), "between", Buffer.from("cd"));
    const [one, between, two] = await answer;
    assert.deepEqual([Buffer.from(one).toString(), between, Buffer.from(two).toString()], ["ab", "between", "cd"]);
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
  async "the server does not wait for ever"() {
    const socket = await connected();
    assert.equal(await ask(socket, "ask-briefly"), "unanswered");
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
    const socket = await connected("/", { retries: 9, ackTimeout: 100 });
    const order = [];
    const sent = (name, ...args) => new Promise((resolve) => {
      socket.emit(name, ...args, (error, value) => { order.push([name, error, value]); resolve(); });
    });
    await Promise.all([sent("stubborn", `twice-${socket.id}`, 2), sent("echo", "next")]);
    assert.deepEqual(order.map(([name, error]) => [name, error]), [["stubborn", null], ["echo", null]]);
    assert.ok(order[0][2] >= 3);
    assert.equal(order[1][2], "next");
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
  async "volatile events arrive at a client that is ready for them"() {
    if (settings.transports.at(-1) === "polling") return;
    const socket = await upgraded();
    const maybe = event(socket, "maybe");
    await ask(socket, "volatile");
    assert.deepEqual(await maybe, []);
  },
  async "the client's catch-all listeners hear what comes and goes"() {
    const socket = await connected();
    const list = [];
    socket.onAny((...args) => list.push(["in", ...args]));
    socket.onAnyOutgoing((...args) => list.push(["out", ...args]));
    const echoed = event(socket, "echo");
    socket.emit("echo", 1);
    await echoed;
    assert.deepEqual(list.filter((line) => line[1] === "echo"), [["out", "echo", 1], ["in", "echo", 1]]);
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
};
