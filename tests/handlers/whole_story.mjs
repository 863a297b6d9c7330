// A user's story, told by the official client: node whole_story.mjs URL TRANSPORT CHAPTER [what the first chapter gave]
// Prints what the next chapter needs, as JSON. The first thing that is not as it should be ends it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const { io } = createRequire(new URL("../interop/package.json", import.meta.url))("socket.io-client");
const [url, transport, chapter, given] = process.argv.slice(2);
const PATIENCE = 8_000;
const sockets = [];

async function post(path, body) {
  const answer = await fetch(`${url}/api/accounts/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
}

function connect(token) {
  const socket = io(`${url}/chat`, { auth: { token }, transports: [transport], forceNew: true, reconnection: false });
  sockets.push(socket);
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("connect_error", reject);
  });
}

function ask(socket, event, ...payload) {
  return socket.timeout(PATIENCE).emitWithAck(event, ...payload);
}

function heard(socket, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event}`)), PATIENCE);
    socket.once(event, (payload) => {
      clearTimeout(timer);
      resolve(payload);
    });
  });
}

async function enter(name) {
  const { status, body } = await post("register", { name, password: `the password of ${name}` });
  assert.equal(status, 200, JSON.stringify(body));
  const socket = await connect(body.token);
  const state = await ask(socket, "chat:open");
  assert.deepEqual(state, { user: { id: body.user.id, name }, rooms: [], invitations: [] });
  return socket;
}

const chapters = {
  async first() {
    const wrong = await post("sign-in", { name: "ann", password: "a guess" });
    assert.deepEqual([wrong.status, wrong.body.error.code], [401, "invalid_credentials"]);
    for (const token of ["nonsense", undefined]) {
      await assert.rejects(connect(token), { message: "authentication failed" });
    }
    const [ann, bob, eve] = [await enter("ann"), await enter("bob"), await enter("eve")];

    const hall = (await ask(ann, "chat:create", { name: "hall" })).room.id;
    const den = (await ask(ann, "chat:create", { name: "den", private: true })).room.id;
    for (const socket of [bob, eve]) assert.equal((await ask(socket, "chat:join", { room: hall })).role, "member");
    assert.equal((await ask(bob, "chat:join", { room: den })).error.code, "room_refused");
    assert.equal((await ask(bob, "chat:history", { room: den })).error.code, "room_refused");

    const everybody = Promise.all([bob, eve].map((socket) => heard(socket, "chat:posted")));
    const nobody = [];
    ann.on("chat:posted", (message) => nobody.push(message));
    const draft = { room: hall, id: "the-first", text: "hello" };
    const stored = await ask(ann, "chat:post", draft);
    assert.deepEqual([stored.seq, stored.text, stored.author.name], [1, "hello", "ann"]);
    assert.deepEqual(await everybody, [stored, stored]);
    assert.deepEqual(await ask(ann, "chat:post", draft), stored);
    assert.deepEqual(nobody, []);

    const malformed = await ask(ann, "chat:post", { room: hall, id: "x", text: 7 });
    assert.equal(malformed.error.code, "invalid_payload");
    assert.match(malformed.error.message, /\$\.text/);

    const answers = [];
    for (let number = 0; number < 30; number += 1) answers.push(await ask(eve, "chat:post", { room: hall, id: `e${number}`, text: "again" }));
    const limited = answers.filter((answer) => answer.error !== undefined);
    assert.ok(limited.length > 0, "nothing was limited");
    assert.equal(limited[0].error.code, "rate_limited");
    assert.ok(limited[0].error.retry_after > 0);
    // Others are not held up by it.
    const last = await ask(bob, "chat:post", { room: hall, id: "the-last", text: "enough" });
    return { hall, first: stored, last };
  },

  async second() {
    const { hall, first, last } = JSON.parse(given);
    const { status, body } = await post("sign-in", { name: "ANN", password: "the password of ann" });
    assert.equal(status, 200, JSON.stringify(body));
    const ann = await connect(body.token);
    const state = await ask(ann, "chat:open");
    assert.deepEqual(state.rooms.map((one) => one.room.name).sort(), ["den", "hall"]);
    const own = state.rooms.find((one) => one.room.id === hall);
    assert.deepEqual([own.role, own.room.last_seq, own.unread], ["owner", last.seq, last.seq - 1]);
    const messages = [];
    let before = null;
    for (;;) {
      const page = await ask(ann, "chat:history", { room: hall, before, size: 7 });
      messages.push(...page.messages);
      if (!page.more) break;
      before = page.messages.at(-1).seq;
    }
    assert.deepEqual(messages.map((one) => one.seq), Array.from({ length: last.seq }, (_, index) => last.seq - index));
    assert.deepEqual([messages[0], messages.at(-1)], [last, first]);
    return {};
  },
};

try {
  process.stdout.write(JSON.stringify(await chapters[chapter]()));
} finally {
  for (const socket of sockets) socket.disconnect();
}
