// Oracle: best-fit-decreasing written out plainly here (every sequence looked at for every piece), and its bounds: no
// sequence over T, every piece in one.
import fc from "fast-check";
import { expect, test } from "vitest";
import { fitPieces } from "./best-fit.ts";

/** The same by looking at all sequences: how full each is at the end. */
function plain(lengths: readonly number[], sequence: number): number[] {
  const filled: number[] = [];
  for (const length of [...lengths].sort((a, b) => b - a)) {
    let best = -1;
    for (const [row, used] of filled.entries())
      if (used + length <= sequence && (best < 0 || used > filled[best])) best = row;
    if (best < 0) filled.push(length);
    else filled[best] += length;
  }
  return filled;
}

test("pieces go where the plain algorithm puts them, and no sequence is over its length", () => {
  const cases = fc.integer({ min: 1, max: 70 }).chain((sequence) =>
    fc.record({
      sequence: fc.constant(sequence),
      lengths: fc.array(fc.integer({ min: 1, max: sequence }), { maxLength: 120 }),
    }),
  );
  fc.assert(
    fc.property(cases, ({ sequence, lengths }) => {
      const { rows, rowOf } = fitPieces(lengths, sequence);
      const filled = new Array<number>(rows).fill(0);
      for (const [i, length] of lengths.entries()) filled[rowOf[i]] += length;
      expect(Math.max(0, ...filled)).toBeLessThanOrEqual(sequence);
      expect([...filled].sort()).toEqual(plain(lengths, sequence).sort());
      const total = lengths.reduce((sum, length) => sum + length, 0);
      expect(rows).toBeGreaterThanOrEqual(Math.ceil(total / sequence));
    }),
    { numRuns: 300, seed: 5 },
  );
});

test("sequences are numbered by their first piece", () => {
  const { rows, rowOf } = fitPieces([2, 7, 8, 3, 1], 10);
  // 8 + 2, 7 + 3, and 1 where most is full: both are.
  expect([...rowOf]).toEqual([0, 1, 0, 1, 2]);
  expect(rows).toBe(3);
});

test("a length that is none is refused", () => {
  expect(() => fitPieces([3, 0], 10)).toThrow("piece 1 has 0 tokens; expected 1 to 10");
  expect(() => fitPieces([11], 10)).toThrow("piece 0 has 11 tokens; expected 1 to 10");
});
