// The application of application.py on the reference server: what clients see there is what they must see here.
import { Server } from "socket.io";
import msgpackParser from "socket.io-msgpack-parser";

const mayCome = (request, decide) => decide(null, new URL(request.url, "http://host").searchParams.get("ticket") === "valid");
const variants = {
  plain: {},
  msgpack: { parser: msgpackParser },
  fast: { pingInterval: 300, pingTimeout: 1000 },
  recovering: { connectionStateRecovery: {} },
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  deflate: { perMessageDeflate: true },
  cookie: { cookie: { name: "io", path: "/", httpOnly: true, sameSite: "lax" }, path: "/live/" },
  refusing: { allowRequest: mayCome },
};
const held = new Map();
const attempts = new Map();
const sorted = (items) => [...items].sort();

function register(io, observed, variant) {
  io.on("connection", (socket) => {
    socket.use(([name, ...args], next) => {
      if (name !== "forbidden") return next();
      args.at(-1)({ error: { code: "forbidden", message: "not for you" } });
    });
    registerAnswers(socket);
    registerAsking(io, socket);
    registerGroups(io, socket);
    registerEndings(socket, observed, variant);
    socket.emit("welcome", socket.id);
  });
}

// A handler always gets an acknowledgement to call, as one that returns a value does.
function on(socket, name, handler) {
  socket.on(name, (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : () => {};
    return handler(...args, ack);
  });
}

function registerAnswers(socket) {
  if (socket.handshake.auth.listen) {
    socket.data.heard = [];
    socket.onAny((...args) => socket.data.heard.push(["in", ...args.filter((arg) => typeof arg !== "function")]));
    socket.onAnyOutgoing((...args) => socket.data.heard.push(["out", ...args]));
  }
  on(socket, "heard", (ack) => ack(socket.data.heard));
  socket.on("echo", (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : null;
    if (ack) ack(...args);
    else socket.emit("echo", ...args);
  });
  on(socket, "message", (...args) => { args.pop()(); socket.send(...args); });
  on(socket, "burst", (count, ack) => { for (let i = 0; i < count; i++) socket.emit("tick", i); ack(); });
  on(socket, "measure", (text, ack) => ack(text.length));
  on(socket, "big", (size, ack) => ack("x".repeat(size)));
  on(socket, "attachments", (count, ack) => {
    socket.emit("attachments", ...Array.from({ length: count }, (_, number) => ({ number, data: Buffer.from([number]) })));
    ack();
  });
  on(socket, "who", (ack) => ack({
    auth: socket.handshake.auth, query: socket.handshake.query.colour ?? null,
    header: socket.handshake.headers["x-colour"] ?? null,
    cookie: socket.handshake.headers.cookie ?? null, rooms: sorted(socket.rooms), transport: socket.conn.transport.name,
  }));
  socket.on("hold", (key, ack) => held.set(key, ack));
  on(socket, "release", (key, ack) => { held.get(key)("late"); held.get(key)("later still"); ack("released"); });
  socket.on("stubborn", (key, failures, ack) => {
    attempts.set(key, (attempts.get(key) ?? 0) + 1);
    if (attempts.get(key) > failures) ack(attempts.get(key));
  });
  on(socket, "volatile", (ack) => { socket.volatile.emit("maybe"); ack(); });
  on(socket, "volatile-between", (ack) => {
    socket.emit("first");
    socket.volatile.emit("maybe");
    socket.emit("last");
    ack();
  });
}

function registerAsking(io, socket) {
  on(socket, "ask", async (value, ack) => ack(await socket.timeout(5000).emitWithAck("question", value)));
  on(socket, "ask-briefly", async (ack) => {
    ack(await socket.timeout(100).emitWithAck("question", "silence").then(() => "answered", () => "unanswered"));
  });
  on(socket, "ask-and-tell", async (key, ack) => {
    const outcome = await socket.timeout(300).emitWithAck("question", key).catch(() => "unanswered");
    io.of("/watch").emit("told", key, outcome);
    ack();
  });
  on(socket, "ask-everybody-in", async (room, ack) => ack(sorted(await io.in(room).timeout(5000).emitWithAck("question", room))));
  on(socket, "ask-everybody-briefly", async (room, ack) => {
    try {
      ack("answered", await io.in(room).timeout(200).emitWithAck("question", room));
    } catch ({ responses }) {
      ack("unanswered", responses);
    }
  });
}

function registerGroups(io, socket) {
  on(socket, "join", (...args) => { const ack = args.pop(); socket.join(args); ack(sorted(socket.rooms)); });
  on(socket, "leave", (room, ack) => { socket.leave(room); ack(sorted(socket.rooms)); });
  on(socket, "tell", (rooms, except, text, ack) => { io.to(rooms).except(except).emit("said", text); ack(); });
  on(socket, "tell-others", (rooms, except, text, ack) => { socket.to(rooms).except(except).emit("said", text); ack(); });
  on(socket, "tell-in-every-way", (room, ack) => {
    io.in(room).compress(false).emit("said", "uncompressed");
    io.local.to(room).emit("said", "local");
    socket.broadcast.to(room).emit("said", "others");
    io.to(room).emit("message", "sent");
    ack();
  });
  on(socket, "remember", (value, ack) => { socket.data.value = value; ack(); });
  on(socket, "find", async (room, ack) => {
    const found = await io.in(room).fetchSockets();
    ack(found.map(({ id, data }) => [id, data.value ?? null]).sort());
  });
  on(socket, "gather", (room, into, ack) => { io.in(room).socketsJoin(into); ack(); });
  on(socket, "scatter", (room, outOf, ack) => { io.in(room).socketsLeave(outOf); ack(); });
  on(socket, "dismiss", (room, close, ack) => { io.in(room).except(socket.id).disconnectSockets(close); ack(); });
  on(socket, "count", async (ack) => ack((await io.fetchSockets()).length));
}

function registerEndings(socket, observed, variant) {
  socket.on("disconnecting", () => { socket.data.rooms = sorted(socket.rooms); });
  socket.on("disconnect", (reason) => {
    observed.of("/watch").emit("gone", socket.id, reason, socket.data.rooms, sorted(socket.rooms), variant);
  });
  socket.on("kick", (close) => { socket.emit("goodbye"); socket.disconnect(close); });
}

function refusal(message, data) {
  const error = new Error(message);
  error.data = data;
  return error;
}

function registerNamespaces(io) {
  io.of("/watch");
  io.of("/guarded").use((socket, next) => setImmediate(() => {
    const { token } = socket.handshake.auth;
    if (token === "bad") return next(refusal("not allowed", { code: 7 }));
    if (token !== "good") return next(refusal("who are you?"));
    socket.emit("hint", "before");
    next();
  })).on("connection", (socket) => {
    socket.emit("hint", "after");
    on(socket, "who", (ack) => ack({ auth: socket.handshake.auth, query: socket.handshake.query.colour ?? null }));
  });
  const rooms = io.of(/^\/room-\d+$/);
  rooms.on("connection", (socket) => {
    on(socket, "shout", (text, ack) => { socket.nsp.emit("heard", text); ack(); });
    on(socket, "shout-everywhere", (text, ack) => { rooms.emit("heard", text); ack(); });
  });
  io.of((name, auth, next) => next(null, name === `/private-${auth.owner}`)).on("connection", (socket) => {
    socket.emit("welcome", socket.nsp.name);
  });
}

const servers = [];
const bound = {};
for (const [variant, port] of Object.entries(JSON.parse(process.argv[2]))) {
  const io = new Server({ cors: { origin: "http://app.example" }, ...variants[variant] });
  register(io, servers[0] ?? io, variant);
  registerNamespaces(io);
  servers.push(io);
  io.listen(port);
  bound[variant] = io.httpServer.address().port;
}
console.log("ports", JSON.stringify(bound));

function end() {
  for (const io of servers) io.close();
  process.stdin.destroy();
  // It would wait half a minute for polls that nobody sends any more.
  setTimeout(() => process.exit(0), 300);
}
process.on("SIGTERM", end);
process.stdin.on("end", end).resume();
