/** Oracle: JSON.stringify for short values; the promised length and line for all others. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { escapeControls, nestsDeeper, show, showText } from "./show.ts";

test("a short value is shown as JSON has it", () => {
  for (const value of [1, -0.5, true, null, 'a "b"', [1, [2, "x"]], { a: { b: [] } }])
    expect(show(value)).toBe(JSON.stringify(value));
  expect(show(undefined)).toBe("nothing");
  expect(show(10n)).toBe("10");
  expect(show(new Uint8Array(3))).toBe("Uint8Array of 3 bytes");
});

test("any value is one line of at most 80 characters, without control characters", () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withNullPrototype: true }), (value) => {
      const shown = show(value);
      expect(shown.length).toBeLessThanOrEqual(80);
      expect(shown).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    }),
    { seed: 7, numRuns: 500 },
  );
});

test("what is long, deep or a cycle is cut, and takes no longer for it", () => {
  let deep: unknown = [];
  for (let i = 0; i < 100_000; i++) deep = [deep];
  expect(show(deep)).toBe("[[[[...]]]]");
  const cycle: Record<string, unknown> = {};
  cycle.a = cycle;
  expect(show(cycle)).toBe('{"a":{"a":{"a":{"a":...}}}}');
  expect(show("x".repeat(1e6))).toBe(`"${"x".repeat(76)}...`);
  expect(show(new Array(1e6).fill(1))).toHaveLength(80);
  expect(showText("a\u001b]0;title\u0007b\n")).toBe("a\\u001b]0;title\\u0007b\\n");
});

test("nesting is measured without a stack", () => {
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = i % 2 ? [deep] : { a: deep };
  expect(nestsDeeper(deep, 100_000)).toBe(false);
  expect(nestsDeeper(deep, 99_999)).toBe(true);
  expect(nestsDeeper("x", 0)).toBe(false);
  expect(nestsDeeper([], 0)).toBe(true);
});

test("a terminal's escapes are shown; newlines stay in a text of lines", () => {
  expect(escapeControls("\u001b[2J\u009b1m one\ntwo\u202e", { lines: true })).toBe(
    "\\u001b[2J\\u009b1m one\ntwo\\u202e",
  );
});
