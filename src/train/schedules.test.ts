// Oracle: values worked out by hand from the formulas in schedules.ts; the two-stage points are those of the published
// recipe for 700M (peak 1.5e-3, then 1e-3 from the midpoint; decay 0.1, then 0).
import { describe, expect, test } from "vitest";
import { autoWarmupSteps, createSchedule } from "./schedules.ts";

const peak = { learningRate: 1, weightDecay: 0.1 };

describe("warm-up", () => {
  test("rises in equal parts and reaches the peak at its last step", () => {
    const at = createSchedule({ kind: "constant", warmupSteps: 4 }, peak, 10);
    expect([1, 2, 3, 4, 5, 10].map((s) => at(s).learningRate)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
  });

  test("of no steps starts at the peak", () => {
    expect(createSchedule({ kind: "constant", warmupSteps: 0 }, peak, 10)(1).learningRate).toBe(1);
  });

  test("longer than the run is refused", () => {
    expect(() => createSchedule({ kind: "constant", warmupSteps: 11 }, peak, 10)).toThrow(
      /11 warm-up steps .* run of 10/,
    );
  });

  test("'auto' is a twentieth of a short run, 375 of a long one, none of a constant rate", () => {
    expect(autoWarmupSteps("cosine", 300)).toBe(15);
    expect(autoWarmupSteps("two-stage", 100_000)).toBe(375);
    expect(autoWarmupSteps("linear", 1)).toBe(1);
    expect(autoWarmupSteps("constant", 300)).toBe(0);
  });
});

test("linear falls evenly to the final fraction", () => {
  const at = createSchedule({ kind: "linear", warmupSteps: 2, finalFraction: 0.1 }, peak, 12);
  expect(at(2).learningRate).toBe(1);
  expect(at(7).learningRate).toBeCloseTo(0.55, 12);
  expect(at(12).learningRate).toBeCloseTo(0.1, 12);
});

test("cosine is half-way down in the middle and at the final fraction at the end", () => {
  const at = createSchedule({ kind: "cosine", warmupSteps: 0, finalFraction: 0.2 }, peak, 100);
  expect(at(25).learningRate).toBeCloseTo(0.2 + 0.8 * 0.853553390593, 10);
  expect(at(50).learningRate).toBeCloseTo(0.6, 12);
  expect(at(100).learningRate).toBeCloseTo(0.2, 12);
});

test("only the two-stage recipe changes weight decay", () => {
  for (const kind of ["linear", "cosine"] as const) {
    const at = createSchedule({ kind, warmupSteps: 0, finalFraction: 0 }, peak, 10);
    expect([1, 5, 6, 10].map((s) => at(s).weightDecay)).toEqual([0.1, 0.1, 0.1, 0.1]);
  }
});

test("two-stage: 1.5e-3 falls linearly, drops by a third after the midpoint, ends at 0; decay ends at the midpoint", () => {
  const at = createSchedule(
    { kind: "two-stage", warmupSteps: 0, finalFraction: 0, secondStageFraction: 2 / 3, secondStageWeightDecay: 0 },
    { learningRate: 1.5e-3, weightDecay: 0.1 },
    1000,
  );
  expect(at(250).learningRate).toBeCloseTo(1.125e-3, 12);
  expect(at(500).learningRate).toBeCloseTo(0.75e-3, 12);
  expect(at(501).learningRate).toBeCloseTo(1e-3 * 0.499, 12);
  expect(at(750).learningRate).toBeCloseTo(0.25e-3, 12);
  expect(at(1000).learningRate).toBe(0);
  expect([1, 500, 501, 1000].map((s) => at(s).weightDecay)).toEqual([0.1, 0.1, 0, 0]);
});

describe("wsd", () => {
  const at = (changes: object, steps = 30) =>
    createSchedule(
      {
        kind: "wsd",
        warmupSteps: 5,
        finalFraction: 0.1,
        decayFraction: 1 / 3,
        decayShape: "linear",
        ...changes,
      } as never,
      peak,
      steps,
    );

  test("rises, stays at the peak until its decay begins, and ends at the final fraction", () => {
    const schedule = at({});
    expect([1, 5, 6, 20].map((s) => schedule(s).learningRate)).toEqual([0.2, 1, 1, 1]);
    expect(schedule(25).learningRate).toBeCloseTo(0.55, 12);
    expect(schedule(30).learningRate).toBeCloseTo(0.1, 12);
    // Beyond its end, where a resumed run may stand.
    expect(schedule(40).learningRate).toBeCloseTo(0.1, 12);
    expect(schedule(30).weightDecay).toBe(0.1);
  });

  test("falls on a cosine, or at once and then slower", () => {
    expect(at({ decayShape: "cosine", finalFraction: 0 })(25).learningRate).toBeCloseTo(0.5, 12);
    expect(at({ decayShape: "cosine", finalFraction: 0 })(22).learningRate).toBeCloseTo(0.9045084972, 10);
    expect(at({ decayShape: "1-sqrt", finalFraction: 0 })(22).learningRate).toBeCloseTo(1 - Math.sqrt(0.2), 12);
    expect(at({ decayShape: "1-sqrt", finalFraction: 0 })(30).learningRate).toBe(0);
  });

  test("without decay is constant, and all decay is linear's", () => {
    expect(at({ decayFraction: 0 })(30).learningRate).toBe(1);
    const linear = createSchedule({ kind: "linear", warmupSteps: 0, finalFraction: 0.1 }, peak, 30);
    const whole = at({ decayFraction: 1, warmupSteps: 0 });
    for (const step of [1, 10, 29, 30]) expect(whole(step).learningRate).toBeCloseTo(linear(step).learningRate, 12);
  });

  test("refuses a warm-up and a decay that overlap", () => {
    expect(() => at({ warmupSteps: 21 })).toThrow(
      "schedule: 21 warm-up steps and 10 of decay do not fit a run of 30; lower schedule.warmupSteps or schedule.decayFraction",
    );
  });
});
