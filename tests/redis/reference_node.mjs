// The reference server in a cluster, doing what its clients tell it. usage: node reference_node.mjs classic|sharded|cluster REDIS_URL…
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient, createCluster } from "redis";
import { Server } from "socket.io";

const [kind, ...urls] = process.argv.slice(2);
const connect = () => (kind === "cluster" ? createCluster({ rootNodes: urls.map((url) => ({ url })) }) : createClient({ url: urls[0] }));
const publisher = connect();
const subscriber = connect();
await Promise.all([publisher.connect(), subscriber.connect()]);

const create = kind === "classic" ? createAdapter : createShardedAdapter;
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
