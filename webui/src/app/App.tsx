/** The frame around the pages: who is signed in, where one can go, how the page is connected. */
import { ActionIcon, AppShell, Burger, Button, Group, Loader, Menu, NavLink, Text, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { lazy, Suspense, useCallback, useEffect, useMemo, useState, type MouseEvent } from "react";
import { AccountsPage } from "../features/accounts/AccountsPage";
import { ChatPage } from "../features/chat/ChatPage";
import { useSocketEvent, useTheConnection } from "../lib/connection";
import type { ClientToServerEvents, ServerToClientEvents } from "../lib/events";
import type { Credentials } from "../lib/socket";
import { useSession, type SessionStore } from "../lib/session";
import { ConnectionBar } from "./ConnectionBar";
import { useRenewal } from "./useRenewal";
import { navigate, useRoute, type Route } from "./useRoute";

const ClusterPage = lazy(() => import("../features/cluster/ClusterPage"));
const PlaygroundPage = lazy(() => import("../features/playground/PlaygroundPage"));

export function App({ sessions }: { sessions: SessionStore }) {
  const connection = useTheConnection();
  const session = useSession(sessions);
  const route = useRoute();
  const [menuOpen, menu] = useDisclosure(false);
  const credentials = useMemo<Credentials>(() => () => ({ token: sessions.get()?.token }), [sessions]);
  const signedIn = session !== null;
  const [node, setNode] = useState<string | null>(null);
  const main = connection.socket<ServerToClientEvents, ClientToServerEvents>("/", credentials);
  useSocketEvent(main, "node:hello", (hello) => setNode(hello.node));
  useEffect(() => {
    // Whoever comes back may come to another one.
    const forget = (): void => setNode(null);
    main.on("disconnect", forget);
    return () => {
      main.off("disconnect", forget);
    };
  }, [main]);
  const signOut = useCallback(() => sessions.set(null), [sessions]);
  useRenewal(sessions, connection);

  useEffect(() => {
    if (!signedIn) return;
    connection.open(credentials);
    return () => connection.close();
  }, [connection, credentials, signedIn]);

  const links: { route: Route; label: string }[] = [
    { route: "/", label: "Chat" },
    ...(session?.user.scopes.includes("admin") === true ? [{ route: "/cluster" as const, label: "Cluster" }] : []),
    { route: "/playground", label: "Playground" },
  ];

  function follow(event: MouseEvent, to: Route): void {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    menu.close();
    navigate(to);
  }

  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 200, breakpoint: "sm", collapsed: { mobile: !menuOpen, desktop: true } }} padding="md">
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap" flex="none">
            <Burger opened={menuOpen} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <Text fw={700} visibleFrom="xs">
              rtserver
            </Text>
            <Group gap={4} visibleFrom="sm" component="nav" aria-label="Pages">
              {links.map((link) => (
                <Button
                  key={link.route}
                  component="a"
                  href={link.route}
                  size="compact-md"
                  variant={route === link.route ? "filled" : "subtle"}
                  aria-current={route === link.route ? "page" : undefined}
                  onClick={(event: MouseEvent) => follow(event, link.route)}
                >
                  {link.label}
                </Button>
              ))}
            </Group>
          </Group>
          <Group gap="sm" wrap="nowrap" miw={0}>
            {signedIn && <ConnectionBar node={node} />}
            <ColorSchemeButton />
            {session !== null && (
              <Menu>
                <Menu.Target>
                  <Button size="compact-md" variant="default" flex="none" maw={110}>
                    {session.user.name}
                  </Button>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item onClick={signOut}>Sign out</Menu.Item>
                </Menu.Dropdown>
              </Menu>
            )}
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" hiddenFrom="sm">
        {links.map((link) => (
          <NavLink
            key={link.route}
            href={link.route}
            label={link.label}
            active={route === link.route}
            onClick={(event) => follow(event, link.route)}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main>
        <Suspense fallback={<Loader aria-label="Loading the page" />}>
          {route === "/playground" ? (
            <PlaygroundPage />
          ) : session === null ? (
            <AccountsPage sessions={sessions} />
          ) : route === "/cluster" ? (
            <ClusterPage credentials={credentials} />
          ) : (
            <ChatPage credentials={credentials} user={session.user} onRefused={signOut} />
          )}
        </Suspense>
      </AppShell.Main>
    </AppShell>
  );
}

function ColorSchemeButton() {
  const { setColorScheme } = useMantineColorScheme();
  const shown = useComputedColorScheme("light");
  const other = shown === "light" ? "dark" : "light";
  return (
    <ActionIcon variant="default" size="md" aria-label={`Use ${other} colours`} onClick={() => setColorScheme(other)}>
      {shown === "light" ? "☾" : "☀"}
    </ActionIcon>
  );
}
