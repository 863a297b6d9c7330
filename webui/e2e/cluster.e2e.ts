import type { Browser, Page } from "playwright-core";
import axe from "axe-core";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { connected, enter, makeRoom, openBrowser, problems, say, settled } from "./support";

let browser: Browser;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  expect(problems.splice(0)).toEqual([]);
});

async function administrator(): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(inject("clusterUrl"));
  await page.getByText("Sign in", { exact: true }).click();
  await page.getByLabel("Name").fill("admin");
  await page.getByLabel("Password", { exact: false }).first().fill(inject("adminPassword"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Pages" }).getByText("Cluster").click();
  await expect.poll(() => page.getByTestId("node").count(), { timeout: 20_000 }).toBe(2);
  return page;
}

/** What axe finds that keeps people out. */
async function barriers(page: Page): Promise<string[]> {
  // Evaluated by the browser's tools, which the page's policy does not bind.
  const found = await page.evaluate(`(async () => { ${axe.source}; return (await axe.run()).violations; })()`);
  return (found as { id: string; impact: string; nodes: { html: string }[] }[])
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}

describe("the cluster's page", () => {
  it("shows nodes, finds a socket, disconnects it, and drains a node, which leaves and comes back", async () => {
    const user = await enter(browser, "User");
    await connected(user.page);
    const page = await administrator();
    await expect.poll(() => page.getByTestId("traffic-now").textContent()).toMatch(/sessions/);

    await page.getByRole("combobox", { name: "Namespace" }).or(page.getByLabel("Namespace")).first().click();
    await page.getByRole("option", { name: "/chat" }).click();
    await expect.poll(() => page.getByTestId("socket").count()).toBeGreaterThan(0);

    const name = (await page.getByTestId("node").first().locator("td").first().textContent()) ?? "";
    await page.getByTestId("node").first().getByRole("button", { name: "Drain" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
    const names = () => page.getByTestId("node").locator("td:first-child").allTextContents();
    await expect.poll(async () => (await names()).includes(name), { timeout: 40_000 }).toBe(false);
    await expect.poll(async () => (await names()).length, { timeout: 40_000 }).toBe(2);
    await connected(user.page);
  });

  it("is not shown to anybody else", async () => {
    const user = await enter(browser, "User");
    expect(await user.page.getByRole("navigation", { name: "Pages" }).getByText("Cluster").count()).toBe(0);
    await user.page.goto(`${inject("clusterUrl")}/cluster`);
    await user.page.getByRole("alert").waitFor();
  });
});

describe("the playground", () => {
  it("joins with a token, and shows refusals of rooms, payloads and tokens as they are", async () => {
    const user = await enter(browser, "Player");
    const token = await user.page.evaluate(() => (JSON.parse(localStorage.getItem("rtserver.session") ?? "{}") as { token: string }).token);
    await user.page.getByRole("navigation", { name: "Pages" }).getByText("Playground").click();
    await user.page.getByLabel("Namespace").fill("/chat");
    await user.page.getByLabel("Auth").fill(JSON.stringify({ token: "wrong" }));
    await user.page.getByRole("button", { name: "Connect", exact: true }).click();
    await user.page.getByText("refused: authentication failed").waitFor();
    await user.page.getByLabel("Auth").fill(JSON.stringify({ token }));
    await user.page.getByRole("button", { name: "Connect", exact: true }).click();
    await user.page.getByText("joined", { exact: true }).waitFor();
    for (const [event, args, answer] of [
      ["chat:join", '[{"room":"nowhere"}]', /"error"/],
      ["chat:post", '[{"room":7}]', /invalid_payload/],
      ["chat:nothing", "[]", /unknown_event/],
    ] as const) {
      await user.page.getByRole("textbox", { name: "Event" }).fill(event);
      await user.page.getByLabel("Arguments").fill(args);
      await user.page.getByRole("button", { name: "Emit" }).click();
      await expect.poll(() => user.page.getByTestId("line").first().textContent()).toMatch(answer);
    }
  });
});

describe("accessibility", () => {
  it("has no serious findings on any page, light or dark, wide or narrow", async () => {
    const user = await enter(browser, "Reader");
    await makeRoom(user.page, `Aloud ${user.name}`);
    await say(user.page, "hello");
    const admin = await administrator();
    const guest = await (await browser.newContext()).newPage();
    await guest.goto(inject("clusterUrl"));
    const found: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [1280, 360]) {
        for (const [name, page] of [["chat", user.page], ["cluster", admin], ["accounts", guest]] as const) {
          await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
          await page.setViewportSize({ width, height: 800 });
          await settled(page, colorScheme);
          found.push(...(await barriers(page)).map((one) => `${name} ${colorScheme} ${width}: ${one}`));
        }
      }
    }
    expect(found).toEqual([]);
  });
});
