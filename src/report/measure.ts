/**
 * Measures models for a report: training from the run's folder; text, tasks and size one model after the other; speed of all
 * of them in turns. What cannot be measured is a note, not a number; parts are kept as they are done (store.ts).
 */
import {
  measureSize,
  measureText,
  measureTraining,
  type TextMeasurement,
  type TrainingMeasurement,
} from "../analysis/index.ts";
import { type BackendChoice, createBackend } from "../backends/index.ts";
import type { OpenedModel } from "../exchange/index.ts";
import { listCheckpoints } from "../checkpoint/index.ts";
import { expandSources, prepareTokens } from "../corpus/index.ts";
import { openTokens, type TokenStream } from "../data/index.ts";
import { UnsupportedError, UsageError } from "../platform/errors.ts";
import { exists, sha256Of, sha256OfFile } from "../platform/files.ts";
import { type Clock, describeMachine, packageVersion } from "../platform/system.ts";
import { Runtime } from "../tensor/index.ts";
import { createDocumentEncoder, type Tokenizer } from "../tokenizer/index.ts";
import { countTextBytes } from "../train/text-bytes.ts";
import { isRun, prepareTrainingData, readMeta, readRunConfig, resolveConfig, runPaths } from "../train/index.ts";
import { comparedEngine, openTimed, type TimedModel, type TimedResult, timeModels } from "./contenders.ts";
import type { ModelMeasurement } from "./measurement.ts";
import { identityOf, type ModelSource, openSource, weightsNote } from "./sources.ts";
import type { Made, MeasurementStore } from "./store.ts";
import { checkTasks, scoresOfFile, scoreTasks, type TaskPart, type TaskPlan } from "./tasks.ts";

export interface MeasureOptions {
  /** No two of one name. */
  models: readonly ModelSource[];
  backend: BackendChoice;
  /** The text that all are scored on; absent: what the first run validated on. */
  data?: readonly string[];
  /** Score only the first so many tokens. */
  maxTokens?: number;
  /** Where encoded text is kept. */
  cacheDir: string;
  /** Tasks to run on each, with their data. */
  tasks?: TaskPlan;
  /** Results files of lm-evaluation-harness, each of one model, by its name. */
  results?: readonly { name: string; path: string }[];
  /** Default true. */
  size?: boolean;
  /** null: not timed. */
  speed: { samples?: number; promptTokens?: number; generatedTokens?: number } | null;
  store: MeasurementStore;
  clock: Clock;
  signal?: AbortSignal;
  /** What is being done, and how far it is. */
  onProgress?: (what: string, done?: number, total?: number) => void;
}

export async function measureModels(options: MeasureOptions): Promise<ModelMeasurement[]> {
  const { models, speed, store, clock, signal, onProgress = () => {} } = options;
  if (options.tasks) await checkTasks(options.tasks);
  const read = readResults(options);
  const text = textFor(options);
  const measured: ModelMeasurement[] = [];
  const identities: string[] = [];
  const runnable: number[] = [];
  for (const [i, source] of models.entries()) {
    const { name, path, weights } = source;
    signal?.throwIfAborted();
    onProgress(`${name}: reading`);
    if (!weights && isRun(path) && listCheckpoints(runPaths(path).checkpoints).length === 0) {
      measured.push(measureRunAlone(name, path, options));
      continue;
    }
    const identity = identityOf(source);
    identities.push(identity);
    measured.push(await measureOne(source, identity, text, options));
    runnable.push(i);
  }
  for (const one of measured) {
    const { scores, notes } = read.get(one.name) ?? { scores: [], notes: [] };
    one.tasks.push(...scores);
    one.notes.push(...notes);
  }
  if (speed === null) for (const one of measured) one.notes.push("speed was not asked for");
  else if (runnable.length > 0) {
    const contenders = runnable.map((i) => models[i]);
    const { backend } = measured[runnable[0]];
    const key = { identities, speed, backend, comparedEngine };
    const names = contenders.map(({ name }) => name).join("-");
    const timed = await store.part({ model: names, part: "speed", key, backend }, () => timeAll(contenders, options));
    for (const [at, i] of runnable.entries()) {
      measured[i].speed = timed.value[at];
      measured[i].made.speed = timed.made;
    }
  }
  for (const one of measured) one.measuredMs = clock.epochMs();
  return measured;
}

/**
 * Scores that were measured elsewhere, by model.
 *
 * @throws UsageError for a name that is no model's, or a score that comes twice: from two files, or also from a task to be run
 */
function readResults({ results = [], models, tasks }: MeasureOptions): Map<string, TaskPart> {
  const read = new Map<string, TaskPart>();
  for (const { name, path } of results) {
    if (!models.some((model) => model.name === name))
      throw new UsageError(
        `--results: no model is called "${name}"; models are: ${models.map((model) => model.name).join(", ")}`,
      );
    const part = scoresOfFile(path);
    const before = read.get(name) ?? { scores: [], notes: [] };
    for (const { task, metric } of part.scores) {
      if (tasks?.names.includes(task))
        throw new UsageError(`${path}: has scores of ${task}, which is also to be run (--task); leave one out`);
      const twice = before.scores.find((score) => score.task === task && score.metric === metric);
      if (twice)
        throw new UsageError(`${name}: ${task} ${metric} stands in ${twice.source} and in ${path}; leave one out`);
    }
    read.set(name, { scores: [...before.scores, ...part.scores], notes: [...before.notes, ...part.notes] });
  }
  return read;
}

/** What is scored: files; or what the first run held out of its training text; a note where there is nothing. */
type Text = { files: string[] } | { heldOutBy: string; of: string[] } | { note: string };

function textFor({ data, models }: MeasureOptions): Text {
  if (data && data.length > 0) return { files: expandSources(data) };
  const run = models.find(({ path, weights }) => !weights && isRun(path))?.path;
  if (run === undefined) return { note: "no text was named (--data), and there is no run that names one" };
  const { data: config } = resolveConfig([{ from: run, patch: readRunConfig(run), resolved: true }]);
  const missing = [...config.files, ...config.validFiles].find((file) => !exists(file));
  if (config.validFiles.length > 0 && config.validFiles.every(exists))
    return { files: expandSources(config.validFiles) };
  if (missing !== undefined)
    return { note: `no text was scored: the run names ${missing}, which is not here; name a text with --data` };
  if (config.validFraction === 0) return { note: "no text was scored: the run held none out; name one with --data" };
  return { heldOutBy: run, of: config.files };
}

/** Of one file its own hash, which anyone can check; of several that of their hashes, a line each. */
const hashOf = (files: readonly string[]): string =>
  files.length === 1 ? sha256OfFile(files[0]) : sha256Of(files.map(sha256OfFile).join("\n"));

async function measureOne(
  source: ModelSource,
  identity: string,
  text: Text,
  options: MeasureOptions,
): Promise<ModelMeasurement> {
  const { store, signal, size = true, tasks, clock, onProgress = () => {} } = options;
  const { name, path, weights } = source;
  const notes: string[] = weights ? [weightsNote[weights.kind]] : [];
  const training: TrainingMeasurement | null = !weights && isRun(path) ? measureTraining(path) : null;
  const backend = await createBackend(options.backend);
  try {
    const opened = await openSource(source, new Runtime(backend), { signal });
    try {
      for (const { path: refused, reason } of opened.refused) notes.push(`not using ${refused}: ${reason}`);
      const { model, tokenizer, step } = opened;
      const random = weights?.kind === "random";
      const made: Record<string, Made> = {};
      const scored = random ? null : await scoreText(name, opened, identity, text, { notes, made, backend }, options);
      let part: TaskPart = { scores: [], notes: [] };
      if (tasks && tasks.names.length > 0 && !random) {
        if (!tokenizer) throw new UsageError(`${path}: has no tokenizer, so no task can be run`);
        const around = { store, backend, made, signal, onProgress };
        part = await scoreTasks({ name, identity, model, step, tokenizer }, tasks, around);
      }
      notes.push(...part.notes);
      if (size) onProgress(`${name}: writing a compact file to weigh it`);
      const weigh = () =>
        store.part({ model: name, part: "size", key: { identity, bits: "linear" }, backend }, () =>
          measureSize(model, tokenizer, { signal }),
        );
      const weighed = size ? await heldOrNull(weigh, notes) : null;
      if (weighed) made.size = weighed.made;
      else if (!size) notes.push("size was not asked for");
      return {
        format: "bitnet.ts measurement",
        version: 1,
        name,
        path,
        ...(weights ? { weights: weights.kind } : {}),
        step,
        config: opened.config,
        parameters: model.parameters.reduce((sum, parameter) => sum + parameter.size, 0),
        tokenizer: tokenizer && { name: tokenizer.name, vocabSize: tokenizer.vocabSize, hash: tokenizer.hash },
        training,
        text: scored,
        tasks: part.scores,
        size: weighed?.value ?? null,
        speed: null,
        made,
        machine: describeMachine(),
        backend: { name: backend.name, isa: backend.isa, threads: backend.threads },
        software: packageVersion(),
        measuredMs: clock.epochMs(),
        notes,
      };
    } finally {
      opened.model.dispose();
    }
  } finally {
    backend.close();
  }
}

/** null with a note where there is nothing to score, or nothing to score it with. */
/** Of a model that a compact file cannot hold there is no size, and a note says why. */
async function heldOrNull<T>(weigh: () => Promise<T>, notes: string[]): Promise<T | null> {
  try {
    return await weigh();
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    notes.push(`size: not applicable, ${error.message}`);
    return null;
  }
}

async function scoreText(
  name: string,
  opened: OpenedModel,
  identity: string,
  text: Text,
  { notes, made, backend }: { notes: string[]; made: Record<string, Made>; backend: Made["backend"] },
  options: MeasureOptions,
): Promise<ModelMeasurement["text"]> {
  const { store, maxTokens = null } = options;
  const keep = async (key: unknown, score: () => Promise<TextMeasurement>) => {
    const kept = await store.part({ model: name, part: "text", key, backend }, score);
    made.text = kept.made;
    return kept.value;
  };
  const { tokenizer } = opened;
  if ("note" in text) {
    notes.push(text.note);
    return null;
  }
  if (!tokenizer) {
    notes.push("the model came without a tokenizer, so no text was scored");
    return null;
  }
  if ("files" in text) {
    const { files } = text;
    const sha256 = hashOf(files);
    const score = () => scoreFiles(name, opened, tokenizer, files, options);
    return { ...(await keep({ identity, sha256, maxTokens }, score)), files, sha256 };
  }
  const { heldOutBy, of } = text;
  const meta = readMeta(heldOutBy);
  if (meta?.tokenizer.hash !== tokenizer.hash) {
    notes.push(`the text that ${heldOutBy} held out is in another tokenizer's tokens; name a text with --data`);
    return null;
  }
  const sha256 = sha256Of(`held out of ${meta.data.identity}`);
  const key = { identity, sha256, config: readRunConfig(heldOutBy), maxTokens };
  const score = () => scoreHeldOut(name, opened, tokenizer, heldOutBy, options);
  const files = of.map((file) => `held out of ${file}`);
  return { ...(await keep(key, score)), files, sha256 };
}

/** A run that was cut short before its first checkpoint: its curves, and a word. */
function measureRunAlone(name: string, path: string, { clock }: MeasureOptions): ModelMeasurement {
  const training = measureTraining(path);
  const [session] = training.sessions.slice(-1);
  return {
    format: "bitnet.ts measurement",
    version: 1,
    name,
    path,
    step: null,
    config: (training.config as { model: ModelMeasurement["config"] }).model,
    parameters: training.parameters.total,
    tokenizer: training.tokenizer,
    training,
    text: null,
    tasks: [],
    size: null,
    speed: null,
    made: {},
    machine: describeMachine(),
    backend: { name: session.backend, isa: session.isa, threads: session.threads },
    software: packageVersion(),
    measuredMs: clock.epochMs(),
    notes: ["the run has no checkpoint yet, so there are no weights to measure: only its curves are shown"],
  };
}

async function scoreFiles(
  name: string,
  opened: OpenedModel,
  tokenizer: Tokenizer,
  files: readonly string[],
  options: MeasureOptions,
): Promise<TextMeasurement> {
  const { cacheDir, backend, signal, onProgress = () => {} } = options;
  onProgress(`${name}: encoding the text`);
  const encoder = createDocumentEncoder(tokenizer, { threads: backend.threads, signal });
  try {
    const prepared = await prepareTokens({ sources: files, tokenizer: encoder, cacheDir, signal });
    const tokens = openTokens(prepared.folder, "train");
    try {
      return await scoreStream(name, opened, tokenizer, tokens, options);
    } finally {
      tokens.close();
    }
  } finally {
    await encoder.close();
  }
}

/** What a run validated on where it had no files for that: held out of its training text, found in the cache. */
async function scoreHeldOut(
  name: string,
  opened: OpenedModel,
  tokenizer: Tokenizer,
  run: string,
  options: MeasureOptions,
): Promise<TextMeasurement> {
  const config = resolveConfig([{ from: run, patch: readRunConfig(run), resolved: true }]);
  const corpus = await prepareTrainingData(config, { tokenizer, signal: options.signal });
  try {
    if (!corpus.validation) throw new UsageError(`${run}: holds no text out; name one with --data`);
    return await scoreStream(name, opened, tokenizer, corpus.validation.stream, options);
  } finally {
    corpus.close();
  }
}

function scoreStream(
  name: string,
  { model }: OpenedModel,
  tokenizer: Tokenizer,
  tokens: TokenStream,
  { maxTokens, signal, onProgress = () => {} }: MeasureOptions,
): Promise<TextMeasurement> {
  // The bytes of a part, or of a stream that is itself a part of one, are counted.
  const part = (maxTokens !== undefined && maxTokens < tokens.tokenCount) || tokens.textBytes === 0;
  const end = Math.min(maxTokens ?? tokens.tokenCount, tokens.tokenCount);
  const textBytes = part ? countTextBytes(tokenizer, tokens, 0, end) : undefined;
  return measureText(model, tokens, {
    maxTokens,
    textBytes,
    signal,
    onProgress: (done, total) => onProgress(`${name}: scoring the text`, done, total),
  });
}

/** Every model open at once, in turns. */
async function timeAll(
  models: MeasureOptions["models"],
  { backend, speed, clock, signal, onProgress = () => {} }: MeasureOptions,
): Promise<TimedResult[]> {
  const opened: TimedModel[] = [];
  try {
    for (const source of models) {
      onProgress(`${source.name}: packing`);
      opened.push(
        await openTimed(source.name, backend, async (runtime) => (await openSource(source, runtime, { signal })).model),
      );
    }
    return await timeModels(opened, { ...speed!, clock, signal, onProgress });
  } finally {
    for (const one of opened) one.close();
  }
}
