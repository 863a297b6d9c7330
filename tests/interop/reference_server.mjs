// The application of app.py on the reference server: what scenarios.mjs must also see there.
import { Server } from "socket.io";
import msgpackParser from "socket.io-msgpack-parser";

const options = JSON.parse(process.argv[2] ?? "{}");
const io = new Server({
  pingInterval: (options.ping_interval ?? 25) * 1000,
  pingTimeout: (options.ping_timeout ?? 20) * 1000,
  cors: { origin: "http://app.example" },
  ...(options.msgpack ? { parser: msgpackParser } : {}),
});

io.on("connection", (socket) => {
  socket.emit("welcome", socket.id);
  socket.on("echo", (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : null;
    if (ack) ack(...args);
    else socket.emit("echo", ...args);
  });
  socket.on("join", (room, ack) => { socket.join(room); ack("joined"); });
  socket.on("leave", (room, ack) => { socket.leave(room); ack("left"); });
  socket.on("to-room", (room, text, ack) => { socket.to(room).emit("said", text); ack("sent"); });
  socket.on("to-others", (text, ack) => { socket.broadcast.emit("said", text); ack("sent"); });
  socket.on("to-rooms", (rooms, except, text, ack) => { io.to(rooms).except(except).emit("said", text); ack("sent"); });
  socket.on("ask-me", async (value, ack) => ack(await socket.timeout(5000).emitWithAck("question", value)));
  socket.on("ask-me-briefly", async (ack) => {
    try { await socket.timeout(100).emitWithAck("question", "silence"); ack("answered"); } catch { ack("timeout"); }
  });
  socket.on("ask-room", async (room, ack) => ack((await io.to(room).timeout(5000).emitWithAck("question", room)).sort()));
  socket.on("ask-room-briefly", async (room, ack) => {
    try { ack(await io.to(room).timeout(200).emitWithAck("question", "some")); } catch (error) { ack("timeout", error.responses); }
  });
  socket.on("never", (ack) => {});
  socket.on("nothing", (ack) => ack());
  socket.on("big", (size, ack) => ack("x".repeat(size)));
  socket.on("bytes", (size, ack) => ack({ nested: [Buffer.alloc(size, 7)] }));
  socket.on("volatile", (ack) => { socket.volatile.emit("maybe", 1); ack("sent"); });
  socket.on("who", (ack) => ack({
    query: socket.handshake.query.colour, header: socket.handshake.headers["x-colour"], auth: socket.handshake.auth,
    transport: socket.conn.transport.name,
  }));
  socket.on("leave-me", () => socket.disconnect());
  socket.on("close-me", () => socket.disconnect(true));
  socket.on("many", (count, ack) => { for (let i = 0; i < count; i++) socket.emit("number", i); ack("sent"); });
});

io.of("/guarded").use((socket, next) => {
  if (socket.handshake.auth.token === "good") return next();
  const error = new Error("not allowed");
  error.data = { code: 7 };
  next(error);
}).on("connection", (socket) => socket.on("echo", (value, ack) => ack(value)));

io.of("/slow").use((socket, next) => setImmediate(next)).on("connection", (socket) => socket.emit("welcome", "slow"));

io.of(/^\/dyn-\d+$/).on("connection", (socket) => {
  socket.emit("welcome", socket.nsp.name);
  socket.on("shout", (text) => socket.nsp.emit("said", text));
});

io.listen(options.port ?? 0);
console.log(`port ${io.httpServer.address().port}`);
