// Many real clients in one process, which count what they get and how long they are away.
//
// usage: node clients.mjs URL, with one command as JSON in each line of the standard input, and one answer for each:
//   {"do": "open", "kinds": ["websocket", …], "first": 0, "quick": false}   one client for each; quick: back at once
//   {"do": "talk", "speakers": [0, 7], "ask": 500, "say": 250, "padding": 0}   count anew; everybody asks, and some speak, so
//                   often in ms, with so many bytes more
//   {"do": "hush"}    nobody says anything new; answered once every question is answered or given up
//   {"do": "bounce"}  every client loses its transport at once
//   {"do": "look"}    how many are connected, and away since when
//   {"do": "report"}  what each client has counted
import http from "node:http";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const url = process.argv[2];
const PATIENCE = 10_000; // ms for an answer
const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };
const PARALLEL = 100; // clients being opened at any moment
const clients = [];
const sayings = new Map(); // when each broadcast was begun, and on which node

// Connections are kept, as browsers keep them. The client's XMLHttpRequest for Node would send a request anew whose kept
// connection was reset, but never ends the new one and waits for ever; told of no reuse, it reports the error.
class KeepingAgent extends http.Agent {
  constructor() {
    super({ keepAlive: true });
  }

  reuseSocket(socket, request) {
    super.reuseSocket(socket, request);
    request.prependListener("error", () => (request.reusedSocket = false));
  }
}

class Client {
  constructor(id, kind, quick) {
    this.id = id;
    this.kind = kind;
    this.slot = null;
    this.awaySince = performance.now();
    this.opened = false;
    this.clear();
    const agent = new KeepingAgent();
    const haste = quick ? { reconnectionDelay: 1, randomizationFactor: 0 } : {};
    const own = kind === "websocket" ? {} : { agent };
    this.socket = io(url, { forceNew: true, autoConnect: false, transports: TRANSPORTS[kind], ...own, ...haste });
    this.socket.on("connect", () => this.back());
    this.socket.on("disconnect", (reason) => this.gone(reason));
    this.socket.on("said", (speaker, number) => this.hear(speaker, number, performance.now()));
    this.socket.on("connect_error", () => this.refused++);
  }

  clear() {
    Object.assign(this, { slots: [], reasons: [], away: [], refused: 0, waits: [], said: 0, taken: [], recovered: 0 });
    Object.assign(this, { asked: 0, answered: 0, wrong: 0, pending: 0, heard: {}, lost: [], lateWithin: 0, lateAcross: 0 });
    if (this.slot !== null) this.slots.push(this.slot);
  }

  back() {
    if (this.opened) this.away.push((performance.now() - this.awaySince) / 1e3);
    this.awaySince = null;
    if (this.socket.recovered) this.recovered++;
    // It is in the room from then on, and hears all that is said.
    this.socket.emit("join", (slot) => {
      this.slot = slot;
      this.slots.push(slot);
      this.opened = true;
      this.onOpen?.();
    });
  }

  gone(reason) {
    this.awaySince = performance.now();
    this.lost.push(this.awaySince / 1e3);
    this.reasons.push(reason);
  }

  // Numbers of a speaker come without gaps and in order; what does not is counted.
  hear(speaker, number, now) {
    const heard = (this.heard[speaker] ??= { numbers: new Set(), last: -1, doubled: 0, disordered: 0 });
    if (heard.numbers.has(number)) heard.doubled++;
    else if (number < heard.last) heard.disordered++;
    heard.numbers.add(number);
    heard.last = Math.max(heard.last, number);
    const saying = sayings.get(`${speaker} ${number}`);
    if (!saying) return;
    const late = (now - saying.at) / 1e3;
    if (saying.slot === this.slot) this.lateWithin = Math.max(this.lateWithin, late);
    else this.lateAcross = Math.max(this.lateAcross, late);
  }

  ask() {
    if (!this.socket.connected) return;
    const began = performance.now();
    const number = this.asked++;
    this.pending++;
    this.socket.timeout(PATIENCE).emit("ask", number, (error, answer) => {
      this.pending--;
      if (error) return;
      if (answer === number) this.answered++;
      else this.wrong++;
      this.waits.push((performance.now() - began) / 1e3);
    });
  }

  say(padding) {
    if (!this.socket.connected) return;
    this.pending++;
    const number = this.said++;
    sayings.set(`${this.id} ${number}`, { at: performance.now(), slot: this.slot });
    this.socket.timeout(PATIENCE).emit("say", this.id, number, padding, (error) => {
      this.pending--;
      if (!error) this.taken.push(number);
    });
  }

  report() {
    const heard = {};
    let doubled = 0;
    let disordered = 0;
    for (const [speaker, one] of Object.entries(this.heard)) {
      heard[speaker] = [...one.numbers];
      doubled += one.doubled;
      disordered += one.disordered;
    }
    const { id, kind, slots, reasons, lost, away, refused, waits, said, taken, asked, answered, wrong } = this;
    const counted = { id, kind, slots, reasons, lost, away, refused, waits, said, taken, asked, answered, wrong };
    const back = { recovered: this.recovered };
    const late = { late_within: this.lateWithin, late_across: this.lateAcross };
    return { ...counted, ...back, ...late, heard, doubled, disordered, connected: this.socket.connected };
  }
}

let timers = [];

function open(kinds, first, quick) {
  const made = kinds.map((kind, index) => new Client(first + index, kind, quick));
  clients.push(...made);
  let next = 0;
  let left = made.length;
  return new Promise((resolve) => {
    const begin = () => {
      const client = made[next++];
      if (!client) return;
      client.onOpen = () => {
        client.onOpen = null;
        left--;
        if (left) begin();
        else resolve({});
      };
      client.socket.connect();
    };
    for (let index = 0; index < PARALLEL; index++) begin();
  });
}

function talk({ speakers, ask, say, padding }) {
  sayings.clear();
  const filling = "x".repeat(padding);
  for (const client of clients) client.clear();
  const every = (milliseconds, act) => {
    // Not all in the same moment.
    timers.push(setTimeout(() => timers.push(setInterval(act, milliseconds)), Math.random() * milliseconds));
  };
  for (const client of clients) {
    if (ask) every(ask, () => client.ask());
    if (speakers.includes(client.id)) every(say, () => client.say(filling));
  }
}

async function hush() {
  // A timer may stand for an interval that it has not begun yet; both kinds are cleared by either.
  for (const timer of timers) clearInterval(timer);
  timers = [];
  while (clients.some((client) => client.pending)) await new Promise((resolve) => setTimeout(resolve, 20));
}

function look() {
  const away = clients.filter((client) => !client.socket.connected).length;
  return { connected: clients.length - away, away };
}

const commands = {
  open: ({ kinds, first, quick }) => open(kinds, first, quick),
  talk,
  hush,
  bounce: () => clients.forEach((client) => client.socket.io.engine?.close()),
  look,
  report: () => clients.map((client) => client.report()),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const answer = await commands[command.do](command);
  process.stdout.write(`${JSON.stringify(answer ?? {})}\n`);
}
process.exit(0);
