// What a process that is no server sends. usage: node emit.mjs REDIS_URL
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

const client = createClient({ url: process.argv[2] });
await client.connect();
const emitter = new Emitter(client);
const wait = () => client.ping();

emitter.emit("news", "everybody", Buffer.from([1, 2, 3]));
emitter.to("hall").emit("news", "hall");
emitter.to("hall").except("bar").emit("news", "not in the bar");
emitter.in("hall").socketsJoin("annex");
await wait();
emitter.to("annex").emit("news", "annex");
emitter.in("annex").socketsLeave("annex");
emitter.serverSideEmit("told", "from the emitter");
await wait();
emitter.in("bar").disconnectSockets(true);
await wait();
await client.quit();
