/** Browsers, and people in them. */
import { existsSync } from "node:fs";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { expect, inject } from "vitest";

const PROGRAMS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function openBrowser(): Promise<Browser> {
  const program = PROGRAMS.find((one) => one !== undefined && existsSync(one));
  if (program === undefined) throw new Error("no Chromium: install Debian's package, or set CHROMIUM");
  return chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
}

export interface Person {
  readonly name: string;
  readonly page: Page;
  readonly context: BrowserContext;
}

let count = 0;

/** Somebody who has entered as a guest. */
export async function enter(browser: Browser, name: string, prepare?: (context: BrowserContext) => Promise<void>): Promise<Person> {
  const context = await browser.newContext();
  await prepare?.(context);
  const page = await context.newPage();
  // What the console says is wrong is wrong.
  page.on("pageerror", (error) => problems.push(`${name}: ${error.message}`));
  page.on("console", (line) => {
    if (line.type() === "error" && !/Failed to load resource|WebSocket connection/.test(line.text())) problems.push(`${name}: ${line.text()}`);
  });
  await page.goto(inject("clusterUrl"));
  count += 1;
  const unique = `${name} ${count}`;
  await page.getByLabel("Your name").fill(unique);
  await page.getByRole("button", { name: "Enter as a guest" }).click();
  await page.getByRole("navigation", { name: "Rooms" }).waitFor();
  return { name: unique, page, context };
}

/** Wait until a page is drawn in a scheme, and nothing on the way there is half one colour and half another. */
export async function settled(page: Page, colorScheme: "light" | "dark"): Promise<void> {
  await page.waitForFunction(
    (wanted) =>
      document.documentElement.getAttribute("data-mantine-color-scheme") === wanted &&
      document.getAnimations().every((one) => !(one instanceof CSSTransition) || one.playState !== "running"),
    colorScheme,
  );
}

/** What pages have complained of since the last time. */
export const problems: string[] = [];

export async function connected(page: Page, how: RegExp = /^Connected/): Promise<string> {
  const bar = page.getByTestId("connection");
  await expect.poll(() => bar.textContent(), { timeout: 20_000 }).toMatch(how);
  return (await bar.textContent()) ?? "";
}

/** The process id of the node that a page is connected to. */
export async function nodeOf(page: Page): Promise<number> {
  const bar = page.getByTestId("connection");
  await expect.poll(() => bar.textContent(), { timeout: 20_000 }).toMatch(/:\d+\)$/);
  return Number(/:(\d+)\)$/.exec((await bar.textContent()) ?? "")?.[1]);
}

export async function makeRoom(page: Page, name: string, isPrivate = false): Promise<void> {
  await page.getByRole("button", { name: "New room" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill(name);
  if (isPrivate) await dialog.getByRole("switch").check();
  await dialog.getByRole("button", { name: "Make the room" }).click();
  await page.getByRole("heading", { name }).waitFor();
}

export async function joinRoom(page: Page, name: string): Promise<void> {
  await page.getByLabel("Find a public room").fill(name);
  await page.getByRole("button", { name: `Join ${name}` }).click();
  await page.getByRole("heading", { name }).waitFor();
}

export async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Write a message").fill(text);
  await page.keyboard.press("Enter");
}

/** The texts of the messages, confirmed ones only. */
export async function messages(page: Page): Promise<string[]> {
  return page.locator('[data-testid="message"] .chat-text').allTextContents();
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
