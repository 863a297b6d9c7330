/** The pictures of the documents: both pages, light and dark, wide and narrow. */
import { resolve } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import type { Browser, Page } from "playwright-core";
import { connected, enter, joinRoom, makeRoom, messages, openBrowser, say } from "./support";

const FOLDER = resolve(import.meta.dirname, "../../docs");
let browser: Browser;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());

async function shoot(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const [size, width, height] of [["wide", 1200, 720], ["narrow", 390, 760]] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height });
      await page.screenshot({ path: `${FOLDER}/${name}-${colorScheme}-${size}.png` });
    }
  }
}

it("shoots the chat and the cluster", async () => {
  const [ada, grace] = [await enter(browser, "Ada"), await enter(browser, "Grace")];
  await makeRoom(ada.page, "Engine room");
  await joinRoom(grace.page, "Engine room");
  await say(ada.page, "Two nodes, one proxy, one Redis.");
  await expect.poll(() => messages(grace.page)).toHaveLength(1);
  await say(grace.page, "And I am on the other node, by WebSocket.");
  await expect.poll(() => messages(ada.page)).toHaveLength(2);
  await say(ada.page, "Kill mine, then.\nI shall be back before you notice.");
  await expect.poll(() => messages(grace.page)).toHaveLength(3);
  await connected(ada.page, /WebSocket/);
  await shoot(ada.page, "chat");

  const page = await (await browser.newContext()).newPage();
  await page.goto(inject("clusterUrl"));
  await page.getByText("Sign in", { exact: true }).click();
  await page.getByLabel("Name").fill("admin");
  await page.getByLabel("Password").first().fill(inject("adminPassword"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Pages" }).getByText("Cluster").click();
  await expect.poll(() => page.getByTestId("node").count(), { timeout: 20_000 }).toBe(2);
  // A chart wants a few seconds of something to show.
  for (let number = 0; number < 12; number += 1) {
    await say(grace.page, `message ${number}`);
    await page.getByTestId("traffic-now").evaluate(() => new Promise((done) => setTimeout(done, 700)));
  }
  await shoot(page, "cluster");
});
