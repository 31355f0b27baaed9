// Progressive quantization by one lambda, as `train.quantRampSteps` has it. Oracles: the full-precision model, which lambda 0
// is to the bit; the formula of the ramp (Hugging Face's, stated in progressive/). The ops are held to PyTorch in ops/quant-ramp.
import { expect, test } from "vitest";
import { lambdas, smallRun } from "../../test/support/small-run.ts";
import { convertToBitnet } from "../exchange/index.ts";
import type { Transformer } from "../model/index.ts";
import type { StepEvent } from "./events.ts";
import { resolveConfig } from "./config.ts";
import { createAdamW } from "./optimizers.ts";
import { createProgressive, progressiveOf } from "./progressive.ts";
import { runTraining, type TrainerParts } from "./trainer.ts";

const withoutSubNorms = { subNorms: false, weightScale: "clamp", weightEps: 1e-5 } as const;

/** As `train.quantRampSteps` has it. */
function rampOf(quantRampSteps: number): TrainerParts["quantization"] {
  const config = progressiveOf({ progressive: null, quantRampSteps });
  if (!config) return undefined;
  const quantization = createProgressive(config, { steps: 10, warmupSteps: 0, layers: [] });
  return (step) => quantization.at(step);
}

async function steps(parts: TrainerParts): Promise<StepEvent[]> {
  const seen: StepEvent[] = [];
  const watcher = {
    name: "watcher",
    on: (event: { type: string }) => void (event.type === "step" && seen.push(event as StepEvent)),
  };
  await runTraining({ ...parts, callbacks: [...parts.callbacks, watcher] });
  return seen;
}

test("lambda rises from 0 in the first step to 1 behind the ramp's last, and is 1 from the start without one", () => {
  const ramp = rampOf(4)!;
  expect([1, 2, 3, 4, 5, 6, 100].map((step) => ramp(step).of("any").lambda)).toEqual([0, 0.25, 0.5, 0.75, 1, 1, 1]);
  expect(rampOf(0)).toBeUndefined();
});

test("at lambda 0 a ternary model without sub-norms is its full-precision twin: loss and gradient to the bit", async () => {
  const [full] = await steps(smallRun({ steps: 1, modelConfig: { variant: "full" } }));
  const [ramped] = await steps(smallRun({ steps: 1, modelConfig: withoutSubNorms, quantization: lambdas(() => 0) }));
  const [ternary] = await steps(smallRun({ steps: 1, modelConfig: withoutSubNorms }));
  expect(ramped).toMatchObject({ loss: full.loss, gradNorm: full.gradNorm, quantLambda: 0 });
  expect(ternary.loss).not.toBe(full.loss);
  expect(ternary).not.toHaveProperty("quantLambda");
});

test("near lambda 1 a step is that of the integer products, with sub-norms and without, recomputed or not", async () => {
  for (const modelConfig of [withoutSubNorms, {}, { recompute: true }, { activation: "relu2" as const }]) {
    const [whole] = await steps(smallRun({ steps: 1, modelConfig }));
    const [near] = await steps(smallRun({ steps: 1, modelConfig, quantization: lambdas(() => 1 - 2 ** -20) }));
    expect(Math.abs(near.loss - whole.loss)).toBeLessThan(1e-4);
    expect(Math.abs(near.gradNorm / whole.gradNorm - 1)).toBeLessThan(1e-3);
  }
});

test("callbacks see the ternary model in the middle of a ramp, whose lambda is logged; memory is flat", async () => {
  const [lambdas, live]: [number[], number[]] = [[], []];
  const run = smallRun({
    steps: 8,
    microBatch: 2,
    quantization: rampOf(100),
    callbacks: [
      {
        name: "listener",
        on(event, { model, runtime }) {
          if (event.type !== "step") return;
          lambdas.push((model as Transformer).linearLayers[3].lambda, event.quantLambda!);
          live.push(runtime.backend.stats.liveBytes);
        },
      },
    ],
  });
  await runTraining(run);
  expect(lambdas).toEqual([0, 1, 2, 3, 4, 5, 6, 7].flatMap((step) => [1, step / 100]));
  expect(new Set(live.slice(2)).size).toBe(1);
});

test("a step that fails leaves the whole model quantised", async () => {
  const run = smallRun({ quantization: lambdas(() => 0.5) });
  run.data.next = () => {
    const tokens_BT = new Int32Array(32).fill(99);
    return { tokens_BT, targets_BT: new Int32Array(32), epoch: 0 } as never;
  };
  await expect(runTraining(run)).rejects.toThrow(/token 99 is outside/);
  expect(run.model.linearLayers.map(({ lambda }) => lambda)).toEqual(run.model.linearLayers.map(() => 1));
});

test("a converted model goes on where the full one was, and ends ternary; without a ramp it falls back first", async () => {
  const full = smallRun({ steps: 60, modelConfig: { variant: "full" } });
  await runTraining(full);
  const learnt = full.losses.at(-1)!;
  const goOn = async (quantization?: TrainerParts["quantization"]) => {
    const { model } = await convertToBitnet(full.model, { subNorms: false });
    const run = smallRun({ steps: 60 });
    const parts = { ...run, runtime: model.runtime, model, optimizer: createAdamW(model.runtime, model.parameters) };
    return steps({ ...parts, quantization });
  };
  const [ramped, abrupt] = [await goOn(rampOf(30)), await goOn()];
  expect(ramped[0].loss).toBeLessThan(1.5 * learnt);
  expect(abrupt[0].loss).toBeGreaterThan(1.5 * ramped[0].loss);
  expect(ramped.at(-1)).toMatchObject({ quantLambda: 1 });
});

test("a full-precision model has no quantisation to let in", () => {
  const layers = (variant: "full" | "bitnet") => [
    { from: "x", patch: { preset: "tiny", model: { variant }, train: { quantRampSteps: 10 } } },
  ];
  expect(resolveConfig(layers("bitnet")).train.quantRampSteps).toBe(10);
  expect(() => resolveConfig(layers("full"))).toThrow(/train.quantRampSteps 10 is there, but a full-precision model/);
});
