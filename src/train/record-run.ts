/** What is known of a run before its first step, and its record in the run's folder. Called by train.ts. */
import type { SourceUse } from "../data/index.ts";
import type { Transformer } from "../model/index.ts";
import type { Precision } from "../ops/op.ts";
import { writeAtomically } from "../platform/files.ts";
import { type Clock, describeMachine, packageVersion } from "../platform/system.ts";
import type { Parameter } from "../tensor/index.ts";
import { formatTokenizerJson, type Tokenizer } from "../tokenizer/index.ts";
import { shareOfTernary } from "./callbacks/metrics.ts";
import { configToYaml, type DerivedRun } from "./config.ts";
import type { RunConfig } from "./config-schema.ts";
import { nextOrder, type RunMeta, readMeta, runPaths, type Session, writeMeta } from "./run-folder.ts";
import type { TrainingData } from "./training-data.ts";

/** What is known before the first step. */
export interface ReadyRun {
  config: RunConfig;
  derived: DerivedRun;
  folder: string;
  fromStep: number;
  parameters: { total: number; ternary: number };
  backend: { name: string; isa: string; threads: number; precision: Precision };
  trainingTokens: number;
  validationTokens: number;
  /** Of a mixture: its sources, and what each has given when the run goes on. */
  sources: readonly SourceUse[] | null;
  /** Batches that a worker thread reads ahead; 0: none. */
  prefetch: number;
  /** The model under training and its tokenizer, for callbacks that ask it something; the run disposes of them. */
  model: Transformer;
  tokenizer: Tokenizer;
}

export function countParameters(parameters: readonly Parameter[]): ReadyRun["parameters"] {
  const total = parameters.reduce((sum, { size }) => sum + size, 0);
  return { total, ternary: Math.round(total * shareOfTernary(parameters)) };
}

/** Writes tokenizer.json, meta.json and config.yaml, the last making the folder a run. */
export function recordRun(
  ready: ReadyRun,
  corpus: TrainingData,
  clock: Clock,
  { onNote = () => {} }: { onNote?: (text: string) => void },
): void {
  const { config, derived, folder, fromStep } = ready;
  const paths = runPaths(folder);
  const { tokenizer, about, validation } = corpus;
  const { backend: name, ...rest } = { ...ready.backend, backend: ready.backend.name };
  const session: Session = {
    startedMs: clock.epochMs(),
    fromStep,
    backend: name,
    isa: rest.isa,
    threads: rest.threads,
    precision: rest.precision,
    machine: describeMachine(),
    ...packageVersion(),
  };
  const before = readMeta(folder);
  const previous = before?.sessions.at(-1);
  for (const key of ["backend", "isa", "threads", "precision"] as const)
    if (fromStep > 0 && previous && previous[key] !== session[key])
      onNote(
        `the run began with ${key} ${previous[key]}, now it is ${session[key]}: losses may differ in their last bits`,
      );
  const { schedule: _, quantization: __, ...numbers } = derived;
  const meta: RunMeta = {
    format: "bitnet.ts run",
    version: 1,
    preset: config.preset,
    createdMs: before?.createdMs ?? session.startedMs,
    order: before ? before.order : nextOrder(folder),
    parameters: ready.parameters,
    derived: numbers,
    tokenizer: { name: tokenizer.name, vocabSize: tokenizer.vocabSize, hash: tokenizer.hash },
    data: {
      identity: about.identity,
      tokens: about.tokens,
      documents: about.documents,
      validationTokens: validation?.tokens ?? 0,
      validation: validation?.source ?? "none",
    },
    sessions: [...(before?.sessions ?? []), session],
  };
  writeAtomically(paths.tokenizer, formatTokenizerJson(tokenizer.toJson()));
  writeMeta(folder, meta);
  writeAtomically(paths.config, configToYaml(config));
}
