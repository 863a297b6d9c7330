// The reference server as one of several nodes. usage: REDIS_URL=URL node node_redis.mjs PORT
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { application } from "./application.mjs";

const publisher = createClient({ url: process.env.REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const io = new Server({ serveClient: false, adapter: createAdapter(publisher, subscriber) });
application(io);
io.listen(Number(process.argv[2]));
