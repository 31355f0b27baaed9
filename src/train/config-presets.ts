/**
 * Training defaults for each model preset, as differences from `tiny`.
 *
 * The paper's sizes follow "The Era of 1-bit LLMs: Training Tips, Code and FAQ": two-stage learning rate and decay,
 * warm-up of 375 steps, betas 0.9 and 0.95, clip 1.0, about a million tokens a step, 100 B tokens in all; their
 * full-precision twins have the lower rates of LLaMA with one linear decay. The small presets keep the recipe's
 * optimiser at a batch that a laptop computes in seconds.
 */
import { type ModelConfig, type PresetName, presetConfig, presets } from "../model/config.ts";
import type { RunConfig, RunConfigPatch } from "./config-schema.ts";
import { distillDefaults } from "./distillation/settings.ts";
import { adamw } from "./optimizers/adamw.ts";
import { plainSettings } from "./optimizers/optimizer.ts";
import { cosine as cosineSchedule } from "./schedules/cosine.ts";
import { linear as linearSchedule } from "./schedules/linear.ts";
import { twoStage as twoStageSchedule } from "./schedules/two-stage.ts";

const cosine = { kind: "cosine", ...cosineSchedule.defaults } as const;
const linear = { kind: "linear", ...linearSchedule.defaults } as const;
const twoStage = { kind: "two-stage", ...twoStageSchedule.defaults } as const;

const tiny: Omit<RunConfig, "preset" | "recipe" | "model"> = {
  data: {
    files: [],
    mixture: null,
    validFiles: [],
    validFraction: 0.01,
    separator: "<|endoftext|>",
    field: "text",
    maskDocuments: false,
    lossAfter: null,
    cacheDir: "runs/cache",
    localCopy: null,
    prefetch: "auto",
    verify: false,
  },
  tokenizer: { file: null, kind: "bpe" },
  optimizer: {
    kind: "adamw",
    learningRate: 1.5e-3,
    weightDecay: 0.1,
    decayEmbeddings: false,
    clipNorm: 1,
    ...plainSettings,
    ...adamw.defaults,
  },
  schedule: cosine,
  train: {
    batch: 32,
    sequence: 256,
    microBatch: 16,
    steps: null,
    epochs: 3,
    tokens: null,
    seed: 1,
    precision: "auto",
    progressive: null,
    quantRampSteps: 0,
    objectives: [{ name: "next-token", weight: 1 }],
    callbacks: [],
    freeze: [],
    maxSkippedSteps: 5,
  },
  distill: distillDefaults,
  evaluation: { every: 100, batches: 8, patience: null, minDelta: 0 },
  samples: { every: 100, prompts: [""], tokens: 60, temperature: 0.8 },
  checkpoints: { every: 100, first: false, keepLast: 2, keepBest: true },
  metrics: {
    every: 1,
    layersEvery: 50,
    errorEvery: 50,
    drift: false,
    termsEvery: null,
    smoothing: 0.98,
    tensorboard: true,
  },
  backend: { name: "auto", isa: "auto", threads: 0 },
};

/** The recipe at a million tokens a step; `microBatch` keeps one sequence's activations in memory. */
const paper = (learningRate: number, twinLearningRate: number, batch: number): PresetTraining => ({
  bitnet: { optimizer: { learningRate }, schedule: twoStage, ...paperRun(batch) },
  full: { optimizer: { learningRate: twinLearningRate }, schedule: linear, ...paperRun(batch) },
});

const paperRun = (batch: number): RunConfigPatch => ({
  train: { batch, microBatch: 1, epochs: null, tokens: 100_000_000_000 },
  evaluation: { every: 1000, batches: 4 },
  samples: { every: 1000 },
  checkpoints: { every: 500 },
});

interface PresetTraining {
  bitnet: RunConfigPatch;
  full: RunConfigPatch;
}

/** What a preset of that size wants otherwise; one that is not here trains as tiny does. */
const training: Partial<Record<PresetName, PresetTraining>> = {
  arithmetic: same(
    { learningRate: 1.5e-3, twin: 1e-3 },
    { tokenizer: { kind: "characters" }, train: { batch: 64, microBatch: null, epochs: 10 } },
  ),
  nano: same({ learningRate: 1.5e-3, twin: 1e-3 }, { train: { batch: 8, microBatch: 1, epochs: 1 } }),
  "95m": same(
    { learningRate: 1.5e-3, twin: 6e-4 },
    { train: { batch: 32, microBatch: 2, epochs: 1 }, evaluation: { every: 500 }, checkpoints: { every: 250 } },
  ),
  "700m": paper(1.5e-3, 2.5e-4, 512),
  "1.3b": paper(1.2e-3, 2.5e-4, 512),
  "3b": paper(1.2e-3, 2e-4, 512),
  "3.9b": paper(1.2e-3, 2e-4, 512),
  "tinyllama-1.1b": paper(1.2e-3, 4e-4, 512),
  "2b4t": paper(1.2e-3, 2e-4, 256),
};

const asTiny: PresetTraining = same({ learningRate: 1.5e-3, twin: 1e-3 }, {});

/** One run for both variants, but for the learning rate: ternary models want several times their twin's. */
function same(rates: { learningRate: number; twin: number }, patch: RunConfigPatch): PresetTraining {
  return {
    bitnet: { ...patch, optimizer: { learningRate: rates.learningRate } },
    full: { ...patch, optimizer: { learningRate: rates.twin } },
  };
}

/** A preset's model, tiny's training values, and what the preset changes in them. @throws UsageError for an unknown preset */
export function presetRun(
  name: string,
  variant: ModelConfig["variant"],
): { base: RunConfig; difference: RunConfigPatch } {
  const model = presetConfig(name, variant);
  const base = { preset: name, recipe: null, model, ...tiny, train: { ...tiny.train, sequence: model.contextLength } };
  return { base, difference: (training[name as PresetName] ?? asTiny)[variant] };
}

/** For help texts. */
export const presetNames: readonly string[] = Object.keys(presets);
