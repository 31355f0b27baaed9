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
import { listCheckpoints, loadModel, type OpenedModel, resolveModelFolder } from "../checkpoint/index.ts";
import { expandSources, openTokens, prepareTokens, type TokenStream } from "../data/index.ts";
import { evaluateNamedTask, type TaskFiles } from "../eval/index.ts";
import { TransformerEngine } from "../infer/index.ts";
import { startTokenOf } from "../infer/open-engine.ts";
import { UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath, listFolder, sha256Of, sha256OfFile } from "../platform/files.ts";
import { type Clock, describeMachine, packageVersion } from "../platform/system.ts";
import { Runtime } from "../tensor/index.ts";
import { createDocumentEncoder, type Tokenizer } from "../tokenizer/index.ts";
import { countTextBytes } from "../train/text-bytes.ts";
import { isRun, prepareCorpus, readMeta, readRunConfig, resolveConfig, runPaths } from "../train/index.ts";
import { comparedEngine, openTimed, type TimedModel, type TimedResult, timeModels } from "./contenders.ts";
import type { ModelMeasurement, TaskScore } from "./measurement.ts";
import type { MeasurementStore } from "./store.ts";

export interface MeasureOptions {
  /** Names for columns and legends, and paths: runs, checkpoints, model folders, files. */
  models: readonly { name: string; path: string }[];
  backend: BackendChoice;
  /** The text that all are scored on; absent: what the first run validated on. */
  data?: readonly string[];
  /** Score only the first so many tokens. */
  maxTokens?: number;
  /** Where encoded text is kept. */
  cacheDir: string;
  /** Harness tasks, each with its data. */
  tasks?: { names: readonly string[]; files: TaskFiles; limit?: number; batch: number };
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
  const text = textFor(options);
  const measured: ModelMeasurement[] = [];
  const identities: string[] = [];
  const runnable: number[] = [];
  for (const [i, { name, path }] of models.entries()) {
    signal?.throwIfAborted();
    onProgress(`${name}: reading`);
    if (isRun(path) && listCheckpoints(runPaths(path).checkpoints).length === 0) {
      measured.push(measureRunAlone(name, path, options));
      continue;
    }
    const identity = identityOf(path);
    identities.push(identity);
    measured.push(await measureOne(name, path, identity, text, options));
    runnable.push(i);
  }
  if (speed === null) for (const one of measured) one.notes.push("speed was not asked for");
  else if (runnable.length > 0) {
    const contenders = runnable.map((i) => models[i]);
    const { backend } = measured[runnable[0]];
    const key = { identities, speed, backend, comparedEngine };
    const names = contenders.map(({ name }) => name).join("-");
    const found = await store.part(names, "speed", key, () => timeAll(contenders, options));
    for (const [at, i] of runnable.entries()) measured[i].speed = found[at];
  }
  for (const one of measured) one.measuredMs = clock.epochMs();
  return measured;
}

/** What is scored: files; or what the first run held out of its training text; a note where there is nothing. */
type Text = { files: string[] } | { heldOutBy: string; of: string[] } | { note: string };

function textFor({ data, models }: MeasureOptions): Text {
  if (data && data.length > 0) return { files: expandSources(data) };
  const run = models.find(({ path }) => isRun(path))?.path;
  if (run === undefined) return { note: "no text was named (--data), and there is no run that names one" };
  const { data: config } = resolveConfig([{ from: run, patch: readRunConfig(run) }]);
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

/** Names the weights: the hashes that a checkpoint keeps, or those of its files. */
function identityOf(path: string): string {
  if (!exists(path)) return path; // a name on the hub
  if (describePath(path).kind === "file") return sha256OfFile(path);
  const { folder } = resolveModelFolder(path);
  const state = joinPath(folder, "trainer_state.json");
  if (exists(state)) return sha256OfFile(state);
  const files = listFolder(folder).filter((name) => /\.(safetensors|json)$/.test(name));
  return sha256Of(
    files
      .sort()
      .map((name) => `${name} ${sha256OfFile(joinPath(folder, name))}`)
      .join("\n"),
  );
}

async function measureOne(
  name: string,
  path: string,
  identity: string,
  source: Text,
  options: MeasureOptions,
): Promise<ModelMeasurement> {
  const { store, signal, size = true, tasks, clock, onProgress = () => {} } = options;
  const notes: string[] = [];
  const training: TrainingMeasurement | null = isRun(path) ? measureTraining(path) : null;
  const backend = await createBackend(options.backend);
  try {
    const opened = await loadModel(path, new Runtime(backend), { signal });
    try {
      for (const { path: refused, reason } of opened.refused) notes.push(`not using ${refused}: ${reason}`);
      const { model, tokenizer } = opened;
      let text: ModelMeasurement["text"] = null;
      if ("note" in source) notes.push(source.note);
      else if (!tokenizer) notes.push("the model came without a tokenizer, so no text was scored");
      else if ("files" in source) {
        const sha256 = hashOf(source.files);
        const key = { identity, sha256, maxTokens: options.maxTokens ?? null };
        const score = () => scoreFiles(name, opened, tokenizer, source.files, options);
        text = { ...(await store.part(name, "text", key, score)), files: source.files, sha256 };
      } else {
        const { heldOutBy, of } = source;
        const meta = readMeta(heldOutBy);
        if (meta?.tokenizer.hash !== tokenizer.hash)
          notes.push(`the text that ${heldOutBy} held out is in another tokenizer's tokens; name a text with --data`);
        else {
          const sha256 = sha256Of(`held out of ${meta.data.identity}`);
          const key = { identity, sha256, config: readRunConfig(heldOutBy), maxTokens: options.maxTokens ?? null };
          const score = () => scoreHeldOut(name, opened, tokenizer, heldOutBy, options);
          const files = of.map((file) => `held out of ${file}`);
          text = { ...(await store.part(name, "text", key, score)), files, sha256 };
        }
      }
      const scores: TaskScore[] = [];
      for (const task of tasks?.names ?? []) {
        if (!tokenizer) throw new UsageError(`${path}: has no tokenizer, so no task can be run`);
        const { files, limit, batch } = tasks!;
        const key = { identity, task, limit: limit ?? null, files: files.path ?? null };
        scores.push(
          ...(await store.part(name, `task-${task}`, key, () =>
            runTask(name, task, opened, tokenizer, { files, limit, batch }, options),
          )),
        );
      }
      if (size) onProgress(`${name}: writing a compact file to weigh it`);
      const weighed = size
        ? await store.part(name, "size", { identity }, () => measureSize(model, tokenizer, { signal }))
        : null;
      if (!size) notes.push("size was not asked for");
      return {
        format: "bitnet.ts measurement",
        version: 1,
        name,
        path,
        step: opened.step,
        config: opened.config,
        parameters: model.parameters.reduce((sum, parameter) => sum + parameter.size, 0),
        tokenizer: tokenizer && { name: tokenizer.name, vocabSize: tokenizer.vocabSize, hash: tokenizer.hash },
        training,
        text,
        tasks: scores,
        size: weighed,
        speed: null,
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
  const config = resolveConfig([{ from: run, patch: readRunConfig(run) }]);
  const corpus = await prepareCorpus(config, { tokenizer, signal: options.signal });
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

async function runTask(
  name: string,
  task: string,
  { model, step }: OpenedModel,
  tokenizer: Tokenizer,
  { files, limit, batch }: { files: TaskFiles; limit?: number; batch: number },
  { signal, onProgress = () => {} }: MeasureOptions,
): Promise<TaskScore[]> {
  const engine = new TransformerEngine(model);
  try {
    const result = await evaluateNamedTask(engine, tokenizer, task, files, {
      batch,
      limit,
      startToken: startTokenOf(step, tokenizer),
      signal,
      onProgress: ({ items, totalItems }) => onProgress(`${name}: ${task}`, items, totalItems),
    });
    return result.metrics.map(({ name: metric, value, standardError, higherIsBetter, withinNoise }) => ({
      ...{ task, metric, value, standardError, higherIsBetter, items: result.items, fewshot: result.fewshot },
      ...(withinNoise === undefined ? {} : { withinNoise }),
    }));
  } finally {
    engine.dispose();
  }
}

/** Every model open at once, in turns. */
async function timeAll(
  models: MeasureOptions["models"],
  { backend, speed, clock, signal, onProgress = () => {} }: MeasureOptions,
): Promise<TimedResult[]> {
  const opened: TimedModel[] = [];
  try {
    for (const { path, name } of models) {
      onProgress(`${name}: packing`);
      opened.push(
        await openTimed(name, backend, async (runtime) => (await loadModel(path, runtime, { signal })).model),
      );
    }
    return await timeModels(opened, { ...speed!, clock, signal, onProgress });
  } finally {
    for (const one of opened) one.close();
  }
}
