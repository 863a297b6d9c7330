import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The node to talk to while developing: `npm run dev` beside `make run`.
const node = process.env.RTSERVER_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  // The server puts a fresh nonce in place of this word into every answer.
  html: { cspNonce: "RTSERVER_NONCE" },
  build: {
    outDir: "../rtserver/pages/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2022",
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/socket.io": { target: node, ws: true },
      "/api": { target: node },
    },
  },
  test: {
    environment: "jsdom",
    setupFiles: ["src/test/setup.ts"],
    globalSetup: ["src/test/server.ts"],
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
  },
});
