// The reference server in a cluster, doing what its clients tell it. usage: node reference_node.mjs REDIS_URL classic|sharded
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: process.argv[2] });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const create = process.argv[3] === "sharded" ? createShardedAdapter : createAdapter;
const io = new Server({ adapter: create(publisher, subscriber) });
const heard = [];
io.on("told", (...args) => heard.push(args));
io.on("question", (value, answer) => answer(`node ${value}`));

const among = ({ to = [], except = [] }) => to.reduce((found, room) => found.to(room), io).except(except);
const operations = {
  emit: (target, ...args) => among(target).emit(...args),
  call: (target, ...args) => among(target).timeout(3000).emitWithAck(...args),
  fetch: async (target) => (await among(target).fetchSockets()).map(({ id, rooms, data }) => ({ id, rooms: [...rooms], data })),
  join: (target, ...rooms) => among(target).socketsJoin(rooms),
  leave: (target, ...rooms) => among(target).socketsLeave(rooms),
  disconnect: (target) => among(target).disconnectSockets(true),
  tell: (_target, ...args) => io.serverSideEmit("told", ...args),
  ask: (_target, value) => io.serverSideEmitWithAck("question", value),
  // The sharded adapter has no such question.
  rooms: async () => [...((await io.of("/").adapter.allRooms?.()) ?? (await io.fetchSockets()).flatMap(({ rooms }) => [...rooms]))],
  heard: () => heard.splice(0),
};

io.on("connection", (socket) => {
  socket.data = { name: socket.handshake.auth.name };
  socket.on("do", async (name, target, args, answer) => {
    const result = await operations[name](target, ...args);
    answer?.(result ?? null);
  });
});
io.listen(0);
console.log(io.httpServer.address().port);
