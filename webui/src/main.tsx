import { createTheme, MantineProvider } from "@mantine/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./app/mantine";
import { App } from "./app/App";
import "./app/styles.css";
import { ConnectionProvider } from "./lib/connection";
import { SessionStore } from "./lib/session";
import { Connection } from "./lib/socket";

const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
// What locks scrolling behind a dialog adds styles by itself, and looks for the nonce by this name.
(globalThis as { __webpack_nonce__?: string }).__webpack_nonce__ = nonce;
const root = document.getElementById("root");
if (root === null) throw new Error("the page has no root");

createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={createTheme({ primaryColor: "blue", primaryShade: 9, respectReducedMotion: true })} defaultColorScheme="auto" getStyleNonce={() => nonce}>
      <ConnectionProvider connection={new Connection()}>
        <App sessions={new SessionStore()} />
      </ConnectionProvider>
    </MantineProvider>
  </StrictMode>,
);
