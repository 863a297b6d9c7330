// The reference implementation, for our client to be tried against.
// Its only argument is JSON: options of socket.io's Server, and "msgpack": true for the other parser.
// It prints its port, then serves until its standard input ends.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../interop/package.json", import.meta.url));
const { Server } = require("socket.io");

const { msgpack, port, uds, ...options } = JSON.parse(process.argv[2] ?? "{}");
if (msgpack) options.parser = require("socket.io-msgpack-parser");
const http = createServer((_, response) => response.writeHead(404).end());
const io = new Server(http, options);

const serve = (socket) => {
  socket.emit("welcome", socket.id);
  socket.on("echo", (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    return ack ? ack(...args) : socket.emit("echoed", ...args);
  });
  socket.on("silence", () => {});
  socket.on("heartbeats", (count, ack) => {
    let answered = 0;
    socket.conn.on("heartbeat", () => { if (++answered === count) ack(answered); });
  });
  socket.on("ask", (...args) => {
    socket.emit("question", ...args, (...answers) => socket.emit("answered", ...answers));
  });
  socket.on("burst", (count) => {
    for (let index = 0; index < count; index++) socket.emit("tick", index);
  });
  socket.on("say", (text) => socket.broadcast.emit("said", text));
  socket.on("handshake", (ack) => {
    const { headers, query, auth } = socket.handshake;
    ack({ headers, query, auth });
  });
  socket.on("transport", (ack) => ack(socket.conn.transport.name));
  socket.on("kick", () => socket.disconnect());
  socket.on("kick out", () => socket.disconnect(true));
  socket.on("hang up", () => socket.conn.close());
  socket.on("cut", () => socket.conn.transport.socket?._socket.destroy());
  socket.on("garbage", () => socket.conn.send("2[NaN]"));
  socket.on("number", () => socket.emit(7, "seven"));
  socket.on("disconnect", (reason) => io.emit("left", reason));
};

// What each connection has sent, told to everybody when it is closed.
io.engine.on("connection", (connection) => {
  const heard = [];
  connection.on("data", (data) => heard.push(data));
  connection.on("close", () => io.emit("heard", heard));
});

io.on("connection", serve);
io.of("/chat").on("connection", serve);
io.of("/private")
  .use((socket, next) => {
    if (socket.handshake.auth.token === "secret") {
      socket.emit("early", "before the answer");
      return next();
    }
    const refusal = new Error("wrong token");
    refusal.data = { token: socket.handshake.auth.token ?? null };
    next(refusal);
  })
  .on("connection", serve);
io.of("/slow")
  .use((socket, next) => io.once("open the door", next))
  .on("connection", serve);
io.on("connection", (socket) => socket.on("open the door", () => io.listeners("open the door").forEach((go) => go())));

http.listen(uds ? { path: uds } : { port: port ?? 0, host: "127.0.0.1" }, () => console.log(http.address().port ?? 0));
process.stdin.resume().on("end", () => process.exit());
