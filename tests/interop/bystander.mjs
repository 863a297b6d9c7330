// A client in a process of its own, which the test may stop or kill.
// usage: node bystander.mjs URL '["polling", "websocket"]'
import { writeSync } from "node:fs";
import { io } from "socket.io-client";

const transports = JSON.parse(process.argv[3]);
const tell = (...line) => writeSync(1, `${JSON.stringify(line)}\n`);
const socket = io(process.argv[2], { transports, reconnectionDelay: 20, reconnectionDelayMax: 100 });

socket.on("connect", () => {
  const { engine } = socket.io;
  if (engine.transport.name === transports.at(-1)) tell("connect", socket.id);
  else engine.once("upgrade", () => tell("connect", socket.id));
});
socket.on("disconnect", (reason) => tell("disconnect", reason));
