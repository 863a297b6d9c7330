// Keeps one official client connected and tells of its life in JSON lines.
// usage: node watch.mjs URL '{"transports": ["websocket"]}'
import { writeSync } from "node:fs";
import { io } from "socket.io-client";

const tell = (what, data) => writeSync(1, `${JSON.stringify([what, data])}\n`);
const settings = JSON.parse(process.argv[3]);
const socket = io(process.argv[2], { transports: settings.transports, reconnectionDelay: 50, reconnectionDelayMax: 100, randomizationFactor: 0 });
socket.on("connect", async () => {
  const answer = await socket.timeout(5000).emitWithAck("echo", "hello");
  tell("connected", answer);
});
socket.on("disconnect", (reason) => tell("disconnected", reason));
