/**
 * Scores of a model on tasks for a report: run here (likelihood tasks and HumanEval on the fastest exact engine, WikiText on
 * the model itself), or read from a results file of lm-evaluation-harness. docs/evaluation.md defines the numbers.
 */
import type { OpenedModel } from "../exchange/index.ts";
import { readDocuments } from "../corpus/index.ts";
import {
  defaultSandboxLimits,
  evaluateTask,
  evaluateWikiText,
  findTask,
  findWikiText,
  humaneval,
  judgeCompletions,
  type Metric,
  openTaskData,
  readHarnessResults,
  readProblems,
  type ReadScore,
  refuseWithoutConsent,
  type TaskData,
  type TaskFiles,
  taskNames,
  writeCompletions,
} from "../eval/index.ts";
import { type Engine, packModel, TransformerEngine } from "../infer/index.ts";
import { startTokenOf } from "../infer/start-token.ts";
import { UsageError } from "../platform/errors.ts";
import { sha256OfFile } from "../platform/files.ts";
import { createRandom } from "../platform/random.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { TaskScore } from "./measurement.ts";
import type { Made, MeasurementStore } from "./store.ts";

export interface TaskPlan {
  names: readonly string[];
  files: TaskFiles;
  /** Only a task's first so many items. */
  limit?: number;
  /** Examples before each item; default 0. */
  fewshot?: number;
  /** Items at once. */
  batch: number;
  /** HumanEval's programs are run only if this is true. */
  allowCodeExecution?: boolean;
  /** HumanEval: tokens of a program at most. */
  maxNewTokens?: number;
}

/** What a task leaves behind. */
export interface TaskPart {
  scores: TaskScore[];
  /** What a reader must know. */
  notes: string[];
}

interface Opened {
  name: string;
  identity: string;
  model: OpenedModel["model"];
  step: number | null;
  tokenizer: Tokenizer;
}

interface Around {
  store: MeasurementStore;
  backend: Made["backend"];
  /** Takes how each task was measured, under "task-NAME". */
  made: Record<string, Made>;
  signal?: AbortSignal;
  onProgress(what: string, done?: number, total?: number): void;
}

/** The harness's `max_gen_toks`. */
const programTokens = 1024;

/**
 * Says what is wrong with a plan before hours are spent on what comes before the tasks: names, consent, files, every row.
 *
 * @throws UsageError, FileError, FormatError; DataError naming a bad row's file, line and field
 */
export async function checkTasks(plan: TaskPlan): Promise<void> {
  const unknown = plan.names.find((name) => !taskNames.includes(name));
  if (unknown !== undefined) throw new UsageError(`unknown task "${unknown}"; tasks are: ${taskNames.join(", ")}`);
  const twice = plan.names.find((name, i) => plan.names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`task ${twice} is named twice`);
  if (plan.names.includes("humaneval")) refuseWithoutConsent(plan.allowCodeExecution === true);
  for (const name of plan.names) {
    if (name === "wikitext") wikiTextOf(plan.files);
    else if (name === "humaneval") readProblems((await openTaskData(humaneval, plan.files, false)).rows);
    else {
      const task = findTask(name);
      const { rows, fewshotRows } = await openTaskData(task, plan.files, (plan.fewshot ?? 0) > 0);
      for (const row of [...rows, ...(fewshotRows ?? [])]) task.read(row);
    }
  }
}

/** Every task of the plan, each kept as it is done. */
export async function scoreTasks(opened: Opened, plan: TaskPlan, around: Around): Promise<TaskPart> {
  const { name: model, identity } = opened;
  const { store, backend, signal } = around;
  const { fewshot = 0, maxNewTokens = programTokens } = plan;
  const parts: TaskPart[] = [];
  const keep = async (task: string, key: unknown, run: () => Promise<TaskPart>) => {
    const part = `task-${task}`;
    const kept = await store.part({ model, part, key, backend }, run);
    around.made[part] = kept.made;
    parts.push(kept.value);
  };
  const open = new Map<boolean, Engine>();
  /** @param packed else as in training */
  const engineOf = async (packed: boolean) => {
    const engine = open.get(packed) ?? (packed ? await packModel(opened.model) : new TransformerEngine(opened.model));
    open.set(packed, engine);
    return engine;
  };
  // All of them exact: f32 heads and caches, and matrices as they are. Batches of ternary models share each pass over packed
  // weights; float ones read faster by training's products, and write faster packed.
  const ternary = opened.model.config.variant === "bitnet";
  try {
    for (const name of plan.names) {
      signal?.throwIfAborted();
      // All rows are all rows, whatever the limit over their number.
      const asked = (rows: number) => ({ identity, name, fewshot, limit: Math.min(plan.limit ?? rows, rows) });
      if (name === "wikitext") {
        const path = wikiTextOf(plan.files);
        const sha256 = sha256OfFile(path);
        await keep(name, { identity, name, sha256 }, () => wikiText(opened, path, sha256, around));
      } else if (name === "humaneval") {
        const data = await openTaskData(humaneval, plan.files, false);
        const key = { ...asked(data.rows.length), sha256: data.sha256, maxNewTokens };
        const run = async () => humanEval(opened, await engineOf(true), data, plan, around);
        await keep(name, key, run);
      } else {
        const data = await openTaskData(findTask(name), plan.files, fewshot > 0);
        const run = async () => likelihoods(opened, await engineOf(ternary), name, data, plan, around);
        await keep(name, { ...asked(data.rows.length), sha256: data.sha256 }, run);
      }
    }
  } finally {
    for (const engine of open.values()) engine.dispose();
  }
  return { scores: parts.flatMap(({ scores }) => scores), notes: parts.flatMap(({ notes }) => notes) };
}

const count = (n: number): string => n.toLocaleString("en-US");

function toScores(
  task: string,
  metrics: readonly Metric[],
  about: Pick<TaskScore, "items" | "fewshot" | "source" | "sha256">,
): TaskScore[] {
  return metrics.map(({ name: metric, value, standardError, higherIsBetter, withinNoise, baselines }) => ({
    ...{ task, metric, value, standardError, higherIsBetter, ...about },
    ...(withinNoise === undefined ? {} : { withinNoise }),
    ...(baselines === undefined ? {} : { baselines }),
  }));
}

async function likelihoods(
  { name: model, step, tokenizer }: Opened,
  engine: Engine,
  name: string,
  data: TaskData,
  { limit, fewshot, batch }: TaskPlan,
  { signal, onProgress }: Around,
): Promise<TaskPart> {
  const result = await evaluateTask(engine, tokenizer, findTask(name), data, {
    ...{ batch, limit, fewshot, signal },
    startToken: startTokenOf(step, tokenizer),
    onProgress: ({ items, totalItems }) => onProgress(`${model}: ${name}`, items, totalItems),
  });
  const { metrics, items, source, sha256, truncatedRequests: cut } = result;
  return {
    scores: toScores(name, metrics, { items, fewshot: result.fewshot, source, sha256 }),
    notes: [
      ...(cut > 0
        ? [
            `${name}: ${count(cut)} requests lost the beginning of their context, which did not fit the model's ${count(engine.contextLength)} tokens`,
          ]
        : []),
      ...(items < result.totalItems ? [`${name}: only ${count(items)} of ${count(result.totalItems)} items`] : []),
    ],
  };
}

async function humanEval(
  { name: model, step, tokenizer }: Opened,
  engine: Engine,
  { rows, source, sha256 }: TaskData,
  { limit, allowCodeExecution, maxNewTokens = programTokens }: TaskPlan,
  { signal, onProgress }: Around,
): Promise<TaskPart> {
  const problems = readProblems(rows, limit);
  const written = await writeCompletions(engine, tokenizer, problems, {
    samples: 1,
    maxTokens: maxNewTokens,
    temperature: 0, // greedy: the random numbers are not asked for
    topP: 1,
    random: createRandom(1234),
    startToken: startTokenOf(step, tokenizer),
    signal,
    onProgress: ({ items, totalItems }) => onProgress(`${model}: humaneval, writing programs`, items, totalItems),
  });
  const { metrics, sandbox } = await judgeCompletions(problems, written.completions, {
    allowCodeExecution: allowCodeExecution === true,
    limits: defaultSandboxLimits,
    concurrency: 2,
    signal,
    onProgress: ({ programs, totalPrograms }) =>
      onProgress(`${model}: humaneval, running them`, programs, totalPrograms),
  });
  const { truncatedPrompts: cut } = written;
  return {
    scores: toScores("humaneval", metrics, { items: problems.length, fewshot: 0, source, sha256 }),
    notes: [
      `humaneval: greedy, one program for each problem, at most ${count(maxNewTokens)} tokens; run in ${sandbox.python}${sandbox.network ? " without network" : ""}`,
      ...(cut > 0
        ? [`humaneval: ${count(cut)} prompts lost their beginning, which did not fit the model's context`]
        : []),
      ...(problems.length < rows.length
        ? [`humaneval: only ${count(problems.length)} of ${count(rows.length)} problems`]
        : []),
    ],
  };
}

function wikiTextOf({ path = [] }: TaskFiles): string {
  const places = typeof path === "string" ? [path] : path;
  const found = findWikiText(places);
  if (found === null)
    throw new UsageError(
      `wikitext: ${places.length > 0 ? `there is no wiki.test.raw or wiki.valid.raw in ${places.join(", ")}` : "is not downloaded"}; give the file with --task-data`,
    );
  return found;
}

async function wikiText(
  { name: model, model: transformer, step, tokenizer }: Opened,
  path: string,
  sha256: string,
  { signal, onProgress }: Around,
): Promise<TaskPart> {
  const result = await evaluateWikiText(transformer, tokenizer, readDocuments([path], { format: "wikitext" }), {
    batch: 8,
    ...(step === null ? {} : { startToken: tokenizer.endOfText }),
    signal,
    onProgress: ({ tokens }) => onProgress(`${model}: wikitext, ${count(tokens)} tokens`),
  });
  const { wordPerplexity, bytePerplexity, bitsPerByte, pages } = result;
  const metric = (name: string, value: number): Metric => ({ name, value, standardError: null, higherIsBetter: false });
  const metrics = [
    metric("word_perplexity", wordPerplexity),
    metric("byte_perplexity", bytePerplexity),
    metric("bits_per_byte", bitsPerByte),
  ];
  return { scores: toScores("wikitext", metrics, { items: pages, fewshot: 0, source: path, sha256 }), notes: [] };
}

/** Tasks of which not all items were scored. */
function partsOf(scores: readonly ReadScore[]): string[] {
  const parts = scores.flatMap(({ task, items, totalItems }) =>
    items !== null && totalItems !== null && items < totalItems
      ? [`${task}: only ${count(items)} of ${count(totalItems)} items`]
      : [],
  );
  return [...new Set(parts)];
}

/** Scores of a results file as they stand in a report. @throws as readHarnessResults */
export function scoresOfFile(path: string): TaskPart {
  const { scores, model, sha256 } = readHarnessResults(path);
  return {
    scores: scores.map(
      ({ task, metric, filter, value, standardError, higherIsBetter, items, fewshot, withinNoise }) => ({
        task,
        // The filter tells apart two scores of one metric ("strict-match", "flexible-extract").
        metric: filter === "none" || filter === "create_test" ? metric : `${metric} (${filter})`,
        ...{ value, standardError, higherIsBetter, items, fewshot, source: path, sha256 },
        ...(withinNoise === undefined ? {} : { withinNoise }),
      }),
    ),
    notes: [
      ...partsOf(scores),
      `${path}: scores were read from there${model === null ? "" : `, of ${model}`}; nothing was run for them here`,
    ],
  };
}
