/**
 * A training run from beginning to end, as one call: config, tokenizer, data, model, callbacks, run folder, report. The
 * command line is a thin layer over this.
 */
import type { Backend } from "../backends/index.ts";
import {
  listCheckpoints,
  readTokenizer,
  restoreCallbackTensors,
  restoreCheckpoint,
  saveCheckpoint,
  verifyCheckpoint,
} from "../checkpoint/index.ts";
import { restoreWeights } from "../checkpoint/model-folder.ts";
import { type BatchFeed, openFeed, prefetchFeed, type SourceUse } from "../data/index.ts";
import { Transformer } from "../model/index.ts";
import type { Precision } from "../ops/op.ts";
import { FormatError, UsageError } from "../platform/errors.ts";
import type { FolderLock } from "../platform/lock.ts";
import { createRandom } from "../platform/random.ts";
import { type Clock, peakResidentBytes, processName, residentBytes, systemClock } from "../platform/system.ts";
import { Runtime } from "../tensor/index.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import { createCallbacks } from "./callbacks.ts";
import { checkpoints } from "./callbacks/checkpoints.ts";
import { earlyStopping } from "./callbacks/early-stopping.ts";
import { evaluation } from "./callbacks/evaluation.ts";
import { metrics } from "./callbacks/metrics.ts";
import { type SampleText, samples } from "./callbacks/samples.ts";
import { scalarsFile } from "./callbacks/scalars-file.ts";
import { type Summary, summary } from "./callbacks/summary.ts";
import { tensorboard } from "./callbacks/tensorboard.ts";
import { type ConfigLayer, checkProgressive, deriveRun } from "./config.ts";
import type { RunConfig } from "./config-schema.ts";
import { chooseRun, layersOf, namedPreset, type RunChoice } from "./choose-run.ts";
import { checkDataFiles, prepareTrainingData } from "./corpus.ts";
import type { Callback, StopReason, Training } from "./events.ts";
import { beTaught, sameTeacher, sizedByTeacher, type Teaching, tokenizerOfTeacher } from "./distillation/teaching.ts";
import { openTeacher } from "./distillation/teacher.ts";
import { freeze, restoreFrozen } from "./freezing.ts";
import { createObjectives } from "./objectives.ts";
import { besideTeacher, distillationObjectives } from "./objectives/distillation.ts";
import type { WeightedObjective } from "./objectives/weighted.ts";
import { createOptimizer, type NamedTensor, type Optimizer, withParameters } from "./optimizers.ts";
import { lockRun, makeRunFolder, type ResumePoint, runPaths } from "./run-folder.ts";
import { readTrainingState } from "./saved-state.ts";
import { checkStart, type StartingPoint, startingPoint, startTokenizer } from "./starting-point.ts";
import { checkOpened, openBackend, type OpenedRuns } from "./opened-runs.ts";
import { countParameters, type ReadyRun, recordRun } from "./record-run.ts";
import { runTraining } from "./trainer.ts";
import type { TrainingData } from "./training-data.ts";

export interface TrainOptions extends RunChoice {
  /** A backend and text that the caller opened for several runs (opened-runs.ts), and closes; absent: opened here. */
  opened?: OpenedRuns;
  /** Makes the sampler of a model, where samples are wanted: infer/ is not known here. */
  sampler?: (parts: { model: Transformer; tokenizer: Tokenizer; runtime: Runtime }) => SampleText;
  /** More callbacks, told after metrics and those of `train.callbacks`, and before evaluation, samples and saving. */
  callbacks?: readonly Callback[];
  /** Told when everything is ready, before the first step. */
  onReady?: (run: ReadyRun) => void;
  /** Aborting it ends the run after the step under way, saved; before training, it throws the signal's reason. */
  signal?: AbortSignal;
}

export interface TrainReport extends Pick<Summary, "epochs" | "elapsedMs" | "dataWaitMs" | "best"> {
  reason: StopReason;
  /** Steps done in all, by every process that worked on the run. */
  step: number;
  totalTokens: number;
  skippedSteps: number;
  /** Of the steps alone: evaluation, samples and saving left out. */
  tokensPerSecond: number;
  /**
   * The first and the last evaluation; null without validation text. A run that was interrupted may not have been evaluated
   * since: `after.step` is then less than `step`, and 0 where both are the evaluation before the first step.
   */
  before: Summary["first"];
  after: Summary["last"];
  /** Of a mixture: what each source has given, over all processes that worked on the run. */
  sources: readonly SourceUse[] | null;
  folder: string;
  /** The last checkpoint, and that of the lowest validation loss where it was kept. */
  checkpoint: string | null;
  bestCheckpoint: string | null;
  parameters: ReadyRun["parameters"];
  peakMemoryBytes: number;
  /** Checkpoints that were passed over when the run was resumed, and why. */
  refused: ResumePoint["refused"];
}

/**
 * Trains, or goes on training, and says how it went.
 *
 * @throws UsageError where another process trains in the same folder; UsageError, DataError, FileError, FormatError for input that cannot be used; DivergenceError; what was saved
 *   stays
 */
export async function train(options: TrainOptions): Promise<TrainReport> {
  const locks: FolderLock[] = [];
  try {
    return await trainLocked(options, (folder) => locks.push(lockRun(folder, options.onNote)));
  } finally {
    for (const lock of locks) lock.release();
  }
}

/** @param claim locks the run's folder, once it is known, before anything in it is believed */
async function trainLocked(options: TrainOptions, claim: (folder: string) => void): Promise<TrainReport> {
  const { clock = systemClock, signal, onNote = () => {} } = options;
  const start = options.from === undefined ? null : await startingPoint(options.from, onNote);
  // Under everything that is asked for: what contradicts the weights is then seen, and refused.
  const asked = layersOf(options.config);
  const { config, resume, folder, changes } = chooseRun(options, start?.layers ?? [], asked, clock, claim);
  const layers = [...(start?.layers ?? []), ...asked];
  if (start) checkStart(start, config);
  if (start && !resume && namedPreset(asked) === undefined)
    onNote(`training settings are those of "${config.preset}" (${start.why}); name a preset to take others`);
  for (const { path, reason } of resume?.refused ?? []) onNote(`not using ${path}: ${reason}`);
  if (resume) {
    const from = resume.checkpoint
      ? `step ${resume.checkpoint.state.step}`
      : "the beginning: there is no checkpoint yet";
    onNote(`going on with ${folder} from ${from}`);
    if (changes.length > 0) onNote(`going on with other settings: ${changes.join("; ")}`);
  } else if (options.resume)
    onNote(`${options.runFolder === undefined ? "no earlier run to resume; " : ""}starting a new run in ${folder}`);
  checkDataFiles(config);

  const { opened } = options;
  const backend = opened?.backend ?? (await openBackend(config));
  const open: { close(): void | Promise<void> }[] = opened ? [] : [backend];
  try {
    const precision = choosePrecision(config.train.precision, backend);
    const runtime = new Runtime(backend, precision);
    const { teacher: named } = config.distill;
    const teacher = named === null ? null : await openTeacher(named, runtime, onNote);
    if (teacher) open.push({ close: teacher.dispose });
    const wanted = resume || start || !teacher ? config : sizedByTeacher(config, layers, teacher);
    let undo = resume ? () => {} : makeRunFolder(folder, claim);
    // Once a step is done there is something to go on with.
    const begun: Callback = {
      name: "begun",
      on: ({ type }) => {
        if (type === "step") undo = () => {};
      },
    };
    try {
      const own = resume ? savedTokenizer(resume, config) : start && startTokenizer(start, config);
      const tokenizer = own ?? (teacher && tokenizerOfTeacher(config, layers, teacher));
      if (start && !resume?.checkpoint) onNote(`beginning from the weights in ${start.folder}`);
      if (opened) checkOpened(opened, wanted, tokenizer);
      const corpus = opened
        ? opened.data.forRun(wanted)
        : await prepareTrainingData(wanted, { tokenizer: tokenizer ?? undefined, onNote, signal });
      open.push(corpus);
      const { feed, ahead } = openTrainingFeed(config, corpus);
      open.push({ close: () => feed.close?.() });
      const data = { feed, ahead, corpus };
      // A run that goes on, and one from weights that are there, has the vocabulary that it had; a student its teacher's.
      const sized = resume || start || teacher ? wanted : sizedByCharacters(config, layers, corpus.tokenizer, onNote);
      const taught = teacher && (await beTaught(sized, { teacher, corpus, runtime, onNote, signal }));
      if (taught) open.push({ close: taught.close });
      const told = { ...options, callbacks: [begun, ...(options.callbacks ?? [])] };
      return await runWith({ config: sized, data, runtime, taught, resume, start, folder, clock, options: told });
    } catch (error) {
      undo();
      throw error;
    }
  } finally {
    for (const opened of open.reverse()) await opened.close();
  }
}

/** One token for each character: where nobody asked for a vocabulary of some size, the model has that of the text. */
function sizedByCharacters(
  config: RunConfig,
  layers: readonly ConfigLayer[],
  { vocabSize }: Tokenizer,
  onNote: (text: string) => void,
): RunConfig {
  const { kind, file } = config.tokenizer;
  // "arithmetic" is made for characters: its vocabulary is that of its generated text, and some room.
  const asked = config.preset === "arithmetic" || layers.some(({ patch }) => patch.model?.vocabSize !== undefined);
  if (kind !== "characters" || file !== null || vocabSize >= config.model.vocabSize || asked) return config;
  onNote(
    `the model's vocabulary is ${vocabSize}: the characters of the text (the preset's is ${config.model.vocabSize})`,
  );
  return { ...config, model: { ...config.model, vocabSize } };
}

/** Data prepared ahead may be large, and lie on a slow disk: worth a thread. Text was just encoded here. */
const prefetchPrepared = 4;

function openTrainingFeed({ data }: RunConfig, corpus: TrainingData): { feed: BatchFeed; ahead: number } {
  const ahead = data.prefetch === "auto" ? (corpus.prepared ? prefetchPrepared : 0) : data.prefetch;
  return { ahead, feed: ahead > 0 ? prefetchFeed(corpus.feed, ahead) : openFeed(corpus.feed) };
}

function choosePrecision(wanted: RunConfig["train"]["precision"], backend: Backend): Precision {
  if (wanted === "auto") return backend.supports.bf16 ? "bf16" : "fp32";
  if (wanted === "bf16" && !backend.supports.bf16)
    throw new UsageError(
      `the ${backend.name} backend (${backend.isa}) does not multiply bfloat16; use --train.precision fp32`,
    );
  if (wanted === "int8" && !backend.supports.int8Gradients)
    throw new UsageError(
      `the ${backend.name} backend (${backend.isa}) has no int8 gradients; use --train.precision fp32`,
    );
  return wanted;
}

/** A run's own tokenizer. @throws FormatError where another one is asked for now */
function savedTokenizer({ folder, checkpoint }: ResumePoint, config: RunConfig): Tokenizer | null {
  const saved = checkpoint ? readTokenizer(checkpoint.path, config.model) : null;
  const { file } = config.tokenizer;
  if (saved && file !== null && loadTokenizer(file).hash !== saved.hash)
    throw new FormatError(`${file}: is another tokenizer than the one in ${folder}; a run keeps its tokenizer`);
  return saved;
}

async function runWith(parts: {
  config: RunConfig;
  data: { feed: BatchFeed; ahead: number; corpus: TrainingData };
  runtime: Runtime;
  taught: Teaching | null;
  resume: ResumePoint | null;
  start: StartingPoint | null;
  folder: string;
  clock: Clock;
  options: TrainOptions;
}): Promise<TrainReport> {
  const { config, runtime, taught, resume, start, folder, clock, options } = parts;
  const { backend, precision } = runtime;
  const { feed: data, ahead, corpus } = parts.data;
  const { tokenizer } = corpus;
  const { seed } = config.train;
  if (!resume) checkProgressive(config, data.batchesPerEpoch);
  const derived = deriveRun(config, data.batchesPerEpoch);
  const model = new Transformer(runtime, config.model, seed);
  // Its state is made for what is trained: what is frozen is frozen first.
  const saved = resume?.checkpoint;
  const state = saved ? readTrainingState(saved.path, saved.state.training) : undefined;
  if (state) restoreFrozen(model.parameters, state.controls?.frozen ?? []);
  else freeze(model.parameters, config.train.freeze);
  let objectives: WeightedObjective[] = [];
  let made: Optimizer | undefined;
  try {
    const context = { runtime, model, steps: derived.steps };
    objectives = await createObjectives(config.train.objectives, context);
    if (taught) {
      const { alpha } = config.distill;
      const list = distillationObjectives({
        runtime,
        student: model,
        teacher: taught.by,
        settings: config.distill,
        seed,
      });
      objectives = [...besideTeacher(objectives, alpha), ...list];
    }
    const ownParameters = objectives.flatMap(({ objective }) => objective.parameters ?? []);
    made = createOptimizer(runtime, [...model.parameters, ...ownParameters], config.optimizer);
    const optimizer = made;
    const saving = withParameters(optimizer, ownParameters);
    if (resume?.checkpoint && state) {
      await restoreCheckpoint(resume.checkpoint.path, resume.checkpoint.state, model, saving);
      data.restore(state.data);
    } else if (start) await restoreWeights(start.folder, model, { asStart: true });
    const paths = runPaths(folder);
    const ready: ReadyRun = {
      config,
      derived,
      folder,
      fromStep: state?.step ?? 0,
      parameters: countParameters(model.parameters),
      backend: { name: backend.name, isa: backend.isa, threads: backend.threads, precision },
      trainingTokens: corpus.about.tokens,
      validationTokens: corpus.validation?.tokens ?? 0,
      sources: data.use?.() ?? null,
      prefetch: ahead,
      model,
      tokenizer,
    };
    recordRun(ready, corpus, clock, options);
    options.onReady?.(ready);

    const result = summary();
    const named = [...createCallbacks(config.train.callbacks), ...(options.callbacks ?? [])];
    const callbacks: Callback[] = named.filter((callback) => callback.beforeMetrics);
    callbacks.push(metrics(config.metrics, residentBytes), scalarsFile(paths.scalars), result);
    if (config.metrics.tensorboard) callbacks.push(tensorboard(paths.metrics, clock, processName()));
    if (taught) callbacks.push(sameTeacher(taught));
    callbacks.push(...named.filter((callback) => !callback.beforeMetrics));
    if (corpus.validation) callbacks.push(evaluation(corpus.validation, config.evaluation.every));
    const { patience, minDelta } = config.evaluation;
    if (patience !== null) {
      if (!corpus.validation)
        throw new UsageError("evaluation.patience wants validation text; give some, or set it to null");
      callbacks.push(earlyStopping(patience, minDelta));
    }
    const { every } = config.samples;
    const sample = options.sampler?.({ model, tokenizer, runtime });
    const sampling =
      every !== null && sample
        ? samples({ ...config.samples, every }, sample, paths.samples, options.onNote ?? (() => {}))
        : null;
    if (sampling) callbacks.push(sampling.drawing);
    const checkpointing = checkpoints(config.checkpoints, paths.checkpoints, async (path, training) => {
      // Saved weights are quantised anew when loaded; going on must do the same at this point.
      if (config.model.requantizeEvery > 1) for (const layer of model.ternaryLayers) layer.forgetQuantized();
      const saved = training.state();
      const callbackTensors = tensorsOf(callbacks, { runtime, model });
      const state = { step: saved.step, training: saved, callbackTensors };
      await saveCheckpoint(path, { model, tokenizer, optimizer: saving, ...state });
    });
    callbacks.push(checkpointing);
    if (sampling) callbacks.push(sampling.writing);

    if (saved && state) {
      const known = callbacks.filter(({ name }) => state.callbacks[name] !== undefined);
      await restoreCallbackTensors(saved.path, tensorsOf(known, { runtime, model }), runtime);
    }
    // The thread's start is no part of the first step.
    await data.ready?.();
    const outcome = await runTraining(
      {
        runtime,
        model,
        objectives,
        data,
        optimizer,
        schedule: derived.schedule,
        quantization: derived.quantization ? (step) => derived.quantization!.at(step) : undefined,
        termsEvery: config.metrics.termsEvery,
        steps: derived.steps,
        microBatch: derived.microBatch,
        clipNorm: config.optimizer.clipNorm,
        maxSkippedSteps: config.train.maxSkippedSteps,
        callbacks,
        clock,
        // Beside the data's and the weights' own use of the seed: samples.
        random: createRandom(state?.random ?? seed + 1),
        signal: options.signal,
        rollBack: {
          available: (step) => checkpointBefore(paths.checkpoints, step) !== undefined,
          async find(step) {
            const { path } = checkpointBefore(paths.checkpoints, step)!;
            const saved = verifyCheckpoint(path);
            const then = readTrainingState(path, saved.training);
            const going = callbacks.filter((c) => !c.keepsStateOnRollBack && then.callbacks[c.name] !== undefined);
            return {
              state: then,
              async restore() {
                await restoreCheckpoint(path, saved, model, saving);
                await restoreCallbackTensors(path, tensorsOf(going, { runtime, model }), runtime);
              },
            };
          },
        },
      },
      state,
    );
    const { epochs, elapsedMs, dataWaitMs, tokens, first, last: after, best: bestMeasured } = result.summary();
    return {
      reason: outcome.reason,
      step: outcome.state.step,
      totalTokens: outcome.state.totalTokens,
      skippedSteps: outcome.state.skippedSteps,
      epochs,
      elapsedMs,
      dataWaitMs,
      tokensPerSecond: elapsedMs > 0 ? (tokens * 1000) / elapsedMs : 0,
      before: first,
      after,
      best: bestMeasured,
      sources: data.use?.() ?? null,
      folder,
      ...checkpointing.found(),
      parameters: ready.parameters,
      peakMemoryBytes: peakResidentBytes(),
      refused: resume?.refused ?? [],
    };
  } finally {
    for (const { objective } of objectives) objective.dispose?.();
    made?.dispose();
    model.dispose();
  }
}

/** What callbacks keep in tensors, by the callback's name. */
const tensorsOf = (callbacks: readonly Callback[], parts: Pick<Training, "runtime" | "model">): NamedTensor[] =>
  callbacks.flatMap(({ name, tensors }) =>
    (tensors?.(parts) ?? []).map((entry) => ({ name: `${name}.${entry.name}`, tensor: entry.tensor })),
  );

/** The newest up to this step: one beyond it is of a part of the run that was lost. */
const checkpointBefore = (folder: string, step: number) => listCheckpoints(folder).findLast((c) => c.step <= step);
