/**
 * Runs a study: every arm with every seed, one after another, into a folder that a later call goes on with. Seeds are the outer
 * loop, so that a study that is not done has each arm equally often. Backend, text and tokenizer are opened once for all trials
 * that read the same. A study without a sampler; what chooses trials stands in `plannedTrials` alone.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { openAppend } from "../platform/append-file.ts";
import { runInChild } from "../platform/child.ts";
import { exists, makeFolder, removePath, writeAtomically } from "../platform/files.ts";
import { sha256Of } from "../platform/hash.ts";
import { takeLock } from "../platform/lock.ts";
import { type Clock, peakResidentBytes, systemClock } from "../platform/system.ts";
import { formatTokenizerJson, loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import {
  type Callback,
  type ConfigLayer,
  type OpenedRuns,
  openedKey,
  openRuns,
  prepareTrainingData,
  type ReadyRun,
  type RunConfig,
  runPaths,
  type TrainingData,
} from "../train/index.ts";
import { openStudyFolder, readStudy, type SavedStudy, type StudyData, studyPaths, writeStudyMeta } from "./folder.ts";
import { type Arm, inArm, readStudyFile, resolveStudy, type Study, type StudyFile, unknownArm } from "./spec.ts";
import { packedBytes, runTrial, type TrialRecord } from "./trial.ts";
import type { ChildInput, ChildMessage } from "./trial-child.ts";

export interface StudyOptions {
  /** A file's path, or its content. */
  study: string | StudyFile;
  /** The study's folder. */
  folder: string;
  /** Laid over the file's base, under its arms. */
  changes?: readonly ConfigLayer[];
  /** Only these arms, and only these seeds, in this call. */
  arms?: readonly string[];
  seeds?: readonly number[];
  /** Trials that are ended in this call, at most. */
  maxTrials?: number;
  /** Time after which the trial under way is saved and this call ends. */
  maxMs?: number;
  /** Overrides the file's. */
  isolate?: boolean;
  keepRuns?: boolean;
  /** What was typed, for the report. */
  command?: string;
  onNote?: (text: string) => void;
  onTrial?: (event: TrialEvent) => void;
  /** More callbacks of a trial's training; none where it has a process of its own. */
  callbacks?: (trial: PlannedTrial) => readonly Callback[];
  onReady?: (run: ReadyRun) => void;
  /** Aborting it saves the trial under way; runStudy then returns. */
  signal?: AbortSignal;
  clock?: Clock;
}

export interface PlannedTrial {
  arm: Arm;
  seed: number;
}

export type TrialEvent =
  | { type: "begin"; arm: string; seed: number; number: number; of: number }
  | { type: "end"; record: TrialRecord };

export interface StudyOutcome {
  /** done: nothing of what was asked for is left; else why this call ended. */
  reason: "done" | "interrupted" | "out of time" | "enough trials";
  /** Trials ended in this call. */
  ended: number;
  /** Trials of the whole file that are left. */
  left: number;
  folder: string;
  study: SavedStudy;
}

/**
 * @throws UsageError for a file, an arm or a folder that cannot be used, before the first trial; what `train` throws, but for
 *   DivergenceError, which is a trial's result. The folder goes on with the next call.
 */
export async function runStudy(options: StudyOptions): Promise<StudyOutcome> {
  const { folder, clock = systemClock, onNote = () => {} } = options;
  const from = typeof options.study === "string" ? options.study : "study";
  const file = typeof options.study === "string" ? readStudyFile(options.study) : options.study;
  const resolved = resolveStudy(file, { from, ...(options.changes ? { changes: options.changes } : {}) });
  const study: Study = {
    ...resolved,
    isolate: options.isolate ?? resolved.isolate,
    keepRuns: options.keepRuns ?? resolved.keepRuns,
  };
  const all = plannedTrials(study);
  const asked = askedTrials(study, all, options);
  // Whatever is wrong with a model's sizes shows now, and not in the night.
  for (const { name, config } of study.arms) inArm(`${from}: arm "${name}"`, () => packedBytes(config.model));
  makeFolder(folder);
  const paths = studyPaths(folder);
  const lock = takeLock(paths.lock, `the study ${folder}`, onNote);
  const shared = openedByKey(folder, study, options);
  try {
    const saved = openStudyFolder(folder, study, {
      nowMs: clock.epochMs(),
      ...(options.command === undefined ? {} : { command: options.command }),
    });
    if (saved.unfinishedLines > 0)
      onNote(`${paths.trials}: passed over ${saved.unfinishedLines} unfinished line(s); those trials run again`);
    const isDone = ({ arm, seed }: PlannedTrial) =>
      saved.trials.some((trial) => trial.arm === arm.name && trial.seed === seed);
    // A process killed between a trial's line and the end of its tidying.
    if (!study.keepRuns)
      for (const { arm, seed } of saved.trials) removePath(runPaths(paths.run(arm, seed)).checkpoints);
    const trials = asked.filter((trial) => !isDone(trial));
    const deadline = options.maxMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() + options.maxMs;
    const ended: TrialRecord[] = [];
    const outcome = (reason: StudyOutcome["reason"]): StudyOutcome => {
      const now = readStudy(folder);
      const left = all.filter(
        ({ arm, seed }) => !now.trials.some((trial) => trial.arm === arm.name && trial.seed === seed),
      ).length;
      return { reason, ended: ended.length, left, folder, study: now };
    };
    for (const trial of trials) {
      if (options.signal?.aborted) return outcome("interrupted");
      if (ended.length >= (options.maxTrials ?? Number.POSITIVE_INFINITY)) return outcome("enough trials");
      if (clock.monotonicMs() >= deadline) return outcome("out of time");
      const { arm, seed } = trial;
      options.onTrial?.({ type: "begin", arm: arm.name, seed, number: ended.length + 1, of: trials.length });
      const record = await inTime(deadline, clock, options.signal, (signal, watch) =>
        study.isolate
          ? runApart(trial, { folder, shared, signal, deadline, options, clock })
          : runHere(trial, { folder, shared, signal, watch, options, clock }),
      );
      if (!record) return outcome(options.signal?.aborted ? "interrupted" : "out of time");
      appendTrial(paths.trials, record);
      if (!study.keepRuns) removePath(runPaths(paths.run(arm.name, seed)).checkpoints);
      ended.push(record);
      options.onTrial?.({ type: "end", record });
    }
    return outcome("done");
  } finally {
    await shared.close();
    lock.release();
  }
}

/** Every arm with the first seed, then every arm with the second, ... */
export const plannedTrials = ({ arms, seeds }: Study): PlannedTrial[] =>
  seeds.flatMap((seed) => arms.map((arm) => ({ arm, seed })));

function askedTrials(study: Study, all: PlannedTrial[], { arms, seeds }: StudyOptions): PlannedTrial[] {
  const names = study.arms.map(({ name }) => name);
  for (const name of arms ?? []) if (!names.includes(name)) throw new UsageError(unknownArm(name, names));
  for (const seed of seeds ?? [])
    if (!study.seeds.includes(seed))
      throw new UsageError(
        `seed ${seed} is none of the study's (${study.seeds.join(", ")}); add it to "seeds" of the file`,
      );
  return all.filter(({ arm, seed }) => (arms?.includes(arm.name) ?? true) && (seeds?.includes(seed) ?? true));
}

/** One line, on the disk before anything else is done. */
function appendTrial(path: string, record: TrialRecord): void {
  const file = openAppend(path, { lines: true });
  try {
    file.append(`${JSON.stringify(record)}\n`);
    file.sync();
  } finally {
    file.close();
  }
}

/** Gives `body` a signal that is aborted with the caller's, and, by the callback, after a step that ends past the deadline. */
async function inTime<T>(
  deadline: number,
  clock: Clock,
  outer: AbortSignal | undefined,
  body: (signal: AbortSignal, watch: Callback) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort(outer?.reason);
  if (outer?.aborted) abort();
  outer?.addEventListener("abort", abort);
  const watch: Callback = {
    name: "study-time",
    on(event) {
      if (event.type === "step" && clock.monotonicMs() >= deadline) controller.abort(new Error("out of time"));
    },
  };
  try {
    return await body(controller.signal, watch);
  } finally {
    outer?.removeEventListener("abort", abort);
  }
}

interface TrialPlace {
  folder: string;
  shared: SharedOpenings;
  signal: AbortSignal;
  options: StudyOptions;
  clock: Clock;
}

async function runHere(
  trial: PlannedTrial,
  { folder, shared, signal, watch, options, clock }: TrialPlace & { watch: Callback },
): Promise<TrialRecord | null> {
  const { arm, seed } = trial;
  const { onNote, onReady } = options;
  return runTrial({
    ...{ arm: arm.name, seed, layers: arm.layers(seed), isolated: false, signal, clock, peakResidentBytes },
    folder: studyPaths(folder).run(arm.name, seed),
    opened: await shared.open(arm.config),
    callbacks: [watch, ...(options.callbacks?.(trial) ?? [])],
    ...(onNote ? { onNote } : {}),
    ...(onReady ? { onReady } : {}),
  });
}

async function runApart(
  { arm, seed }: PlannedTrial,
  { folder, shared, signal, deadline, options, clock }: TrialPlace & { deadline: number },
): Promise<TrialRecord | null> {
  const tokenizer = await shared.tokenizerFile(arm.config);
  const left = deadline - clock.monotonicMs();
  const input: ChildInput = {
    ...{ arm: arm.name, seed, layers: arm.layers(seed), tokenizer },
    folder: studyPaths(folder).run(arm.name, seed),
    maxMs: Number.isFinite(left) ? left : null,
  };
  return runInChild<ChildInput, TrialRecord | null>(
    new URL(`./trial-child.${import.meta.url.slice(-2)}`, import.meta.url).href,
    input,
    {
      signal,
      onMessage: (message) => options.onNote?.((message as ChildMessage).note),
    },
  );
}

interface SharedOpenings {
  open(config: RunConfig): Promise<OpenedRuns>;
  /** The tokenizer of a config's text, as a file: what a process of its own takes. */
  tokenizerFile(config: RunConfig): Promise<string>;
  close(): Promise<void>;
}

/** What trials share, opened when the first one asks for it; its text and tokenizer are held to those of earlier calls. */
function openedByKey(folder: string, study: Study, { onNote, signal }: StudyOptions): SharedOpenings {
  const opened = new Map<string, OpenedRuns>();
  const checked = new Set<string>();
  const reading = { ...(onNote ? { onNote } : {}), ...(signal ? { signal } : {}) };
  const nameOf = (config: RunConfig) => textKey(config);

  /** The tokenizer that an earlier call trained on the same text. */
  function savedTokenizer(config: RunConfig): Tokenizer | undefined {
    const path = studyPaths(folder).tokenizer(nameOf(config));
    return config.tokenizer.file === null && exists(path) ? loadTokenizer(path) : undefined;
  }

  function check(config: RunConfig, data: TrainingData): void {
    const key = nameOf(config);
    if (checked.has(key)) return;
    const { validation, tokenizer, about } = data;
    if (!validation)
      throw new DataError(
        `study ${study.name}: there is no validation text to compare arms on; name some (--val-data), or set data.validFraction above 0`,
      );
    const now: StudyData = {
      identity: about.identity,
      validationIdentity: validation.stream.identity,
      tokenizer: tokenizer.hash,
      tokens: about.tokens,
      validationTokens: validation.stream.tokenCount,
    };
    const { trials: _, unfinishedLines: __, ...meta } = readStudy(folder);
    const before = meta.data[key];
    if (!before) {
      writeAtomically(studyPaths(folder).tokenizer(key), formatTokenizerJson(tokenizer.toJson()));
      writeStudyMeta(folder, { ...meta, data: { ...meta.data, [key]: now } });
    } else
      for (const [field, what] of [
        ["identity", "training text"],
        ["validationIdentity", "validation text"],
        ["tokenizer", "tokenizer"],
      ] as const)
        if (before[field] !== now[field])
          throw new UsageError(
            `${folder}: its trials had another ${what} than what is named now; name the same text, or another folder (-o)`,
          );
    checked.add(key);
  }

  return {
    async open(config) {
      const key = openedKey(config);
      const there = opened.get(key);
      if (there) return there;
      const tokenizer = savedTokenizer(config);
      const made = await openRuns(config, { ...reading, ...(tokenizer ? { tokenizer } : {}) });
      opened.set(key, made);
      check(config, made.data);
      return made;
    },
    async tokenizerFile(config) {
      if (!checked.has(nameOf(config))) {
        const tokenizer = savedTokenizer(config);
        const data = await prepareTrainingData(config, { ...reading, ...(tokenizer ? { tokenizer } : {}) });
        try {
          check(config, data);
        } finally {
          data.close();
        }
      }
      return studyPaths(folder).tokenizer(nameOf(config));
    },
    async close() {
      for (const one of opened.values()) await one.close();
    },
  };
}

/** Of the keys that decide text and tokens; where files are does not. */
function textKey({ data, tokenizer, model }: RunConfig): string {
  const { files, validFiles, cacheDir, localCopy, prefetch, verify, ...rest } = data;
  const vocabSize = tokenizer.kind === "characters" ? null : model.vocabSize;
  const named = { count: [files.length, validFiles.length], kind: tokenizer.kind, rest, vocabSize };
  return sha256Of(JSON.stringify(named)).slice(0, 16);
}
