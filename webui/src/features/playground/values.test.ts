import { describe, expect, it } from "vitest";
import { parseArguments, parseAuth, shown } from "./values";

describe("parseAuth", () => {
  it.each([["", {}], ["{}", {}], ['{"token":"x"}', { token: "x" }]])("takes %j", (text, value) => {
    expect(parseAuth(text)).toEqual(value);
  });
  it.each([["[]"], ["null"], ["7"], ["{"]])("refuses %j", (text) => {
    expect(() => parseAuth(text)).toThrow(/^Auth must be/);
  });
});

describe("parseArguments", () => {
  it("takes an array, and nothing as none", () => {
    expect(parseArguments('[1,{"a":2}]')).toEqual([1, { a: 2 }]);
    expect(parseArguments(" ")).toEqual([]);
  });
  it.each([["{}"], ["1"], ["["]])("refuses %j", (text) => {
    expect(() => parseArguments(text)).toThrow(/^Arguments must be/);
  });
});

describe("shown", () => {
  it("tells binary by its size and cuts what is long", () => {
    expect(shown([new ArrayBuffer(3)])).toBe('["<3 bytes>"]');
    expect(shown(["x".repeat(5_000)])).toHaveLength(2_000);
  });
});
