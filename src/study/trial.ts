/**
 * One trial: an arm trained with a seed, as a run of its own folder, and the record of what came of it. In this process, over
 * what is opened (run.ts), or in one of its own (trial-child.ts).
 */
import { createDryBackend } from "../backends/dry.ts";
import { inspectModel, type ModelConfig } from "../model/index.ts";
import { DivergenceError } from "../platform/errors.ts";
import { exists } from "../platform/files.ts";
import { sha256Of } from "../platform/hash.ts";
import { type Clock, describeMachine, type MachineFacts, packageVersion } from "../platform/system.ts";
import { Runtime } from "../tensor/index.ts";
import {
  type Callback,
  type ConfigLayer,
  measureLoss,
  type OpenedRuns,
  type ReadyRun,
  readScalars,
  type RunConfig,
  runPaths,
  train,
} from "../train/index.ts";

/** A trial that ended, as a line of trials.jsonl has it. */
export interface TrialRecord {
  format: "bitnet.ts trial";
  version: 1;
  arm: string;
  seed: number;
  /** diverged: its numbers were no longer finite; it counts, as a failure. */
  status: "finished" | "diverged";
  /** Why it ended: finished, or what stopped it early; of one that diverged the error. */
  reason: string;
  steps: number;
  tokens: number;
  /** After the last step, on all of the validation text; null of one that diverged. */
  final: Measured | null;
  /** The lowest of the evaluations on the way, which may be of a part of the validation text (evaluation.batches). */
  best: CurvePoint | null;
  curve: CurvePoint[];
  /** Of the steps alone: evaluation and saving left out. */
  trainingMs: number;
  tokensPerSecond: number;
  /** The most that its tensors took at once: weights, gradients, optimizer, activations. */
  peakTensorBytes: number;
  /** The most that its process held in RAM; null where it shared one with other trials (isolate: false). */
  peakResidentBytes: number | null;
  /** Its weights as published: two bits a ternary weight, float16 for the rest (the plan's sizes, not a file's). */
  exportedBytes: number;
  parameters: { total: number; ternary: number };
  /** SHA-256 of its config, paths and seed left out. */
  configHash: string;
  validationTokens: number;
  backend: ReadyRun["backend"];
  machine: MachineFacts;
  software: { version: string; commit: string | null };
  /** Times that it was begun or resumed from a checkpoint. */
  sessions: number;
  endedMs: number;
}

export interface Measured {
  /** Nats per token. */
  lossNats: number;
  /** null where the bytes behind the tokens are not known. */
  bitsPerByte: number | null;
}

export interface CurvePoint extends Measured {
  step: number;
  tokens: number;
}

export interface TrialOptions {
  arm: string;
  seed: number;
  layers: readonly ConfigLayer[];
  /** Its run's folder; a trial under way there goes on. */
  folder: string;
  /** Its process is its own. */
  isolated: boolean;
  opened: OpenedRuns;
  clock: Clock;
  /** Told after its own, and before evaluation and saving. */
  callbacks?: readonly Callback[];
  onNote?: (text: string) => void;
  onReady?: (run: ReadyRun) => void;
  signal?: AbortSignal;
  peakResidentBytes(): number;
}

/** @returns null where the signal ended it: its run is saved, and the same call goes on with it */
export async function runTrial(options: TrialOptions): Promise<TrialRecord | null> {
  const { arm, seed, folder, opened, clock, isolated } = options;
  const { stats } = opened.backend;
  // Memory of the arm before, of other sizes, is no use to this one.
  opened.backend.trim();
  stats.peakBytes = stats.liveBytes;
  const watch = watchTrial(opened);
  let ready: ReadyRun | undefined;
  const record = (ended: Pick<TrialRecord, "status" | "reason" | "steps" | "tokens" | "final">): TrialRecord => {
    const { config, parameters, backend, validationTokens } = ready!;
    const { trainingMs, tokens, sessions } = watch.state();
    const curve = curveOf(folder);
    return {
      ...{ format: "bitnet.ts trial", version: 1, arm, seed },
      ...ended,
      best: bestOf(curve),
      curve,
      trainingMs,
      tokensPerSecond: trainingMs > 0 ? (tokens * 1000) / trainingMs : 0,
      peakTensorBytes: stats.peakBytes,
      peakResidentBytes: isolated ? options.peakResidentBytes() : null,
      exportedBytes: packedBytes(config.model),
      ...{ parameters, validationTokens, configHash: hashOf(config), backend },
      machine: describeMachine(),
      software: packageVersion(),
      sessions,
      endedMs: clock.epochMs(),
    };
  };
  try {
    const report = await train({
      config: options.layers,
      runFolder: folder,
      // Of a trial that was killed before its first checkpoint, too.
      resume: exists(runPaths(folder).config) ? "auto" : undefined,
      opened,
      clock,
      signal: options.signal,
      callbacks: [watch.callback, ...(options.callbacks ?? [])],
      ...(options.onNote ? { onNote: options.onNote } : {}),
      onReady(run) {
        ready = run;
        watch.begin(run.config);
        options.onReady?.(run);
      },
    });
    if (report.reason === "interrupted") return null;
    const { final } = watch.state();
    const done = { steps: report.step, tokens: report.totalTokens };
    return final && Number.isFinite(final.lossNats)
      ? record({ status: "finished", reason: report.reason, ...done, final })
      : record({
          status: "diverged",
          reason: "the validation loss after the last step is not finite",
          ...done,
          final: null,
        });
  } catch (error) {
    if (!(error instanceof DivergenceError) || !ready) throw error;
    const { steps, tokens } = watch.state();
    return record({ status: "diverged", reason: error.message, steps, tokens, final: null });
  }
}

interface WatchState {
  steps: number;
  tokens: number;
  trainingMs: number;
  sessions: number;
  final: Measured | null;
}

/**
 * Counts steps and their time, and at the end measures on all of the validation text, where the run's own evaluations may be
 * of a part. Its state is saved with the run.
 */
function watchTrial({ data }: OpenedRuns) {
  let state: WatchState = { steps: 0, tokens: 0, trainingMs: 0, sessions: 0, final: null };
  let config: RunConfig | undefined;
  const callback: Callback = {
    name: "study",
    async on(event, training) {
      if (event.type === "start") state = { ...state, sessions: state.sessions + 1 };
      else if (event.type === "step")
        state = {
          ...state,
          steps: event.step,
          tokens: event.totalTokens,
          trainingMs: state.trainingMs + event.elapsedMs,
        };
      else if (event.type === "end" && event.reason !== "interrupted" && !state.final) {
        const { validation } = data.forRun({ ...config!, evaluation: { ...config!.evaluation, batches: null } });
        const { loss, bitsPerByte } = await measureLoss(training.runtime, training.model, validation!);
        state = { ...state, final: { lossNats: loss, bitsPerByte } };
      }
    },
    state: () => ({ ...state }),
    restore(saved) {
      state = saved as WatchState;
    },
  };
  return {
    callback,
    begin(run: RunConfig) {
      config = run;
    },
    state: () => state,
  };
}

/** The evaluations of a run, as its scalars have them. */
function curveOf(folder: string): CurvePoint[] {
  const { scalars } = runPaths(folder);
  if (!exists(scalars)) return [];
  return readScalars(scalars).flatMap((line) => {
    const { step, val_loss: lossNats, bits_per_byte: bits, total_tokens: tokens } = line;
    if (typeof lossNats !== "number" || typeof tokens !== "number") return [];
    return [{ step, tokens, lossNats, bitsPerByte: typeof bits === "number" ? bits : null }];
  });
}

const bestOf = (curve: readonly CurvePoint[]): CurvePoint | null =>
  curve.reduce<CurvePoint | null>((best, point) => (best && best.lossNats <= point.lossNats ? best : point), null);

/** Bytes of the weights of a model, packed as published. */
export const packedBytes = (model: ModelConfig): number =>
  inspectModel(model, () => new Runtime(createDryBackend()), { batch: 1, sequence: 1 }).inference.packedBytes;

/** Keys that do not decide a trial's result: paths, and what is only written or shown. */
export const undecidingKeys: readonly string[] = [
  ...["files", "validFiles", "cacheDir", "localCopy", "prefetch", "verify"].map((key) => `data.${key}`),
  ...["checkpoints", "samples", "metrics", "train.seed", "recipe", "tokenizer.file"],
];

/** Key paths and values of a config, those that decide a result. */
export function decidingValues(config: RunConfig): Map<string, unknown> {
  const found = new Map<string, unknown>();
  const walk = (value: unknown, path: string): void => {
    if (undecidingKeys.includes(path)) return;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      found.set(path, value);
      return;
    }
    for (const [key, inner] of Object.entries(value)) walk(inner, path === "" ? key : `${path}.${key}`);
  };
  walk(config, "");
  return found;
}

/** Names a trial's config, whatever its seed and wherever its files are. */
export const hashOf = (config: RunConfig): string => sha256Of(JSON.stringify([...decidingValues(config)]));
