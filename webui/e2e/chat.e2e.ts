import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { alive, connected, enter, joinRoom, makeRoom, messages, nodeOf, openBrowser, problems, say, type Person } from "./support";

let browser: Browser;
let people: Person[] = [];

async function person(name: string, ...rest: Parameters<typeof enter> extends [unknown, unknown, ...infer R] ? R : never): Promise<Person> {
  const one = await enter(browser, name, ...rest);
  people.push(one);
  return one;
}

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser.close());
afterEach(async () => {
  await Promise.all(people.map((one) => one.context.close()));
  people = [];
  expect(problems.splice(0)).toEqual([]);
});

describe("chat", () => {
  it("is had by two people on two nodes, and a node that dies loses and doubles nothing", async () => {
    const ann = await person("Ann");
    let bob = await person("Bob");
    for (let attempt = 0; attempt < 20 && (await nodeOf(ann.page)) === (await nodeOf(bob.page)); attempt += 1) bob = await person("Bob");
    const [first, second] = [await nodeOf(ann.page), await nodeOf(bob.page)];
    expect(first).not.toBe(second);
    expect(await connected(bob.page, /WebSocket/)).toMatch(/^Connected/);

    await makeRoom(ann.page, `Hall ${ann.name}`);
    await joinRoom(bob.page, `Hall ${ann.name}`);
    await say(ann.page, "hello");
    await expect.poll(() => messages(bob.page)).toEqual(["hello"]);
    await say(bob.page, "hello yourself");
    await expect.poll(() => messages(ann.page)).toEqual(["hello", "hello yourself"]);
    await expect.poll(() => ann.page.getByTestId("online-count").textContent()).toBe("2");

    process.kill(second, "SIGKILL");
    await expect.poll(() => alive(second)).toBe(false);
    await bob.page.getByLabel("Write a message").fill("written while it was away");
    await say(ann.page, "are you there?");
    await bob.page.keyboard.press("Enter");
    await connected(bob.page, /^Connected again/);
    expect(await nodeOf(bob.page)).not.toBe(second);
    await expect.poll(async () => (await messages(bob.page)).toSorted(), { timeout: 20_000 }).toEqual(
      ["hello", "hello yourself", "are you there?", "written while it was away"].toSorted(),
    );
    await expect.poll(() => messages(ann.page)).toEqual(await messages(bob.page));
    await say(ann.page, "good");
    await expect.poll(async () => (await messages(bob.page)).at(-1)).toBe("good");
  });

  it("works by polling where WebSocket is blocked", async () => {
    const one = await person("Polly", async (context) => {
      await context.addInitScript(() => {
        Object.defineProperty(window, "WebSocket", { value: undefined });
      });
    });
    await connected(one.page, /^Connected \(polling/);
    await makeRoom(one.page, `Poll ${one.name}`);
    await say(one.page, "slow but sure");
    await expect.poll(() => messages(one.page)).toEqual(["slow but sure"]);
  });

  it("is kept to rates, as a wait and not as an error", async () => {
    const one = await person("Quick");
    await makeRoom(one.page, `Rush ${one.name}`);
    for (let number = 0; number < 24; number += 1) await say(one.page, `message ${number}`);
    await expect.poll(() => one.page.locator('[data-testid="pending"][data-state="waiting"]').count()).toBeGreaterThan(0);
    expect(await one.page.getByRole("alert").count()).toBe(0);
    await expect.poll(() => messages(one.page).then((all) => all.length), { timeout: 30_000 }).toBe(24);
  });

  it("lets one change and delete what one has said, by keyboard", async () => {
    const [ann, bob] = [await person("Ann"), await person("Bob")];
    await makeRoom(ann.page, `Edit ${ann.name}`);
    await joinRoom(bob.page, `Edit ${ann.name}`);
    await say(ann.page, "helo");
    await expect.poll(() => messages(bob.page)).toEqual(["helo"]);
    await ann.page.getByLabel("Write a message").press("ArrowUp");
    await ann.page.getByLabel("Change the message").fill("hello");
    await ann.page.keyboard.press("Enter");
    await expect.poll(() => messages(bob.page)).toEqual(["hello (edited)"]);
    await ann.page.getByRole("button", { name: /What to do with/ }).click();
    await ann.page.getByRole("menuitem", { name: "Delete" }).click();
    await expect.poll(() => messages(bob.page)).toEqual(["This message was deleted"]);
  });

  it("keeps private rooms private, and lets in who is invited", async () => {
    const [ann, bob] = [await person("Ann"), await person("Bob")];
    await makeRoom(ann.page, `Den ${ann.name}`, true);
    expect(await bob.page.getByRole("button", { name: `Join Den ${ann.name}` }).count()).toBe(0);
  });

  it("loads history upwards without moving what is read", async () => {
    const ann = await person("Ann");
    await makeRoom(ann.page, `Long ${ann.name}`);
    for (let number = 0; number < 60; number += 1) await say(ann.page, `line ${number}`);
    await expect.poll(() => ann.page.getByTestId("pending").count(), { timeout: 50_000 }).toBe(0);
    await ann.page.reload();
    await ann.page.getByRole("button", { name: `Long ${ann.name}` }).click();
    await ann.page.getByText("line 59", { exact: true }).waitFor();
    const scroller = ann.page.getByRole("log");
    await scroller.evaluate((element) => element.scrollTo(0, 0));
    await ann.page.getByText("line 9", { exact: true }).waitFor();
    await scroller.evaluate((element) => element.scrollTo(0, 0));
    await ann.page.getByText("line 0", { exact: true }).waitFor();
  });
});
