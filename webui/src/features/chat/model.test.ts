import { describe, expect, it } from "vitest";
import { lines } from "./grouping";
import { EMPTY, KEPT, reduce, type Action, type ChatState, type Message, type RoomInfo } from "./model";

const ANN = { id: "ann", name: "Ann" };
const BOB = { id: "bob", name: "Bob" };
const HALL: RoomInfo = { id: "hall", name: "Hall", private: false, role: "member", unread: 0 };

function message(seq: number, more: Partial<Message> = {}): Message {
  return { room: "hall", seq, author: BOB, clientId: `c${seq}`, text: `text ${seq}`, at: seq * 1000, edited: false, deleted: false, ...more };
}

function after(...actions: Action[]): ChatState {
  return actions.reduce(reduce, reduce(EMPTY, { type: "rooms", rooms: [HALL], invitations: [] }));
}

function seqs(state: ChatState): number[] {
  return (state.open.get("hall")?.messages ?? []).map((one) => one.seq);
}

describe("messages", () => {
  it("are one however often they come, and in order", () => {
    const state = after(
      ...[3, 1, 3, 2].map((seq): Action => ({ type: "message", message: message(seq), own: false })),
    );
    expect(seqs(state)).toEqual([1, 2, 3]);
    expect(state.rooms[0]?.unread).toBe(3);
  });

  it("of one's own take the place of what was pending, by acknowledgement or by history", () => {
    const pending: Action = { type: "pending", room: "hall", pending: { clientId: "mine", text: "hi", at: 1, state: "sending" } };
    const stored = message(1, { clientId: "mine", author: ANN });
    for (const confirmed of [
      { type: "message", message: stored, own: true },
      { type: "newest", room: "hall", messages: [stored], more: false },
    ] as Action[]) {
      const state = after(pending, confirmed);
      expect(state.open.get("hall")?.pending).toEqual([]);
      expect(seqs(state)).toEqual([1]);
      expect(state.rooms[0]?.unread).toBe(0);
    }
  });

  it("are changed in place", () => {
    const state = after(
      { type: "message", message: message(1), own: false },
      { type: "changed", message: message(1, { text: "better", edited: true }) },
      { type: "changed", message: message(99) },
    );
    expect(state.open.get("hall")?.messages).toEqual([message(1, { text: "better", edited: true })]);
  });

  it("are bounded", () => {
    const many = Array.from({ length: KEPT + 50 }, (_, index) => message(index + 1));
    const state = after({ type: "newest", room: "hall", messages: many, more: true }, { type: "message", message: message(9_999), own: false });
    expect(seqs(state)).toHaveLength(KEPT);
    expect(seqs(state).at(-1)).toBe(9_999);
  });
});

describe("history", () => {
  const page = (from: number, to: number): Message[] => Array.from({ length: to - from + 1 }, (_, index) => message(from + index));

  it("grows upwards", () => {
    const state = after(
      { type: "newest", room: "hall", messages: page(51, 100), more: true },
      { type: "older", room: "hall", messages: page(1, 50), more: false },
    );
    expect(seqs(state)).toEqual(page(1, 100).map((one) => one.seq));
    expect(state.open.get("hall")?.more).toBe(false);
  });

  it("joins on after a short time away, and begins anew after a long one", () => {
    const before: Action = { type: "newest", room: "hall", messages: page(1, 50), more: false };
    const short = after(before, { type: "newest", room: "hall", messages: page(20, 60), more: true });
    expect(seqs(short)).toEqual(page(1, 60).map((one) => one.seq));
    expect(short.open.get("hall")?.more).toBe(false);
    const long = after(before, { type: "newest", room: "hall", messages: page(200, 250), more: true });
    expect(seqs(long)).toEqual(page(200, 250).map((one) => one.seq));
    expect(long.open.get("hall")?.more).toBe(true);
  });
});

describe("people", () => {
  it("are online while they are members, and stop typing when they have spoken or fallen silent", () => {
    const state = after(
      { type: "members", room: "hall", members: [{ ...BOB, role: "member" }] },
      { type: "presence", user: "bob", online: true },
      { type: "presence", user: "eve", online: true },
      { type: "typing", room: "hall", person: BOB, until: 100 },
    );
    expect([...(state.open.get("hall")?.online ?? [])]).toEqual(["bob"]);
    expect(reduce(state, { type: "quiet", now: 99 }).open.get("hall")?.typing.size).toBe(1);
    expect(reduce(state, { type: "quiet", now: 101 }).open.get("hall")?.typing.size).toBe(0);
    expect(reduce(state, { type: "message", message: message(1), own: false }).open.get("hall")?.typing.size).toBe(0);
  });

  it("leave, and rooms that one may not see any more go", () => {
    const gone = after({ type: "select", room: "hall" }, { type: "gone", room: "hall" });
    expect(gone.current).toBeNull();
    expect(gone.rooms).toEqual([{ ...HALL, role: null }]);
    const hidden = after({ type: "room", room: { ...HALL, private: true } }, { type: "gone", room: "hall" });
    expect(hidden.rooms).toEqual([]);
  });
});

describe("public rooms", () => {
  it("are replaced by those that were found, and never hide one's own", () => {
    const found = (id: string): RoomInfo => ({ ...HALL, id, name: id, role: null });
    const state = after({ type: "public", rooms: [found("a"), found("hall")] }, { type: "public", rooms: [found("b"), found("hall")] });
    expect(state.rooms.map((room) => [room.id, room.role])).toEqual([
      ["hall", "member"],
      ["b", null],
    ]);
  });
});

describe("invitations", () => {
  it("go when they are accepted or taken back", () => {
    const invited: Action = { type: "invited", invitation: { room: "den", name: "Den", by: "Bob" } };
    expect(after(invited, invited).invitations).toHaveLength(1);
    expect(after(invited, { type: "uninvited", room: "den" }).invitations).toEqual([]);
    expect(after(invited, { type: "room", room: { ...HALL, id: "den" } }).invitations).toEqual([]);
  });
});

describe("lines", () => {
  it("have a heading for each day, and a name when somebody else speaks or after a pause", () => {
    const day = 86_400_000;
    const shown = lines(
      [message(1, { at: 0 }), message(2, { at: 1000 }), message(3, { at: 2000, author: ANN }), message(4, { at: 3 * day }), message(5, { at: 3 * day + 600_000 })],
      [{ clientId: "p", text: "…", at: 3 * day + 700_000, state: "sending" }],
      ANN,
    );
    expect(shown.map((line) => (line.kind === "day" ? "day" : line.first))).toEqual(["day", true, false, true, "day", true, true, true]);
  });

  it("keep the key of a message when it is confirmed", () => {
    const [, pending] = lines([], [{ clientId: "x", text: "hi", at: 5, state: "sending" }], ANN);
    const [, stored] = lines([message(1, { clientId: "x", author: ANN })], [], ANN);
    expect(pending?.key).toBe(stored?.key);
  });
});
