/** Runs a whole cluster for the tests: Redis, two nodes with the chat, the proxy; and beside it the official admin UI. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    clusterUrl: string;
    adminPassword: string;
    adminUiUrl: string;
  }
}

const PASSWORD = "an administrator's password";

const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml", png: "image/png" };

/** Serves the page of `@socket.io/admin-ui` from an address of its own, as its users do. */
async function serveOfficialPage(): Promise<Server> {
  const root = resolve(import.meta.dirname, "../node_modules/@socket.io/admin-ui/ui/dist");
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://x").pathname;
    const name = path === "/" ? "index.html" : path.slice(1);
    readFile(join(root, name)).then(
      (content) => response.writeHead(200, { "Content-Type": TYPES[name.split(".").pop() ?? ""] ?? "application/octet-stream" }).end(content),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const official = await serveOfficialPage();
  const adminUiUrl = `http://127.0.0.1:${(official.address() as AddressInfo).port}`;
  const folder = mkdtempSync(join(tmpdir(), "rtserver-e2e-"));
  const root = resolve(import.meta.dirname, "../..");
  const cluster = spawn(
    process.env.RTSERVER ?? join(root, ".venv/bin/rtserver"),
    ["cluster", "rtserver.handlers.app:io", "--port", "0", "--procfile", join(root, "Procfile")],
    {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
      env: {
        ...process.env,
        RTSERVER_CHAT_FOLDER: folder,
        RTSERVER_CHAT_ADMIN_PASSWORD: PASSWORD,
        RTSERVER_CHAT_ADMIN_UI_PASSWORD: PASSWORD,
        RTSERVER_CHAT_ADMIN_UI_MODE: "development",
        RTSERVER_CORS: adminUiUrl,
        RTSERVER_LOG_LEVEL: "warning",
      },
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
  project.provide("adminUiUrl", adminUiUrl);
  return async () => {
    official.close();
    cluster.kill("SIGTERM");
    const status = await exited;
    rmSync(folder, { recursive: true, force: true });
    if (status !== 0) throw new Error(`the cluster ended with ${status}`);
  };
}
