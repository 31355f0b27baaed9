/**
 * Scores of a model on tasks for a report: run here (likelihood tasks and HumanEval on the fastest exact engine, WikiText on
 * the model itself), or read from a results file of lm-evaluation-harness. docs/evaluation.md defines the numbers.
 */
import type { OpenedModel } from "../exchange/index.ts";
import {
  checkRows,
  checkTaskNames,
  openTask,
  pageStartOf,
  readHarnessResults,
  type ReadScore,
  runTask,
  sourceOf,
  type TaskFiles,
  type TaskModels,
  type TaskOutcome,
} from "../eval/index.ts";
import { type Engine, packModel, runsPacked, TransformerEngine, unpackableLayer } from "../infer/index.ts";
import { type StartTokenChoice, startTokenOf } from "../infer/start-token.ts";
import { UsageError } from "../platform/errors.ts";
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
  /** Token before a text; absent: what each model wants. WikiText keeps the harness's rule. */
  startToken?: StartTokenChoice;
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
  checkTaskNames(plan.names, plan.allowCodeExecution === true);
  const twice = plan.names.find((name, i) => plan.names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`task ${twice} is named twice`);
  for (const name of plan.names) checkRows(await openTask(name, plan.files, plan));
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
  const startToken = startTokenOf(opened.step, opened.tokenizer, plan.startToken);
  const { tokenizer } = opened;
  // All of them exact: f32 heads and caches, and matrices as they are. Batches of ternary models share each pass over packed
  // weights; float ones read faster by training's products, and write faster packed.
  const { config } = opened.model;
  const ternary = runsPacked(config);
  const models: TaskModels = {
    async engine(use) {
      const packed = ternary || (use === "writing" && unpackableLayer(config) === null);
      const engine = open.get(packed) ?? (packed ? await packModel(opened.model) : new TransformerEngine(opened.model));
      open.set(packed, engine);
      return { engine, tokenizer, startToken };
    },
    model: async () => ({ model: opened.model, tokenizer, startToken: pageStartOf(opened.step, tokenizer) }),
  };
  try {
    for (const name of plan.names) {
      signal?.throwIfAborted();
      const task = await openTask(name, plan.files, plan);
      const { source, sha256 } = sourceOf(task);
      const rows = task.kind === "wikitext" ? 0 : task.data.rows.length;
      // All rows are all rows, whatever the limit over their number.
      const own = plan.startToken === undefined ? {} : { startToken };
      const asked = { identity, name, fewshot, limit: Math.min(plan.limit ?? rows, rows), ...own };
      const key = {
        wikitext: { identity, name, sha256 },
        humaneval: { ...asked, sha256, maxNewTokens },
        likelihood: { ...asked, sha256 },
      }[task.kind];
      await keep(name, key, async () => {
        const outcome = await runTask(task, models, {
          batch: task.kind === "wikitext" ? wikiTextBatch : plan.batch,
          limit: plan.limit,
          fewshot: plan.fewshot,
          programs: { allowCodeExecution: plan.allowCodeExecution, maxNewTokens },
          signal,
          onProgress: ({ phase, done, total, count: tokens }) => {
            if (done === 0) return;
            const doing = { scoring: "", writing: ", writing programs", running: ", running them" }[phase];
            if (total === null) around.onProgress(`${model}: ${name}, ${count(tokens)} tokens`);
            else around.onProgress(`${model}: ${name}${doing}`, done, total);
          },
        });
        return {
          scores: toScores(outcome, source, sha256),
          notes: notesOf(outcome, { maxNewTokens, contextLength: opened.model.config.contextLength }),
        };
      });
    }
  } finally {
    for (const engine of open.values()) engine.dispose();
  }
  return { scores: parts.flatMap(({ scores }) => scores), notes: parts.flatMap(({ notes }) => notes) };
}

/** Windows at once. */
const wikiTextBatch = 8;

const count = (n: number): string => n.toLocaleString("en-US");

const toScores = ({ result }: TaskOutcome, source: string, sha256: string): TaskScore[] =>
  result.metrics.map(({ name: metric, value, standardError, higherIsBetter, withinNoise, baselines }) => ({
    ...{ task: result.task, metric, value, standardError, higherIsBetter },
    ...{ items: result.items, fewshot: result.fewshot, source, sha256 },
    ...(withinNoise === undefined ? {} : { withinNoise }),
    ...(baselines === undefined ? {} : { baselines }),
  }));

/** What a reader must know. */
function notesOf(
  { result: { task, items, totalItems }, truncated, sandbox }: TaskOutcome,
  { maxNewTokens, contextLength }: { maxNewTokens: number; contextLength: number },
): string[] {
  const notes: string[] = [];
  if (sandbox)
    notes.push(
      `humaneval: greedy, one program for each problem, at most ${count(maxNewTokens)} tokens; run in ${sandbox.python}`,
    );
  if (truncated > 0)
    notes.push(
      sandbox
        ? `humaneval: ${count(truncated)} prompts lost their beginning, which did not fit the model's context`
        : `${task}: ${count(truncated)} requests lost the beginning of their context, which did not fit the model's ${count(contextLength)} tokens`,
    );
  if (items < totalItems)
    notes.push(`${task}: only ${count(items)} of ${count(totalItems)} ${sandbox ? "problems" : "items"}`);
  return notes;
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
