// What an application may and may not do with the types of the sample's events. A line that
// must not compile is marked; the compiler complains about a mark in front of one that does.
import { io, type Socket } from "socket.io-client";
import type {
  Answer, ChatClientToServerEvents, ChatServerToClientEvents, ClientToServerEvents, Link, Message, PageMessage,
  Picture, Point, Post, Profile, Refusal, Search, ServerToClientEvents, TenantClientToServerEvents,
  TenantServerToClientEvents,
} from "./events";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

const main: Socket<ServerToClientEvents, ClientToServerEvents> = io("/");
const chat: Socket<ChatServerToClientEvents, ChatClientToServerEvents> = io("/chat");
const tenant: Socket<TenantServerToClientEvents, TenantClientToServerEvents> = io("/tenant-1");

// Hearing.
chat.on("chat:posted", (message) => same<typeof message, Message>(true));
chat.on("chat:notice", (anything: string, more: number) => console.log(anything, more));
chat.on("ask", (question, answer) => answer(question.length > 3));
// @ts-expect-error the payload is a message
chat.on("chat:posted", (picture: Picture) => console.log(picture));
// @ts-expect-error the answer is a boolean
chat.on("ask", (question, answer) => answer(question));
// @ts-expect-error only clients send it
chat.on("chat:post", () => undefined);
// @ts-expect-error it is heard in the other namespace
main.on("chat:posted", () => undefined);
// @ts-expect-error nothing is ever heard there
tenant.on("anything", () => undefined);

// Sending.
const post: Post = { room: "lobby", text: "hello", mood: "loud", reply_to: null };
chat.emit("chat:post", post, (answer) => same<typeof answer, Answer<Message>>(true));
chat.emit("chat:leave");
chat.emit("chat:react", { emoji: "+1" });
chat.emit("chat:typing", { room: "lobby" });
chat.emit("chat:typing", { room: "lobby", on: true }, (answer) => console.log(answer));
main.emit("echo", 1, "two", { three: 3 });
tenant.emit("game:move", [1, 2]);
tenant.emit("upload", new Uint8Array([1]), (name) => console.log(name));
tenant.emit("upload", new ArrayBuffer(1), () => undefined);
// @ts-expect-error the text is missing
chat.emit("chat:post", { room: "lobby" }, () => undefined);
// @ts-expect-error a field has the wrong type
chat.emit("chat:post", { room: "lobby", text: 5 }, () => undefined);
// @ts-expect-error no such mood
chat.emit("chat:post", { room: "lobby", text: "hello", mood: "sad" }, () => undefined);
// @ts-expect-error no such field
chat.emit("chat:post", { room: "lobby", text: "hello", colour: "red" }, () => undefined);
// @ts-expect-error no argument
chat.emit("chat:leave", "lobby");
// @ts-expect-error no such event
chat.emit("chat:shout", "hello");
// @ts-expect-error only the server sends it
chat.emit("chat:posted", { id: 1 });
// @ts-expect-error a point has two coordinates at least
tenant.emit("game:move", [1]);
// @ts-expect-error bytes are no text
tenant.emit("upload", "bytes", () => undefined);

// Acknowledgements.
export async function ask(): Promise<void> {
  const answer = await chat.emitWithAck("chat:post", post);
  // @ts-expect-error it may have been refused
  console.log(answer.id);
  if ("error" in answer) {
    const refusal: Refusal = answer;
    console.log(refusal.error.code.length, refusal.error.retry_after);
  } else {
    console.log(answer.id, answer.position[1], answer.counts["likes"]);
    same<typeof answer.kind, 3 | "plain" | "system" | undefined>(true);
    same<typeof answer.edited, boolean | undefined>(true);
    // @ts-expect-error a pair
    console.log(answer.position[2]);
  }
  const found = await chat.emitWithAck("chat:find", "hello");
  if (found !== null && found !== undefined && !("error" in found)) same<typeof found, Message>(true);
  // @ts-expect-error there may be none
  console.log("error" in found);
  const list: Answer<PageMessage> = await chat.emitWithAck("chat:list", 1);
  console.log("items" in list ? list.items[0]?.text : list.error.message);
  await chat.timeout(1_000).emitWithAck("chat:leave");
}

// Types.
const shown: Picture | Link = { type: "link", url: "https://example.com" };
// What a tag says, the compiler knows.
export const address = (it: Picture | Link): string => (it.type === "link" ? it.url : (it.caption ?? ""));
const profile: Profile = { name: "Ann", home: { street: "Main" }, friend: { name: "Bob", home: { street: "Side" } } };
const search: Search = { words: ["a", "b"], title: null };
const point: Point = [1, 2, 3];
chat.emit("chat:show", shown, () => undefined);
chat.emit("profile", profile, () => undefined);
chat.emit("chat:search", search, () => undefined);
tenant.emit("game:move", point);
// @ts-expect-error a picture has bytes
export const picture: Picture = { type: "picture" };
// A map fits where an index signature is asked for.
export const fits: Record<string, (...args: never[]) => void> = {} as ChatClientToServerEvents;
