// Oracle: "join the adjacent pair of lowest rank, leftmost first" done slowly.
import fc from "fast-check";
import { expect, test } from "vitest";
import { MergeTable, mergeTables } from "./merge-table.ts";

type Merge = [left: number, right: number, merged: number];

function mergeSlowly(ids: number[], merges: Merge[]): number[] {
  const out = [...ids];
  for (;;) {
    let best = merges.length;
    let at = -1;
    for (let i = 0; i + 1 < out.length; i++) {
      const rank = merges.findIndex(([l, r]) => l === out[i] && r === out[i + 1]);
      if (rank >= 0 && rank < best) {
        best = rank;
        at = i;
      }
    }
    if (at < 0) return out;
    out.splice(at, 2, merges[best][2]);
  }
}

/** Merges as BPE makes them: each of two ids known before, into a new one. */
const mergeLists = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 12 }).map((pairs) => {
  const merges: Merge[] = [];
  for (const [l, r] of pairs) {
    const known = 3 + merges.length;
    const merge: Merge = [l % known, r % known, known];
    if (!merges.some((m) => m[0] === merge[0] && m[1] === merge[1])) merges.push(merge);
  }
  return merges;
});

test.for([
  ["short sequences, looked through", 48],
  ["long sequences, through the heap", 200],
] as const)("merges as the definition: %s", ([, maxLength]) => {
  const sequences = fc.array(fc.integer({ min: -1, max: 2 }), { maxLength, minLength: maxLength > 48 ? 49 : 0 });
  fc.assert(
    fc.property(mergeLists, sequences, (merges, ids) => {
      const table = new MergeTable(
        mergeTables(
          merges.map((m) => m[0]),
          merges.map((m) => m[1]),
          merges.map((m) => m[2]),
        ),
      );
      const scratch = Int32Array.from(ids);
      const length = table.apply(scratch, ids.length);
      expect([...scratch.subarray(0, length)]).toEqual(mergeSlowly(ids, merges));
    }),
    { seed: 4, numRuns: 1000 },
  );
});

test("merges a long run in time that grows with its length, not its square", () => {
  const table = new MergeTable(mergeTables([0, 1], [0, 1], [1, 2]));
  const n = 400_001; // by looking through all pairs this would be 10^11 steps
  const ids = new Int32Array(n);
  expect(table.apply(ids, n)).toBe(100_001);
  expect([ids[0], ids[99_999], ids[100_000]]).toEqual([2, 2, 0]);
});
