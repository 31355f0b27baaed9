/** `bitnet eval --task`: runs tasks one after the other, shows them as a table, writes them as the harness does. */
import { type Command, InvalidArgumentError } from "commander";
import type { HarnessTask, JudgedCompletion, SandboxReport, TaskFiles, TaskSample } from "../../eval/index.ts";
import type { OpenedEngine } from "../../infer/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { formatCount, formatDuration, formatRate, formatShare, formatTable } from "./format.ts";
import { type Interruption, listenForInterrupts } from "./interrupt.ts";
import { refuseOtherOptions } from "./eval-options.ts";
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
  python?: string;
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
    .option("--allow-code-execution", "run the programs that humaneval's model writes, shut in")
    .option("--completions <file>", "humaneval: judge these (.jsonl: task_id, completion), or `canonical`; no model")
    .option("--samples <n>", "humaneval: programs for each problem", wholeNumber(1), 1)
    .option("--k <list>", "humaneval: pass@k for these k (default: 1)", numbers)
    .option("--temperature <t>", "humaneval: of writing; 0: the likeliest token", decimalNumber(0), 0)
    .option("--top-p <p>", "humaneval: of writing", decimalNumber(0, 1), 0.95)
    .option("--max-new-tokens <n>", "humaneval: of a program", wholeNumber(1), 1024)
    .option("--seed <n>", "humaneval: of writing", wholeNumber(0), 1234)
    .option("--program-seconds <n>", "humaneval: of the processor for a program", wholeNumber(1), 3)
    .option("--program-memory <MiB>", "humaneval: of a program", wholeNumber(64), 1024)
    .option("--python <path>", "humaneval: interpreter (default: python3)");
}

type Options = TaskOptions & { task: string[] };

/** What a task leaves: for the table, for the JSON, for the logs. */
interface Ran {
  result: HarnessTask;
  /** Lines for people behind the table. */
  notes: string[];
  samples?: readonly (TaskSample | JudgedCompletion)[];
}

/** What tasks run on: the engine, or, for wikitext, the training-time model. One of them is open at a time. */
interface Models {
  engine(): Promise<OpenedEngine>;
  model(): Promise<OpenedForUse>;
  /** What was opened last, for the results; null: nothing was. */
  about: Record<string, unknown> | null;
  close(): void;
}

interface Bench {
  options: Options;
  files: TaskFiles;
  models: Models;
  interruption: Interruption;
  progress: ProgressLine;
  /** Milliseconds by a clock that does not go back. */
  now(): number;
}

export async function runTasks(options: Options, command: Command): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const { refuseWithoutConsent, taskNames } = await import("../../eval/index.ts");
  const names = await namesOf(options);
  if (names.length === 0) throw new UsageError(`--task names no task; tasks are: ${taskNames.join(", ")}`);
  for (const name of names)
    if (!taskNames.includes(name)) throw new UsageError(`unknown task "${name}"; tasks are: ${taskNames.join(", ")}`);
  await refuseOtherOptions(command, names);
  // What is wrong is said before the model is loaded, not hours later.
  if (names.includes("humaneval")) refuseWithoutConsent(options.allowCodeExecution === true);
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
  const ran: Ran[] = [];
  try {
    const bench: Bench = {
      options: { ...options, data: wikiFiles },
      files: {
        path: options.taskData,
        fewshotPath: options.fewshotData,
        cacheDir: options.cacheDir,
        hub: {
          url: options.hubUrl ?? process.env.HF_ENDPOINT,
          accessToken: process.env.HF_TOKEN,
          signal: interruption.signal,
          onDownload: ({ repo, path }) => process.stderr.write(`downloading ${path} of ${repo}\n`),
        },
      },
      models,
      interruption,
      progress,
      now: systemClock.monotonicMs,
    };
    for (const name of names) {
      const one = name === "wikitext" ? wikitext : name === "humaneval" ? humanEval : likelihoodTask;
      ran.push(await one(bench, name));
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

function openOnDemand(path: string, options: Options): Models {
  let open: { kind: "engine"; opened: OpenedEngine } | { kind: "model"; opened: OpenedForUse } | null = null;
  const close = () => {
    if (open?.kind === "model") open.opened.model.dispose();
    open?.opened.close();
    open = null;
  };
  const models: Models = {
    about: null,
    close,
    async engine() {
      if (open?.kind === "engine") return open.opened;
      close();
      const opened = await openForWriting(path, options);
      const { folder, step, config, backend, kind } = opened;
      models.about = about(folder, step, config.variant, backend, kind);
      open = { kind: "engine", opened };
      return opened;
    },
    async model() {
      if (open?.kind === "model") return open.opened;
      close();
      const opened = await openModel(path, options);
      models.about = about(opened.folder, opened.step, opened.config.variant, opened.runtime.backend, "float");
      open = { kind: "model", opened };
      return opened;
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
) => ({ checkpoint: folder, step, variant, engine, backend: { name, isa, threads } });

/** Shows how far a task is, its rate, and the time left. */
function reporter({ progress, now }: Bench, label: string, unit: string) {
  const start = now();
  return (done: number, total: number, count = done) => {
    const elapsed = Math.max(1, now() - start);
    const left = formatDuration((elapsed / done) * (total - done));
    progress.update(done, total, `${label}, ${formatRate((1000 * count) / elapsed, unit)}, ${left} left`);
  };
}

async function likelihoodTask(bench: Bench, name: string): Promise<Ran> {
  const { evaluateNamedTask, toHarnessTask } = await import("../../eval/index.ts");
  const { options, files, interruption } = bench;
  const { engine, tokenizer, startToken } = await bench.models.engine();
  const show = reporter(bench, name, "tokens");
  const result = await evaluateNamedTask(engine, tokenizer, name, files, {
    batch: options.batch,
    startToken,
    fewshot: options.numFewshot,
    fewshotSeed: options.fewshotSeed,
    limit: options.limit,
    samples: options.logSamples !== undefined,
    signal: interruption.signal,
    onProgress: ({ items, totalItems, tokens }) => show(items, totalItems, tokens),
  });
  const notes: string[] = [];
  for (const { name: metric, withinNoise, baselines = [] } of result.metrics)
    if (withinNoise)
      notes.push(
        `${name}: ${metric} is within noise of what needs no model (${baselines.map((share) => formatShare(share)).join(", ")})`,
      );
  if (result.truncatedRequests > 0)
    notes.push(`${name}: ${formatCount(result.truncatedRequests)} requests lost the beginning of their context`);
  return { result: toHarnessTask(result), notes, samples: result.samples };
}

/** The training-time model; where an engine is asked for, or how it holds what it reads, that engine. */
async function wikiTextModel({ options, models }: Bench) {
  const { engine, weightsType, headType, cacheType } = options;
  if (engine === "packed" || weightsType || headType || cacheType) {
    const { engine: by, tokenizer, step } = await models.engine();
    return { by, tokenizer, ...pageStart(step, tokenizer) };
  }
  const opened = await models.model();
  const tokenizer = tokenizerOf(opened);
  return { by: opened.model, tokenizer, ...pageStart(opened.step, tokenizer) };
}

/** What a page's first token is predicted from: end-of-text after a training here, else as the harness has it. */
const pageStart = (step: number | null, { endOfText }: Tokenizer) => (step === null ? {} : { startToken: endOfText });

async function wikitext(bench: Bench): Promise<Ran> {
  const { readDocuments } = await import("../../corpus/index.ts");
  const { evaluateWikiText } = await import("../../eval/index.ts");
  const { options, interruption, progress, now } = bench;
  const { by, tokenizer, ...pageBegin } = await wikiTextModel(bench);
  const start = now();
  const data = options.data as string[];
  const { batch, sequence } = options;
  const result = await evaluateWikiText(by, tokenizer, readDocuments(data, { format: "wikitext" }), {
    batch,
    sequence,
    ...pageBegin,
    signal: interruption.signal,
    onProgress: ({ tokens }) =>
      progress.update(
        tokens,
        tokens,
        `wikitext, ${formatRate((1000 * tokens) / Math.max(1, now() - start), "tokens")}`,
      ),
  });
  const metric = (name: string, value: number) => ({ name, value, standardError: null, higherIsBetter: false });
  const { pages, words, bytes, tokens, tokenPerplexity, lossNats } = result;
  return {
    result: {
      task: "wikitext",
      version: 2,
      metrics: [
        metric("word_perplexity", result.wordPerplexity),
        metric("byte_perplexity", result.bytePerplexity),
        metric("bits_per_byte", result.bitsPerByte),
      ],
      fewshot: 0,
      items: pages,
      totalItems: pages,
      details: {
        token_perplexity: tokenPerplexity,
        loss: lossNats,
        pages,
        words,
        bytes,
        tokens,
        sequence: result.sequence,
        source: data.join(", "),
      },
    },
    notes: [
      `wikitext: ${formatCount(pages)} pages, ${formatCount(words)} words, ${formatCount(bytes)} bytes; ${formatCount(tokens)} tokens in rolling windows of ${formatCount(result.sequence)}, perplexity ${tokenPerplexity.toPrecision(6)} per token`,
    ],
  };
}

async function humanEval(bench: Bench): Promise<Ran> {
  const evaluation = await import("../../eval/index.ts");
  const { defaultSandboxLimits, humaneval, judgeCompletions, openTaskData, readProblems } = evaluation;
  const { options, files, interruption } = bench;
  const { signal } = interruption;
  const data = await openTaskData(humaneval, files, false);
  const problems = readProblems(data.rows, options.limit);
  const written = await completionsFor(bench, problems);
  const show = reporter(bench, "humaneval: running programs", "programs");
  const result = await judgeCompletions(problems, written.completions, {
    allowCodeExecution: options.allowCodeExecution === true,
    limits: {
      ...defaultSandboxLimits,
      cpuSeconds: options.programSeconds,
      wallMs: 10_000 * options.programSeconds,
      memoryBytes: options.programMemory * 2 ** 20,
    },
    python: options.python,
    k: options.k,
    concurrency: Math.max(1, Math.min(4, options.threads ?? 2)),
    signal,
    onProgress: ({ programs, totalPrograms }) => show(programs, totalPrograms),
  });
  const { sandbox } = result;
  return {
    result: {
      task: "humaneval",
      version: humaneval.version,
      metrics: result.metrics,
      fewshot: 0,
      items: problems.length,
      totalItems: data.rows.length,
      filter: "create_test",
      config: { unsafe_code: true, repeats: result.samplesPerProblem, generation_kwargs: written.settings },
      details: { sandbox, source: data.source, ...written.details },
    },
    notes: [describeSandbox(sandbox), ...written.notes],
    samples: result.completions,
  };
}

async function completionsFor(
  bench: Bench,
  problems: Parameters<typeof import("../../eval/index.ts").writeCompletions>[2],
) {
  const { canonicalCompletions, humaneval, readCompletions, writeCompletions } = await import("../../eval/index.ts");
  const { completions: path, samples, temperature, topP, maxNewTokens, seed } = bench.options;
  if (path !== undefined) {
    const completions = path === "canonical" ? canonicalCompletions(problems) : await readCompletions(path);
    return { completions, settings: {}, details: { completions: path }, notes: [] };
  }
  const { createRandom } = await import("../../platform/random.ts");
  const { engine, tokenizer, startToken } = await bench.models.engine();
  const show = reporter(bench, "humaneval: writing programs", "tokens");
  const { completions, truncatedPrompts, tokens } = await writeCompletions(engine, tokenizer, problems, {
    samples,
    maxTokens: maxNewTokens,
    temperature,
    topP,
    random: createRandom(seed),
    startToken,
    signal: bench.interruption.signal,
    onProgress: ({ items, totalItems, tokens: done }) => show(items, totalItems, done),
  });
  return {
    completions,
    settings: {
      until: humaneval.stop,
      max_gen_toks: maxNewTokens,
      do_sample: temperature > 0,
      temperature,
      top_p: topP,
    },
    details: { truncated_prompts: truncatedPrompts, tokens, seed },
    notes: truncatedPrompts > 0 ? [`humaneval: ${truncatedPrompts} prompts lost their beginning`] : [],
  };
}

/** What kept the programs in, as it was measured. */
function describeSandbox({ python, network, writes, memory, disk }: SandboxReport): string {
  const says = (yes: boolean, what: string, not: string) => (yes ? what : not);
  return `humaneval: programs ran in ${python}: no new processes; ${[
    says(network, "no network", "THE NETWORK COULD BE REACHED, for the system cannot forbid it"),
    says(writes, "no writing outside a scratch folder", "files of this user COULD BE WRITTEN"),
    says(memory, "memory limited", "memory NOT limited"),
    says(disk, "disk limited", "disk limited by file and by watching"),
  ].join("; ")}`;
}

async function writeSamples({ logSamples }: Options, { result, samples }: Ran): Promise<void> {
  if (logSamples === undefined || !samples) return;
  const { joinPath, writeAtomically } = await import("../../platform/files.ts");
  const lines = samples.map((sample) => `${JSON.stringify(sample)}\n`);
  writeAtomically(joinPath(logSamples, `samples_${result.task}.jsonl`), lines.join(""));
}

async function report(options: Options, { about: model }: Models, ran: readonly Ran[], elapsedMs: number) {
  const { toHarnessResults } = await import("../../eval/index.ts");
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
  for (const note of ran.flatMap(({ notes }) => notes)) process.stdout.write(`${note}\n`);
  process.stdout.write(`time: ${formatDuration(elapsedMs)}\n`);
}
