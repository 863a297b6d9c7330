// Runs the scenarios of some files and prints a JSON line for each.
// usage: node run.mjs messages,namespaces SETTINGS   (settings: see harness.mjs)
import { writeSync } from "node:fs";
import { endServers, Server, settings, shared, withClients } from "./harness.mjs";

const LIMIT = 60_000;
const ENDING = "the server ends when it is told to, and has logged no traceback";
const modules = await Promise.all(process.argv[2].split(",").map((name) => import(`./${name}.mjs`)));
const variants = new Set(modules.flatMap((module) => module.variants));
const tell = (name, error) => writeSync(1, `${JSON.stringify({ name, error })}\n`);

async function attempt(name, scenario) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("took too long")), LIMIT); });
  const crash = shared.server.ended.then(() => { throw new Error(`the server has ended: ${shared.server.log}`); });
  try {
    await withClients(() => Promise.race([scenario(), late, crash]));
    tell(name, null);
  } catch (error) {
    tell(name, String(error.stack ?? error).slice(0, 3000));
  } finally {
    clearTimeout(timer);
  }
}

// Takes one scenario after another, until there are none left.
async function work(waiting) {
  for (const [name, scenario] of waiting) await attempt(name, scenario);
}

shared.server = await Server.start(Object.fromEntries([...variants].map((variant) => [variant, 0])));
for (const { scenarios, together = 1 } of modules) {
  const waiting = Object.entries(scenarios).values();
  await Promise.all(Array.from({ length: together }, () => work(waiting)));
}
// What clients do is never a traceback, and a server that is told to end does so.
const code = await shared.server.end("SIGTERM");
const clean = code === 0 && !/Traceback/.test(shared.server.log);
tell(ENDING, clean ? null : `${code}: ${shared.server.log.slice(-3000)}`);
await endServers("SIGKILL");
process.exit(0);
