// Each rule finds the fault that was planted, in a run of a few steps or in recorded evidence, and is silent on healthy runs:
// the recorded one of version 0.1, and runs made here.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fixturePath } from "../../../test/support/fixtures.ts";
import { storyRuns } from "../../../test/support/story-run.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import type { Callback } from "../../train/events.ts";
import { diagnose, diagnoseRun, diagnosisRules, type Evidence, readEvidence } from "./index.ts";

const { fresh, run } = storyRuns();
const metrics = { layersEvery: null, errorEvery: 4, tensorboard: false };
const named = (folder: string) => diagnoseRun(folder).findings.map(({ rule }) => rule);

async function trained(patch: object = {}, callbacks: Callback[] = []): Promise<string> {
  const folder = fresh();
  await run({ runFolder: folder, callbacks }, { metrics, samples: { every: null }, ...patch });
  return folder;
}

describe("runs", () => {
  test("healthy ones have no findings: one made here, the recorded one, one without ternary layers", async () => {
    const healthy = await trained({ train: { steps: 40 } });
    expect(diagnoseRun(healthy)).toEqual({
      folder: healthy,
      step: 40,
      steps: 40,
      rules: diagnosisRules.names,
      findings: [],
    });
    expect(named(fixturePath("v0.1/run"))).toEqual([]);
    expect(named(await trained({ model: { variant: "full" } }))).toEqual([]);
  });

  test("a learning rate far too high is named first", async () => {
    const folder = await trained({ train: { steps: 40 }, optimizer: { learningRate: 3, clipNorm: null } });
    expect(named(folder)[0]).toBe("learning-rate-high");
  });

  test("a learning rate far too low", async () => {
    const folder = await trained({ train: { steps: 80 }, optimizer: { learningRate: 1e-8 } });
    expect(named(folder)).toContain("learning-rate-low");
  });

  test("a layer that a callback froze", async () => {
    const freezer: Callback = {
      name: "freezer",
      on(event, { controls }) {
        if (event.type === "start") controls.freeze("*.down_proj");
      },
    };
    const folder = await trained({ train: { steps: 16 } }, [freezer]);
    expect(diagnoseRun(folder).findings).toMatchObject([
      { rule: "frozen-layers", figure: expect.stringContaining("1 of 7 layers had no flip") },
    ]);
    // Frozen by the config, it is meant to stand still.
    expect(named(await trained({ train: { steps: 16, freeze: ["*.down_proj"] } }))).toEqual([]);
  });

  test("another tokenizer in the run's folder", async () => {
    const folder = await trained();
    copyFileSync(fixturePath("v0.1/run/tokenizer.json"), join(folder, "tokenizer.json"));
    expect(named(folder)).toEqual(["tokenizer-mismatch"]);
  });

  test("a BitNet model without a ternary layer", async () => {
    const folder = await trained({ model: { quantization: { weights: "none" } } });
    expect(named(folder)).toEqual(["not-ternary"]);
  });

  test("weights drawn far too large", async () => {
    const folder = await trained({ model: { initStd: 3 } });
    expect(named(folder)).toContain("first-loss");
  });

  test("a half-written last line is passed over; no run, and no step yet, are refused", async () => {
    const folder = await trained();
    const scalars = join(folder, "metrics", "scalars.jsonl");
    writeFileSync(scalars, `${readFileSync(scalars, "utf8")}{"step":13,"lo`);
    expect(diagnoseRun(folder).step).toBe(12);
    writeFileSync(scalars, "");
    expect(() => diagnoseRun(folder)).toThrow("has no step in metrics/scalars.jsonl yet; let it train for some steps");
    expect(() => diagnoseRun(temporaryFolder())).toThrow("is not a run's folder");
  });
});

describe("evidence", () => {
  const recorded = readEvidence(fixturePath("v0.1/run"));
  /** 200 steps of a loss that falls from ln V, with everything else as it should be. */
  const steps = Array.from({ length: 200 }, (_, i) => ({
    ...recorded.steps[0],
    step: i + 1,
    loss: Math.log(recorded.config.model.vocabSize) * (0.3 + 0.7 * Math.exp(-i / 50)),
    gradNorm: 1,
    elapsedMs: 100,
    dataWaitMs: 1,
    memoryBytes: 2 ** 30,
  }));
  const healthy: Evidence = {
    ...recorded,
    steps,
    meta: { ...recorded.meta, derived: { ...recorded.meta.derived, steps: 200 } },
  };
  const step = (change: (i: number) => Partial<(typeof steps)[number]> | { loss: null }) => ({
    steps: steps.map((line, i) => ({ ...line, ...change(i) })),
  });
  const layer = (values: object[]) => ({
    layers: new Map([
      [
        "model.layers.0.mlp.up_proj",
        values.map((own, i) => ({
          step: 50 * (i + 1),
          zero: 0.31,
          gamma: 0.02,
          changed: true,
          saturated: 0.23,
          ...own,
        })),
      ],
    ]),
  });
  const { meta } = healthy;
  const faults: [rule: string, fault: string, change: Partial<Evidence>][] = [
    ["divergence", "a NaN batch", step((i) => (i === 77 ? { loss: null } : {}))],
    ["divergence", "a loss that rises", step((i) => (i > 150 ? { loss: 2.5 } : {}))],
    ["data-starving", "steps that wait", step(() => ({ dataWaitMs: 60 }))],
    ["memory-growth", "memory that grows", step((i) => ({ memoryBytes: 2 ** 30 + i * 2 ** 24 }))],
    ["masked-targets", "masked batches", step(() => ({ skippedBatches: 1 }))],
    ["dead-layers", "nothing but zeros", layer([{}, { zero: 0.97 }])],
    ["scale-collapse", "a scale that vanishes", layer([{}, { gamma: 0.001 }])],
    [
      "no-end-of-text",
      "one endless document",
      { meta: { ...meta, data: { ...meta.data, documents: 1, tokens: 1_000_000 } } },
    ],
    [
      "overfitting",
      "validation that rises",
      { validation: [2, 1.5, 1.8].map((lossNats, i) => ({ step: 50 * (i + 1), lossNats })) },
    ],
    ["not-ternary", "a ramp that is not done", step(() => ({ quantLambda: 0.8 }))],
    [
      "tokenizer-mismatch",
      "a tokenizer that is too large",
      { meta: { ...meta, tokenizer: { ...meta.tokenizer, vocabSize: 10 ** 6 } } },
    ],
  ];

  test("that is healthy gives no finding", () => {
    expect(diagnose(healthy).findings).toEqual([]);
    expect(diagnose({ ...healthy, ...layer([{}, { gamma: 0.015, zero: 0.5 }]) }).findings).toEqual([]);
  });

  test.for(faults)("%s: %s", ([rule, , change]) => {
    const { findings } = diagnose({ ...healthy, ...change });
    expect(findings.map((finding) => finding.rule)).toEqual([rule]);
    for (const text of Object.values(findings[0])) expect(text).toMatch(/\S/);
  });

  test("every rule has a planted fault here", () => {
    const inRuns = ["learning-rate-high", "learning-rate-low", "frozen-layers", "first-loss"];
    expect([...new Set([...faults.map(([rule]) => rule), ...inRuns])].sort()).toEqual([...diagnosisRules.names].sort());
  });
});
