// What every server under test does.
export function application(io) {
  io.on("connection", (socket) => {
    socket.on("m", (value, ack) => ack(value));
    socket.on("b", (value) => io.emit("b", value));
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack();
    });
    socket.on("r", (room, value) => io.to(room).emit("r", value));
  });
}
