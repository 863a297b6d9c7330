// Connections that are cut, and clients that go on where they were.
import assert from "node:assert/strict";
import { ask, connected, event, eventWhere, heard, upgraded } from "./harness.mjs";

export const variants = ["plain", "recovering"];
export const together = 3;
const variant = "recovering";

// Cuts the connection below the socket, and waits until both sides have noticed.
async function cut(socket) {
  const watch = await connected("/watch", { variant: "plain", transports: ["websocket"] });
  const { id } = socket;
  const seen = eventWhere(watch, "gone", (gone) => gone === id);
  const left = event(socket, "disconnect");
  socket.io.engine.close();
  await Promise.all([seen, left]);
}

async function back(socket) {
  const again = event(socket, "connect");
  socket.connect();
  await again;
}

export const scenarios = {
  async "a client that was cut off gets what it has missed, in order and once"() {
    const [socket, other] = [await upgraded("/", { variant }), await connected("/", { variant })];
    const room = `of ${socket.id}`;
    await ask(socket, "join", room);
    const { id } = socket;
    const said = heard(socket, "said");
    await ask(other, "tell", [room], [], "before");
    await ask(socket, "who");
    await cut(socket);
    for (const text of ["1", "2", "3"]) await ask(other, "tell", [room], [], text);
    await ask(other, "tell", ["another"], [], "not for us");
    await ask(other, "tell", [room], [id], "nor this");
    await back(socket);
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, id);
    await ask(other, "tell", [room], [], "after");
    await ask(socket, "who");
    assert.deepEqual(said.map(([text]) => text), ["before", "1", "2", "3", "after"]);
    assert.deepEqual((await ask(socket, "who")).rooms, [id, room].sort());
  },
  async "a client recovers again and again, binary included"() {
    const socket = await upgraded("/", { variant });
    const echoed = heard(socket, "echo");
    for (let number = 0; number < 3; number++) {
      socket.emit("echo", Buffer.from([number]), number);
      await ask(socket, "who");
      await cut(socket);
      await back(socket);
      assert.equal(socket.recovered, true);
    }
    assert.deepEqual(echoed.map(([bytes, number]) => [[...bytes], number]), [[[0], 0], [[1], 1], [[2], 2]]);
  },
  async "a client that was disconnected begins afresh"() {
    const socket = await upgraded("/", { variant });
    const { id } = socket;
    const left = event(socket, "disconnect");
    socket.emit("kick", false);
    await left;
    await back(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
  },
};
