// Runs the scenarios of one file, one after another, and prints a JSON line for each.
// usage: node run.mjs conversation|doors|endings SETTINGS   (settings: see harness.mjs)
import { writeSync } from "node:fs";
import { endServers, hangUp, Server, settings, shared } from "./harness.mjs";

const LIMIT = 10_000;
const { scenarios, variants } = await import(`./${process.argv[2]}.mjs`);
const tell = (name, error) => writeSync(1, `${JSON.stringify({ name, error })}\n`);

async function attempt(name, scenario) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("took too long")), LIMIT); });
  const crash = shared.server.ended.then(() => { throw new Error(`the server has ended: ${shared.server.log}`); });
  try {
    await Promise.race([scenario(), late, crash]);
    tell(name, null);
  } catch (error) {
    tell(name, String(error.stack ?? error).slice(0, 3000));
  } finally {
    clearTimeout(timer);
    hangUp();
  }
}

const startOwn = () => Server.start(Object.fromEntries(variants.map((variant) => [variant, 0])));
shared.server = settings.url ? Server.running(settings.url) : await startOwn();
for (const [name, scenario] of Object.entries(scenarios)) {
  if (!settings.only || settings.only === name) await attempt(name, scenario);
}
if (!settings.url) {
  // What clients do is never a traceback, and a server that is told to end does so.
  const code = await shared.server.end("SIGTERM");
  const clean = code === 0 && !/Traceback/.test(shared.server.log);
  tell("the server ends when it is told to, and has logged no traceback", clean ? null : `${code}: ${shared.server.log.slice(-3000)}`);
}
await endServers("SIGKILL");
process.exit(0);
