// Oracle: the formulas of Platanios et al. (2019), worked out by hand.
import { expect, test } from "vitest";
import { competence } from "./pacing.ts";

const at = [0, 25, 50, 75, 100, 1000];

test("linear and root are the published competence functions", () => {
  const linear = competence({ pacing: "linear", start: 0.2, tokens: 100 });
  expect(at.map(linear)).toEqual([0.2, 0.4, 0.6000000000000001, 0.8, 1, 1].map((x) => expect.closeTo(x, 12)));
  const root = competence({ pacing: "root", start: 0.1, tokens: 100 });
  const squares = [0.01, 0.2575, 0.505, 0.7525, 1, 1];
  expect(at.map(root)).toEqual(squares.map((x) => expect.closeTo(Math.sqrt(x), 12)));
  const cubic = competence({ pacing: "root", start: 0.1, tokens: 100, power: 3 });
  expect(cubic(50)).toBeCloseTo(Math.cbrt(0.001 + 0.999 / 2), 12);
});

test("one step is Bengio's switch from the easy set to all; several are stairs", () => {
  const one = competence({ pacing: "step", start: 0.25, tokens: 100 });
  expect(at.map(one)).toEqual([0.25, 0.25, 0.25, 0.25, 1, 1]);
  const four = competence({ pacing: "step", start: 0.2, tokens: 100, steps: 4 });
  expect([0, 24, 25, 50, 99, 100].map(four)).toEqual([0.2, 0.2, 0.4, 0.6, 0.8, 1].map((x) => expect.closeTo(x, 12)));
});

test("never falls, and never leaves (0, 1]", () => {
  for (const pacing of ["linear", "root", "step"] as const) {
    const share = competence({ pacing, start: 0.05, tokens: 997, steps: 7 });
    let before = 0;
    for (let t = 0; t < 1100; t++) {
      expect(share(t)).toBeGreaterThanOrEqual(before);
      before = share(t);
    }
    expect(before).toBe(1);
  }
});
