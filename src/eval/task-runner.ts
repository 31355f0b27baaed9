/**
 * Runs one task of any kind on a model: a likelihood task (run-tasks.ts), WikiText (wikitext.ts), HumanEval (humaneval.ts).
 * `bitnet eval --task` and the reports run theirs here. It opens no model and prints nothing: engine and model are asked for
 * when a task needs one, and progress is numbers.
 */
import { readDocuments } from "../corpus/index.ts";
import type { Engine } from "../infer/engine.ts";
import { UsageError } from "../platform/errors.ts";
import { sha256OfFile } from "../platform/files.ts";
import { defaultSandboxLimits, type SandboxLimits, type SandboxReport } from "../platform/python-sandbox.ts";
import { createRandom } from "../platform/random.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { findWikiText } from "./find-tasks.ts";
import { type HarnessTask, toHarnessTask } from "./harness-results.ts";
import {
  canonicalCompletions,
  type JudgedCompletion,
  judgeCompletions,
  readCompletions,
  readProblems,
  refuseWithoutConsent,
  writeCompletions,
} from "./humaneval.ts";
import { evaluateTask, type TaskSample } from "./run-tasks.ts";
import type { ScoringModel } from "./score.ts";
import { openTaskData, type TaskData, type TaskFiles } from "./task-source.ts";
import { humaneval } from "./tasks/humaneval.ts";
import { checkTaskName, findTask } from "./tasks/index.ts";
import { evaluateWikiText, type WikiTextResult } from "./wikitext.ts";

/** A tokenizer with the token before a text; null: none. */
interface Read {
  tokenizer: Tokenizer;
  startToken: number | null;
}

/** Whatever a task runs on, opened when it is asked for. The caller closes it. */
export interface TaskModels {
  /** For "writing" a text is written token by token; for "scoring" likelihoods are read, many at once. */
  engine(use: "scoring" | "writing"): Promise<Read & { engine: Engine }>;
  /** For WikiText: the model as it was trained, or an engine. `startToken` is as pageStartOf gives it; null: the harness's rule. */
  model(): Promise<Read & { model: ScoringModel | Engine }>;
}

/** HumanEval's programs. */
export interface ProgramOptions {
  /** They are run only if this is true. */
  allowCodeExecution?: boolean;
  /** Judge the programs of this file, or "canonical" ones; no model is asked. */
  completions?: string;
  /** For each problem; default 1. */
  samples?: number;
  /** Tokens of one at most; default 1024, the harness's `max_gen_toks`. */
  maxNewTokens?: number;
  /** Default 0: greedy. */
  temperature?: number;
  /** Default 1. */
  topP?: number;
  /** Of the draws; default 1234. */
  seed?: number;
  limits?: Partial<SandboxLimits>;
  /** pass@k for these k. */
  k?: readonly number[];
  /** Programs run at once; default 2. */
  concurrency?: number;
}

export interface RunTaskOptions {
  /** Items at once. */
  batch: number;
  /** WikiText: T of the windows; default: the model's context. */
  sequence?: number;
  /** Only a task's first so many items. */
  limit?: number;
  /** Examples before each item, and the seed of their draw. */
  fewshot?: number;
  fewshotSeed?: number;
  /** Keep what was asked and answered, item by item. */
  samples?: boolean;
  programs?: ProgramOptions;
  signal?: AbortSignal;
  onProgress?: (progress: TaskPhaseProgress) => void;
}

export interface TaskPhaseProgress {
  phase: "scoring" | "writing" | "running";
  /** Items; 0 when the phase begins. `total` is null where it is not known (WikiText). */
  done: number;
  total: number | null;
  /** Tokens so far; programs where they are run. */
  count: number;
}

/** A task with its data, read and checked. */
export type OpenTask =
  | { kind: "likelihood" | "humaneval"; name: string; data: TaskData }
  | { kind: "wikitext"; name: string; paths: readonly string[] };

export interface TaskOutcome {
  /** As lm-evaluation-harness writes it. */
  result: HarnessTask;
  /** Requests, or prompts, whose beginning did not fit the model's context. */
  truncated: number;
  /** WikiText's numbers. */
  wikitext?: WikiTextResult;
  /** What kept HumanEval's programs in. */
  sandbox?: SandboxReport;
  samples?: readonly (TaskSample | JudgedCompletion)[];
}

/**
 * Says what is wrong with a list of tasks before anything is opened.
 *
 * @throws UsageError for an unknown name, or for HumanEval without consent
 */
export function checkTaskNames(names: readonly string[], allowCodeExecution: boolean): void {
  for (const name of names) checkTaskName(name);
  if (names.includes("humaneval")) refuseWithoutConsent(allowCodeExecution);
}

/**
 * @param wikiText  files of the task `wikitext`; default: what is in `files`
 * @throws as openTaskData; UsageError where there is no text for `wikitext`
 */
export async function openTask(
  name: string,
  files: TaskFiles,
  { fewshot = 0, wikiText }: { fewshot?: number; wikiText?: readonly string[] } = {},
): Promise<OpenTask> {
  if (name === "wikitext") return { kind: "wikitext", name, paths: wikiText ?? [wikiTextIn(files)] };
  if (name === "humaneval") return { kind: "humaneval", name, data: await openTaskData(humaneval, files, false) };
  return { kind: "likelihood", name, data: await openTaskData(findTask(name), files, fewshot > 0) };
}

/** Reads every row of a task's data. @throws DataError naming a bad row's file, line and field */
export function checkRows(task: OpenTask): void {
  if (task.kind === "humaneval") readProblems(task.data.rows);
  if (task.kind !== "likelihood") return;
  const found = findTask(task.name);
  for (const row of [...task.data.rows, ...(task.data.fewshotRows ?? [])]) found.read(row);
}

/** Where a task's data are from, and their hash; that of WikiText's first file. */
export function sourceOf(task: OpenTask): { source: string; sha256: string } {
  if (task.kind !== "wikitext") return { source: task.data.source, sha256: task.data.sha256 };
  return { source: task.paths.join(", "), sha256: sha256OfFile(task.paths[0]) };
}

/** @throws as evaluateTask, evaluateWikiText, writeCompletions and judgeCompletions */
export function runTask(task: OpenTask, models: TaskModels, options: RunTaskOptions): Promise<TaskOutcome> {
  if (task.kind === "wikitext") return runWikiText(task.paths, models, options);
  return task.kind === "humaneval" ? runHumanEval(task.data, models, options) : runLikelihood(task, models, options);
}

function wikiTextIn({ path = [] }: TaskFiles): string {
  const places = typeof path === "string" ? [path] : path;
  const found = findWikiText(places);
  if (found === null)
    throw new UsageError(
      `wikitext: ${places.length > 0 ? `there is no wiki.test.raw or wiki.valid.raw in ${places.join(", ")}` : "is not downloaded"}; give the file with --task-data`,
    );
  return found;
}

async function runLikelihood(
  { name, data }: Extract<OpenTask, { kind: "likelihood" | "humaneval" }>,
  models: TaskModels,
  { batch, limit, fewshot, fewshotSeed, samples, signal, onProgress }: RunTaskOptions,
): Promise<TaskOutcome> {
  const { engine, tokenizer, startToken } = await models.engine("scoring");
  onProgress?.({ phase: "scoring", done: 0, total: null, count: 0 });
  const result = await evaluateTask(engine, tokenizer, findTask(name), data, {
    ...{ batch, startToken, fewshot, fewshotSeed, limit, samples, signal },
    onProgress: ({ items, totalItems, tokens }) =>
      onProgress?.({ phase: "scoring", done: items, total: totalItems, count: tokens }),
  });
  return { result: toHarnessTask(result), truncated: result.truncatedRequests, samples: result.samples };
}

async function runWikiText(
  paths: readonly string[],
  models: TaskModels,
  { batch, sequence, signal, onProgress }: RunTaskOptions,
): Promise<TaskOutcome> {
  const { model, tokenizer, startToken } = await models.model();
  onProgress?.({ phase: "scoring", done: 0, total: null, count: 0 });
  const wikitext = await evaluateWikiText(model, tokenizer, readDocuments(paths, { format: "wikitext" }), {
    ...{ batch, sequence, startToken, signal },
    onProgress: ({ tokens }) => onProgress?.({ phase: "scoring", done: tokens, total: null, count: tokens }),
  });
  const metric = (name: string, value: number) => ({ name, value, standardError: null, higherIsBetter: false });
  const { pages, words, bytes, tokens, tokenPerplexity, lossNats } = wikitext;
  const result: HarnessTask = {
    task: "wikitext",
    version: 2,
    metrics: [
      metric("word_perplexity", wikitext.wordPerplexity),
      metric("byte_perplexity", wikitext.bytePerplexity),
      metric("bits_per_byte", wikitext.bitsPerByte),
    ],
    fewshot: 0,
    items: pages,
    totalItems: pages,
    details: {
      token_perplexity: tokenPerplexity,
      loss: lossNats,
      ...{ pages, words, bytes, tokens },
      sequence: wikitext.sequence,
      source: paths.join(", "),
    },
  };
  return { result, truncated: 0, wikitext };
}

async function runHumanEval(data: TaskData, models: TaskModels, options: RunTaskOptions): Promise<TaskOutcome> {
  const { limit, programs = {}, signal, onProgress } = options;
  const problems = readProblems(data.rows, limit);
  const written = await programsFor(problems, models, options);
  onProgress?.({ phase: "running", done: 0, total: null, count: 0 });
  const judged = await judgeCompletions(problems, written.completions, {
    allowCodeExecution: programs.allowCodeExecution === true,
    limits: { ...defaultSandboxLimits, ...programs.limits },
    k: programs.k,
    concurrency: programs.concurrency ?? 2,
    signal,
    onProgress: ({ programs, totalPrograms }) =>
      onProgress?.({ phase: "running", done: programs, total: totalPrograms, count: programs }),
  });
  const { sandbox, metrics, completions, samplesPerProblem } = judged;
  const result: HarnessTask = {
    task: "humaneval",
    version: humaneval.version,
    metrics,
    fewshot: 0,
    items: problems.length,
    totalItems: data.rows.length,
    filter: "create_test",
    config: { unsafe_code: true, repeats: samplesPerProblem, generation_kwargs: written.settings },
    details: { sandbox, source: data.source, ...written.details },
  };
  return { result, truncated: written.truncated, sandbox, samples: completions };
}

/** The programs that are judged: written now, or those of a file. */
async function programsFor(
  problems: ReturnType<typeof readProblems>,
  models: TaskModels,
  { programs = {}, signal, onProgress }: RunTaskOptions,
) {
  const { completions: path, samples = 1, temperature = 0, topP = 1, maxNewTokens = 1024, seed = 1234 } = programs;
  if (path !== undefined) {
    const completions = path === "canonical" ? canonicalCompletions(problems) : await readCompletions(path);
    return { completions, settings: {}, details: { completions: path }, truncated: 0 };
  }
  const { engine, tokenizer, startToken } = await models.engine("writing");
  onProgress?.({ phase: "writing", done: 0, total: null, count: 0 });
  const { completions, truncatedPrompts, tokens } = await writeCompletions(engine, tokenizer, problems, {
    ...{ samples, maxTokens: maxNewTokens, temperature, topP, startToken, signal },
    random: createRandom(seed),
    onProgress: ({ items, totalItems, tokens }) =>
      onProgress?.({ phase: "writing", done: items, total: totalItems, count: tokens }),
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
    truncated: truncatedPrompts,
  };
}
