/** Runs a node for the tests: the echo and rooms application, on a port of its own. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    serverUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const program = process.env.RTSERVER ?? "../.venv/bin/rtserver";
  const settings = ["--set", "cors=*", "--set", "connection_state_recovery=true"];
  const node = spawn(program, ["serve", "--port", "0", ...settings], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<void>((resolve) => node.once("exit", () => resolve()));
  for await (const line of createInterface({ input: node.stdout })) {
    const found = /listening on (http:\S+)/.exec(line)?.[1];
    if (found !== undefined) {
      project.provide("serverUrl", found);
      break;
    }
  }
  return async () => {
    node.kill("SIGTERM");
    await exited;
  };
}
