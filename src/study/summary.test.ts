// Oracle: numbers worked out by hand for made-up trials, written beside each.
import { expect, test } from "vitest";
import { presetConfig } from "../model/index.ts";
import type { Group } from "./spec.ts";
import { summarizeStudy } from "./summary.ts";
import { packedBytes, type TrialRecord } from "./trial.ts";

const machine = { system: "linux", processor: "a processor", processors: 2, memoryBytes: 2 ** 33, node: "v20" };

function trial(arm: string, seed: number, bitsPerByte: number | null, changes: Partial<TrialRecord> = {}): TrialRecord {
  const final = { lossNats: 2 * (bitsPerByte ?? 1.5), bitsPerByte };
  return {
    ...{ format: "bitnet.ts trial", version: 1, arm, seed, status: "finished", reason: "finished" },
    ...{ steps: 10, tokens: 1000, final, best: null, curve: [], trainingMs: 2000, tokensPerSecond: 500 },
    ...{ peakTensorBytes: 100, peakResidentBytes: null, exportedBytes: 10, parameters: { total: 9, ternary: 8 } },
    ...{ configHash: arm, validationTokens: 50, machine, software: { version: "0", commit: null } },
    backend: { name: "native", isa: "avx2", threads: 2, precision: "fp32" },
    ...{ sessions: 1, endedMs: 0 },
    ...changes,
  };
}
const study = (arms: [name: string, group: Group][], trials: TrialRecord[], seeds = [1, 2]) => ({
  ...{ name: "s", baseline: arms[0][0], seeds, trials },
  arms: arms.map(([name, group]) => ({ name, group, config: {} })),
});
const arms: [string, Group][] = [
  ["base", "ternary"],
  ["better", "ternary"],
  ["full-a", "full"],
  ["full-b", "full"],
];

test("means, errors, paired differences, gaps to the best full arm, and ratios are those of the trials", () => {
  const {
    arms: found,
    metric,
    trials,
    planned,
  } = summarizeStudy(
    study(arms, [
      ...[trial("base", 1, 1.6), trial("base", 2, 1.8)],
      ...[
        trial("better", 1, 1.5, { trainingMs: 3000, peakTensorBytes: 150 }),
        trial("better", 2, 1.68, { trainingMs: 3000 }),
      ],
      // Means 1.45 and 1.5: the first is the best.
      ...[trial("full-a", 1, 1.4), trial("full-a", 2, 1.5)],
      ...[trial("full-b", 1, 1.3), trial("full-b", 2, 1.7)],
    ]),
  );
  expect([metric, trials, planned]).toEqual(["bitsPerByte", 8, 8]);
  const [base, better, full] = found;
  // (1.6 + 1.8) / 2; s = 0.1414, over the root of 2.
  expect([base.final!.n, base.final!.mean, base.final!.standardError]).toEqual([
    2,
    expect.closeTo(1.7),
    expect.closeTo(0.1),
  ]);
  expect(base.lossNats!.mean).toBeCloseTo(3.4);
  expect([base.difference, base.timeRatio!.mean, base.memoryRatio]).toEqual([null, 1, 1]);
  // -0.1 and -0.12: mean -0.11, error 0.01; 12.7 errors are more than the mean.
  expect(better.difference).toMatchObject({
    n: 2,
    mean: expect.closeTo(-0.11),
    standardError: expect.closeTo(0.01),
    halfInterval: expect.closeTo(0.12706),
    verdict: "within noise",
  });
  // 1.5 / 1.4 - 1 = 0.0714 and 1.68 / 1.5 - 1 = 0.12.
  expect(better.gap).toMatchObject({ to: "full-a", of: 2, relative: { n: 2, mean: expect.closeTo(0.0957142857, 8) } });
  expect(better.gap!.relative.standardError).toBeCloseTo(0.0242857143, 8);
  expect([better.timeRatio!.mean, better.memoryRatio]).toEqual([1.5, 1.5]);
  expect([full.gap, full.difference!.mean]).toEqual([null, expect.closeTo(-0.25)]);
});

test("a difference that is large beside its error has a verdict; one seed never has", () => {
  const trials = [
    ...[trial("base", 1, 1.6), trial("base", 2, 1.8)],
    ...[trial("better", 1, 1.5), trial("better", 2, 1.701)],
    trial("full-a", 1, 1.2),
  ];
  const found = summarizeStudy(study(arms, trials)).arms;
  expect(found[1].difference!.verdict).toBe("lower");
  expect(found[2].difference).toMatchObject({ n: 1, standardError: null, halfInterval: null, verdict: "one seed" });
  expect(found[2].missing).toEqual([2]);
  expect(found[3]).toMatchObject({ finished: 0, final: null, difference: null, missing: [1, 2] });
});

test("a gap is only to arms with as many tokens and a common seed; a time only to the same machine and threads", () => {
  const other = { backend: { name: "native", isa: "avx2", threads: 1, precision: "fp32" as const } };
  const trials = [
    ...[trial("base", 1, 1.6), trial("better", 1, 1.5, other)],
    ...[trial("full-a", 1, 1.2, { tokens: 2000 }), trial("full-b", 2, 1.1)],
  ];
  const [base, better] = summarizeStudy(study(arms, trials)).arms;
  expect([base.gap, better.gap, better.timeRatio]).toEqual([null, null, null]);
});

test("where a trial has no bits per byte all are compared in nats", () => {
  const trials = [trial("base", 1, 1.6), trial("better", 1, null)];
  const { metric, arms: found } = summarizeStudy(study(arms, trials));
  expect([metric, found[0].final!.mean, found[1].final!.mean]).toEqual(["lossNats", 3.2, 3]);
});

test("a trial of an unknown arm is refused", () => {
  expect(() => summarizeStudy(study(arms, [trial("other", 1, 1)]))).toThrow('a trial of arm "other"');
});

test("the bytes of a model as published are two bits a ternary weight, a scale a matrix, and float16 for the rest", () => {
  const tiny = presetConfig("tiny");
  const { width: C, hiddenWidth: F, layers: L, vocabSize: V, kvHeads: G, heads: H } = tiny;
  const ternary = L * (2 * C * C + 2 * C * ((C / H) * G) + 3 * C * F);
  const norms = L * (2 * C + C + F) + C;
  expect(packedBytes(tiny)).toBe(ternary / 4 + 4 * 7 * L + 2 * (V * C + norms));
});
