// Socket.IO on Bun's own engine. usage: bun bun.mjs PORT
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { application } from "./application.mjs";

const io = new Server();
const engine = new Engine({ path: "/socket.io/" });
io.bind(engine);
application(io);

export default { port: Number(process.argv[2]), hostname: "127.0.0.1", ...engine.handler() };
