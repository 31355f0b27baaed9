// Oracle: the definition |c_i - n w_i| < 1, in whole numbers, at every draw; and Tijdeman's theorem that it can be kept.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataError, UsageError } from "../../platform/errors.ts";
import { createShares, partsOf } from "./shares.ts";

const draw = (parts: readonly number[], draws: number): number[] => {
  const shares = createShares(parts);
  return Array.from({ length: draws }, () => shares.next());
};

describe("shares", () => {
  test("never stray by one draw from the weights, whatever these are", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 12 }), (parts) => {
        const whole = parts.reduce((a, b) => a + b, 0);
        const shares = createShares(parts);
        let worst = 0;
        for (let n = 1; n <= 2 * whole; n++) {
          shares.next();
          for (let i = 0; i < parts.length; i++)
            worst = Math.max(worst, Math.abs(shares.counts[i] * whole - n * parts[i]));
        }
        // |c_i - n p_i / P| < 1, both sides times P.
        expect(worst).toBeLessThan(whole);
        expect(shares.counts).toEqual(parts.map((part) => 2 * part));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  test("hold where taking the largest deficit does not", () => {
    // Some large ones and many small ones: the greedy rule lets one fall a whole draw behind.
    const parts = [31, 31, 31, 31, 31, 31, 31, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
    const whole = parts.reduce((a, b) => a + b, 0);
    const behind = (choose: (n: number, counts: number[]) => number) => {
      const counts = parts.map(() => 0);
      let worst = 0;
      for (let n = 1; n <= whole; n++) {
        counts[choose(n, counts)]++;
        for (const [i, part] of parts.entries()) worst = Math.max(worst, n * part - counts[i] * whole);
      }
      return worst / whole;
    };
    const shares = createShares(parts);
    expect(behind(() => shares.next())).toBeLessThan(1);
    const greedy = behind((n, counts) => {
      const deficits = parts.map((part, i) => n * part - counts[i] * whole);
      return deficits.indexOf(Math.max(...deficits));
    });
    expect(greedy).toBeGreaterThan(1);
  });

  test("go on from any place with the same draws", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 8 }),
        fc.nat(300),
        (parts, at) => {
          const shares = createShares(parts);
          for (let i = 0; i < at; i++) shares.next();
          const other = createShares(parts);
          other.restore([...shares.counts]);
          expect(other.draws).toBe(at);
          for (let i = 0; i < 200; i++) expect(other.next()).toBe(shares.next());
        },
      ),
      { numRuns: 50, seed: 2 },
    );
  });

  test("are known far on without drawing that often", () => {
    const parts = [67, 15, 18];
    const shares = createShares(parts);
    const far = 2 ** 40;
    shares.restore(parts.map((part) => part * far));
    expect(Array.from({ length: 100 }, () => shares.next())).toEqual(draw(parts, 100));
  });

  test.for([[[1, 2]], [[50, 50, 0]], [[5, -1, 1]], [[1.5, 1, 1]], [[Number.NaN, 0, 0]]])(
    "refuse counts that they never come to: %j",
    ([counts]) => {
      expect(() => createShares([67, 15, 18]).restore(counts)).toThrow(DataError);
    },
  );
});

describe("weights", () => {
  test.for<[number[], number[]]>([
    [
      [0.67, 0.15, 0.045, 0.045, 0.045, 0.025, 0.02],
      [134, 30, 9, 9, 9, 5, 4],
    ],
    [
      [67, 15, 4.5, 4.5, 4.5, 2.5, 2],
      [134, 30, 9, 9, 9, 5, 4],
    ],
    [
      [2, 5],
      [2, 5],
    ],
    [
      [0.1, 0.2, 0.7],
      [1, 2, 7],
    ],
    [
      [1 / 3, 1 / 3, 1 / 3],
      [1, 1, 1],
    ],
    [[42], [1]],
  ])("%j are whole parts", ([weights, parts]) => {
    expect(partsOf(weights)).toEqual(parts);
  });

  test("that are no decimals are within a billionth", () => {
    const weights = [Math.PI, Math.E, Math.SQRT2, 1e-12];
    const parts = partsOf(weights);
    const [sum, whole] = [weights, parts].map((list) => list.reduce((a, b) => a + b, 0));
    for (const [i, weight] of weights.entries()) expect(Math.abs(parts[i] / whole - weight / sum)).toBeLessThan(2e-9);
    expect(parts[3]).toBe(1);
  });

  test.for([[[]], [[1, 0]], [[1, -2]], [[Number.NaN]], [[Number.POSITIVE_INFINITY, 1]]])(
    "%j are refused",
    ([weights]) => {
      expect(() => partsOf(weights)).toThrow(UsageError);
    },
  );
});
