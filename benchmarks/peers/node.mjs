// The reference server. usage: node node.mjs PORT
import { Server } from "socket.io";
import { application } from "./application.mjs";

const io = new Server({ serveClient: false });
application(io);
io.listen(Number(process.argv[2]));
