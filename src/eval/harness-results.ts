/**
 * Results in the JSON shape of lm-evaluation-harness 0.4, so that what reads its files reads ours. What it has no place for
 * (noise, baselines, contexts cut) stands under a key of our own, `bitnet`.
 */
import type { Metric, TaskResult } from "./run-tasks.ts";

/** The part of a result that any task has. */
export interface HarnessTask {
  task: string;
  version: number;
  metrics: readonly Metric[];
  fewshot: number;
  items: number;
  totalItems: number;
  /** The filter in the metrics' keys; "none" but for HumanEval's "create_test". */
  filter?: string;
  /** What the harness puts into `configs`, as far as it is known here. */
  config?: Record<string, unknown>;
  /** Of its items, where it has any that the harness hashes. */
  itemsHash?: string;
  /** Under `bitnet`. */
  details?: Record<string, unknown>;
}

export interface HarnessModel {
  /** Folder of the model. */
  path: string;
  details?: Record<string, unknown>;
}

/** The run that the results came from: when, by what, how long. */
export interface HarnessRun {
  /** When it began, in seconds since 1970. */
  startedSeconds: number;
  elapsedSeconds: number;
  /** Of this program; null where it is not known. */
  commit: string | null;
  /** The model's context; null where there was no model. */
  contextLength: number | null;
}

export interface HarnessResults {
  results: Record<string, Record<string, number | string>>;
  group_subtasks: Record<string, string[]>;
  configs: Record<string, Record<string, unknown>>;
  versions: Record<string, number>;
  "n-shot": Record<string, number>;
  higher_is_better: Record<string, Record<string, boolean>>;
  "n-samples": Record<string, { original: number; effective: number }>;
  config: Record<string, unknown>;
  task_hashes: Record<string, string>;
  model_source: string;
  model_name: string;
  model_name_sanitized: string;
  system_instruction: null;
  system_instruction_sha: null;
  fewshot_as_multiturn: null;
  chat_template: null;
  chat_template_sha: null;
  /** Those of the run, where it is told. */
  git_hash?: string | null;
  date?: number;
  max_length?: number | null;
  /** A string, as the harness has it. */
  total_evaluation_time_seconds?: string;
  bitnet: Record<string, unknown>;
}

/**
 * @param config what the run was asked for: batch_size, limit, seeds
 * @param run    its time and program; left out, the result is the same whenever it is made
 */
export function toHarnessResults(
  tasks: readonly HarnessTask[],
  model: HarnessModel,
  config: Record<string, unknown> = {},
  run?: HarnessRun,
): HarnessResults {
  const per = <T>(value: (task: HarnessTask) => T): Record<string, T> =>
    Object.fromEntries(tasks.map((task) => [task.task, value(task)]));
  return {
    results: per((task) => ({
      alias: task.task,
      ...Object.fromEntries(
        task.metrics.flatMap(({ name, value, standardError }) => [
          [`${name},${task.filter ?? "none"}`, value],
          [`${name}_stderr,${task.filter ?? "none"}`, standardError ?? "N/A"],
        ]),
      ),
    })),
    group_subtasks: per(() => []),
    configs: per((task) => ({
      task: task.task,
      num_fewshot: task.fewshot,
      metric_list: task.metrics.map(({ name, higherIsBetter }) => ({ metric: name, higher_is_better: higherIsBetter })),
      metadata: { version: task.version },
      ...task.config,
    })),
    versions: per(({ version }) => version),
    "n-shot": per(({ fewshot }) => fewshot),
    higher_is_better: per(({ metrics }) =>
      Object.fromEntries(metrics.map(({ name, higherIsBetter }) => [name, higherIsBetter])),
    ),
    "n-samples": per(({ totalItems, items }) => ({ original: totalItems, effective: items })),
    config: { model: "bitnet.ts", model_args: `pretrained=${model.path}`, ...config },
    task_hashes: Object.fromEntries(tasks.flatMap(({ task, itemsHash }) => (itemsHash ? [[task, itemsHash]] : []))),
    model_source: "bitnet.ts",
    model_name: model.path,
    // As the harness names a folder after a model.
    model_name_sanitized: model.path.replace(/["<>:/|\\?*[\]]+/g, "__"),
    // Its switches for chat models, which are not here.
    system_instruction: null,
    system_instruction_sha: null,
    fewshot_as_multiturn: null,
    chat_template: null,
    chat_template_sha: null,
    ...(run && {
      git_hash: run.commit,
      date: run.startedSeconds,
      max_length: run.contextLength,
      total_evaluation_time_seconds: String(run.elapsedSeconds),
    }),
    bitnet: { ...model.details, tasks: per(({ details }) => details ?? {}) },
  };
}

/** A multiple-choice or LAMBADA result as the harness writes it. */
export function toHarnessTask(result: TaskResult): HarnessTask {
  const { metrics, truncatedRequests, tokens, source, sha256 } = result;
  const accuracies = metrics.filter(({ baselines }) => baselines);
  return {
    ...result,
    config: { target_delimiter: " ", fewshot_delimiter: "\n\n", fewshot_config: { seed: result.fewshotSeed } },
    details: {
      within_noise: Object.fromEntries(accuracies.map(({ name, withinNoise }) => [name, withinNoise])),
      baselines: Object.fromEntries(accuracies.map(({ name, baselines }) => [name, baselines])),
      truncated_requests: truncatedRequests,
      tokens,
      source,
      sha256,
    },
  };
}
