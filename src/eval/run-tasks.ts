/**
 * Runs tasks on a model and counts: few-shot contexts, accuracies, perplexities, standard errors. docs/evaluation.md defines
 * the numbers; harness-results.ts writes them down.
 */
import type { Engine } from "../infer/engine.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { sha256Of } from "../platform/hash.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { type Likelihood, type LikelihoodGroup, scoreLikelihoods } from "./log-likelihood.ts";
import { countCodePoints, createPythonRandom } from "./python.ts";
import { bootstrapStandardError, isWithinNoise, itemPerplexity, mean, meanStandardError } from "./statistics.ts";
import type { TaskRow } from "./task-rows.ts";
import { openTaskData, type TaskData, type TaskFiles } from "./task-source.ts";
import { findTask } from "./tasks/index.ts";
import type { ChoiceItem, ContinuationItem, LikelihoodTask } from "./tasks/task.ts";

export interface EvaluateTaskOptions {
  /** Items at once. */
  batch: number;
  /** Put before every context; null: nothing. */
  startToken: number | null;
  /** Examples before each item; default 0. */
  fewshot?: number;
  /** Seed of their draw, as the harness's; default 1234. */
  fewshotSeed?: number;
  /** Only the first so many items. */
  limit?: number;
  /** Keep what was asked and answered, item by item. */
  samples?: boolean;
  signal?: AbortSignal;
  onProgress?: (progress: TaskProgress) => void;
}

export interface TaskProgress {
  task: string;
  items: number;
  totalItems: number;
  /** Run through the model so far. */
  tokens: number;
}

export interface Metric {
  name: string;
  value: number;
  /** null where one item gives none. */
  standardError: number | null;
  higherIsBetter: boolean;
  /**
   * What needs no model: 1/choices; where lengths are not made up for, always the shortest answer; for tasks of fixed
   * choices, always the same one.
   */
  baselines?: number[];
  /** It says no more than those do: see isWithinNoise. */
  withinNoise?: boolean;
}

export interface TaskResult {
  task: string;
  version: number;
  metrics: Metric[];
  /** Items scored, and items that there are. */
  items: number;
  totalItems: number;
  fewshot: number;
  fewshotSeed: number;
  /** Requests whose context lost its beginning, for want of room in the model's context. */
  truncatedRequests: number;
  tokens: number;
  source: string;
  /** Of the data's file. */
  sha256: string;
  /** Of all items: SHA-256 of their hashes (`TaskSample`), one behind the other, as the harness makes it. */
  itemsHash: string;
  samples?: TaskSample[];
}

/** One item as the harness logs it. */
export interface TaskSample {
  doc_id: number;
  doc: Readonly<Record<string, unknown>>;
  target: string;
  arguments: [context: string, continuation: string][];
  resps: [logProbability: number, greedy: boolean][];
  /** SHA-256 of the row as JSON, of the first context, and of the target: the harness's, for its `task_hashes`. */
  doc_hash: string;
  prompt_hash: string;
  target_hash: string;
  [metric: string]: unknown;
}

type TextEncoder = Pick<Tokenizer, "encode" | "vocabSize">;

/** Opens a task's data and runs it: a name and files in, numbers out. @throws as openTaskData and evaluateTask */
export async function evaluateNamedTask(
  engine: Engine,
  tokenizer: TextEncoder,
  name: string,
  files: TaskFiles,
  options: EvaluateTaskOptions,
): Promise<TaskResult> {
  const task = findTask(name);
  return evaluateTask(engine, tokenizer, task, await openTaskData(task, files, (options.fewshot ?? 0) > 0), options);
}

/**
 * Scores a task's items.
 *
 * @throws DataError naming file and line of a bad row, UsageError for more examples than there are, and as scoreLikelihoods
 */
export async function evaluateTask(
  engine: Engine,
  tokenizer: TextEncoder,
  task: LikelihoodTask,
  data: TaskData,
  options: EvaluateTaskOptions,
): Promise<TaskResult> {
  const { batch, startToken, signal, onProgress, limit = Number.POSITIVE_INFINITY } = options;
  const { fewshot = 0, fewshotSeed = 1234 } = options;
  const rows = data.rows.slice(0, limit);
  if (rows.length === 0) throw new DataError(`${task.name}: there is no item to score`);
  const prefixes = fewshotPrefixes(task, data, rows, fewshot, fewshotSeed);
  const items = rows.map((row) => task.read(row));
  const groups: LikelihoodGroup[] = items.map((item, i) => ({
    where: item.where,
    requests: requestsOf(item, prefixes[i]),
  }));
  let tokens = 0;
  const scored = await scoreLikelihoods(engine, tokenizer, groups, {
    batch,
    startToken,
    signal,
    onProgress(progress) {
      tokens = progress.tokens;
      onProgress?.({ task: task.name, ...progress });
    },
  });
  const answers = items.map((item, i) => judge(task, item, scored[i]));
  const metrics = task.metrics.map((name) => {
    const metric = summarize(
      name,
      answers.map((answer) => answer[name]),
    );
    if (name === "perplexity") return metric;
    const baselines = baselinesOf(name, task, items, engine.vocabSize);
    const withinNoise = isWithinNoise(metric.value, metric.standardError, items.length, baselines);
    return { ...metric, baselines, withinNoise };
  });
  const samples = items.map((item, i) => sampleOf(i, rows[i], item, groups[i], scored[i], answers[i]));
  return {
    task: task.name,
    version: task.version,
    metrics,
    items: items.length,
    totalItems: data.rows.length,
    fewshot,
    fewshotSeed,
    truncatedRequests: scored.flat().filter(({ truncated }) => truncated).length,
    tokens,
    source: data.source,
    sha256: data.sha256,
    itemsHash: sha256Of(samples.map((sample) => sample.doc_hash + sample.prompt_hash + sample.target_hash).join("")),
    samples: options.samples ? samples : undefined,
  };
}

/** The text before each item: `fewshot` examples, a blank line behind each, drawn as the harness draws them. */
function fewshotPrefixes(
  task: LikelihoodTask,
  { rows: all, fewshotRows }: TaskData,
  rows: readonly TaskRow[],
  fewshot: number,
  seed: number,
): string[] {
  if (fewshot === 0) return rows.map(() => "");
  const pool = fewshotRows ?? all;
  // From its own rows: one more, in case the item itself is drawn.
  const draw = fewshot + (task.drawsOneMore || fewshotRows === null ? 1 : 0);
  if (draw > pool.length)
    throw new UsageError(
      `${task.name}: ${fewshot} examples are wanted before each item, but there are ${pool.length} rows to draw them from${fewshotRows === null ? ", the item itself among them" : ""}; give a file of examples with --fewshot-data`,
    );
  const examples = new Map<number, string>();
  const exampleOf = (i: number) => {
    const known = examples.get(i) ?? task.read(pool[i]).example;
    examples.set(i, known);
    return known;
  };
  const random = createPythonRandom(seed);
  const same = (a: TaskRow, b: TaskRow) => a === b || JSON.stringify(a.value) === JSON.stringify(b.value);
  return rows.map((row) => {
    const drawn = random.sample(pool.length, draw).filter((i) => !same(pool[i], row));
    return drawn
      .slice(0, fewshot)
      .map((i) => `${exampleOf(i)}\n\n`)
      .join("");
  });
}

type Item = ChoiceItem | ContinuationItem;
const isChoice = (item: Item): item is ChoiceItem => "gold" in item;

function requestsOf(item: Item, prefix: string) {
  if (!isChoice(item)) return [{ context: prefix + item.context, continuation: item.continuation }];
  return item.continuations.map((continuation, i) => ({ context: prefix + item.contexts[i], continuation }));
}

/** Index of the largest, the first of equals, as numpy.argmax. */
function argmax(values: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** Each metric's value for one item. */
function judge(task: LikelihoodTask, item: Item, likelihoods: readonly Likelihood[]): Record<string, number> {
  if (!isChoice(item)) return { perplexity: likelihoods[0].logProbability, acc: Number(likelihoods[0].greedy) };
  const logs = likelihoods.map(({ logProbability }) => logProbability);
  const answer: Record<string, number> = { acc: Number(argmax(logs) === item.gold) };
  if (task.kind === "multiple-choice" && task.metrics.includes("acc_norm"))
    answer.acc_norm = Number(argmax(logs.map((ll, i) => ll / countCodePoints(item.choices[i]))) === item.gold);
  return answer;
}

function summarize(name: string, values: readonly number[]): Metric {
  if (name === "perplexity")
    return {
      name,
      value: itemPerplexity(values),
      standardError: bootstrapStandardError(values, itemPerplexity),
      higherIsBetter: false,
    };
  return { name, value: mean(values), standardError: meanStandardError(values), higherIsBetter: true };
}

function baselinesOf(
  metric: "acc" | "acc_norm",
  task: LikelihoodTask,
  items: readonly Item[],
  vocabSize: number,
): number[] {
  const choices = items.filter(isChoice);
  if (choices.length === 0) return [1 / vocabSize];
  const baselines = [mean(choices.map((item) => 1 / item.choices.length))];
  // Every token costs likelihood, so a model that knows nothing takes the shortest answer.
  if (metric === "acc") baselines.push(mean(choices.map(shareOfShortest)));
  if (task.kind === "multiple-choice" && task.fixedChoices)
    for (let gold = 0; gold < choices[0].choices.length; gold++)
      baselines.push(mean(choices.map((item) => Number(item.gold === gold))));
  return baselines;
}

/** The chance that a draw among the shortest continuations is right. */
function shareOfShortest({ continuations, gold }: ChoiceItem): number {
  const lengths = continuations.map(countCodePoints);
  const least = Math.min(...lengths);
  return lengths[gold] === least ? 1 / lengths.filter((length) => length === least).length : 0;
}

function sampleOf(
  id: number,
  row: TaskRow,
  item: Item,
  group: LikelihoodGroup,
  likelihoods: readonly Likelihood[],
  answer: Record<string, number>,
): TaskSample {
  const target = isChoice(item) ? String(item.gold) : item.continuation;
  return {
    doc_id: id,
    doc: row.value,
    target,
    arguments: group.requests.map(({ context, continuation }) => [context, continuation]),
    resps: likelihoods.map(({ logProbability, greedy }) => [logProbability, greedy]),
    // Python's json.dumps(indent=2, ensure_ascii=False) of a row of text and whole numbers is this text.
    doc_hash: sha256Of(JSON.stringify(row.value, null, 2)),
    prompt_hash: sha256Of(group.requests[0].context),
    target_hash: sha256Of(target),
    ...answer,
  };
}
