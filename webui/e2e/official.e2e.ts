import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { connected, enter, openBrowser, problems } from "./support";

let browser: Browser;

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));

/** The official page, as it is built into its package, connected to the cluster. */
async function official(password: string): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  // Its fonts and icons are other hosts'; nobody waits for them here.
  await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
  await page.goto(inject("adminUiUrl"));
  await page.getByLabel("Server URL").fill(inject("clusterUrl"));
  await page.getByLabel("Username").fill("admin");
  await page.getByLabel("Password").fill(password);
  await page.getByText("Advanced options").click();
  // Its polling asks with credentials, which a server grants by `Cors(credentials=True)` only.
  await page.getByText("WebSocket only?").click();
  await page.getByLabel("Admin namespace").fill("/admin-ui");
  await page.getByRole("button", { name: "Connect" }).click();
  return page;
}

describe("the official admin UI", () => {
  it("shows both nodes, a user's socket and its rooms, and disconnects it", async () => {
    const user = await enter(browser, "Seen");
    await connected(user.page);
    const page = await official(inject("adminPassword"));
    const rows = page.locator("main tbody tr");
    await page.locator('nav a[href="#/servers"]').click();
    await expect.poll(() => rows.filter({ hasText: "HEALTHY" }).count(), { timeout: 15_000 }).toBe(2);
    for (const list of ["rooms", "sockets"]) {
      await page.locator(`nav a[href="#/${list}"]`).click();
      await page.locator("main .v-select").first().click();
      await page.getByRole("option", { name: "/chat" }).click();
      await expect.poll(() => rows.first().textContent(), { timeout: 15_000 }).toMatch(list === "rooms" ? /user:/ : /127\.0\.0\.1/);
    }
    await rows.first().getByRole("button").click();
    await expect.poll(() => page.locator("main").innerText(), { timeout: 15_000 }).toMatch(/DISCONNECTED/);
    await user.page.getByTestId("connection").getByText(/^Connected/).waitFor({ state: "hidden" });
    problems.splice(0);
  });

  it("is told nothing without the password", async () => {
    const page = await official("a wrong password");
    await page.getByText("invalid credentials").waitFor();
  });
});
