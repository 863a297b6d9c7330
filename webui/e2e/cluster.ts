/** Runs a whole cluster for the tests: Redis, two nodes with the chat, the proxy. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    clusterUrl: string;
    adminPassword: string;
  }
}

const PASSWORD = "an administrator's password";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), "rtserver-e2e-"));
  const root = resolve(import.meta.dirname, "../..");
  const cluster = spawn(
    process.env.RTSERVER ?? join(root, ".venv/bin/rtserver"),
    ["cluster", "rtserver.handlers.app:io", "--port", "0", "--procfile", join(root, "Procfile")],
    {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, RTSERVER_CHAT_FOLDER: folder, RTSERVER_CHAT_ADMIN_PASSWORD: PASSWORD, RTSERVER_LOG_LEVEL: "warning" },
    },
  );
  const exited = new Promise<number | null>((done) => cluster.once("exit", done));
  const said: string[] = [];
  const url = new Promise<string>((found, failed) => {
    createInterface({ input: cluster.stdout }).on("line", (line) => {
      said.push(line);
      const match = /^rtserver cluster at (http:\S+)/.exec(line)?.[1];
      if (match !== undefined) found(match);
    });
    void exited.then(() => failed(new Error(`the cluster did not start:\n${said.join("\n")}`)));
  });
  project.provide("clusterUrl", await url);
  project.provide("adminPassword", PASSWORD);
  return async () => {
    cluster.kill("SIGTERM");
    const status = await exited;
    rmSync(folder, { recursive: true, force: true });
    if (status !== 0) throw new Error(`the cluster ended with ${status}`);
  };
}
