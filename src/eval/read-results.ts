/**
 * Scores out of a results file of lm-evaluation-harness (0.3 and 0.4; ours have its shape too: harness-results.ts), so that
 * a report can show what was measured elsewhere. The file is another program's: every field is looked at before it is used.
 */
import { DataError } from "../platform/errors.ts";
import { readWhole, sha256Of } from "../platform/files.ts";

export interface ReadScore {
  task: string;
  /** Without the filter: "acc", "pass@1". */
  metric: string;
  /** "none", "create_test", ...; the harness of 0.3 has none. */
  filter: string;
  value: number;
  /** null: the file has none. */
  standardError: number | null;
  higherIsBetter: boolean;
  /** Items that were scored; null: the file does not say. */
  items: number | null;
  /** Items that there are; null: the file does not say. */
  totalItems: number | null;
  fewshot: number | null;
  /** As our own files say it; absent elsewhere. */
  withinNoise?: boolean;
}

export interface ReadResults {
  /** What was evaluated, as the file names it. */
  model: string | null;
  sha256: string;
  scores: ReadScore[];
}

/** A results file has kilobytes; one with all its samples inside may have some megabytes. */
const maxBytes = 64 * 2 ** 20;

type Json = Readonly<Record<string, unknown>>;
const isObject = (x: unknown): x is Json => typeof x === "object" && x !== null && !Array.isArray(x);

/** Metrics of which less is better, where a file does not say. */
const lowerIsBetter = /perplexity|ppl|bits_per_byte|loss|wer|^ter$/;

/** @throws FileError; DataError naming the file, the task and the field */
export function readHarnessResults(path: string): ReadResults {
  const bytes = readWhole(path, maxBytes);
  const json = parse(path, new TextDecoder().decode(bytes));
  const { results } = json;
  if (!isObject(results))
    throw new DataError(
      `${path}: has no object "results"; expected a results file of lm-evaluation-harness, or one of \`bitnet eval --task ... -o FILE\``,
    );
  const scores = Object.entries(results).flatMap(([task, fields]) => {
    if (!isObject(fields)) throw new DataError(`${path}: results.${task} is ${show(fields)}; expected an object`);
    return scoresOf(path, json, task, fields);
  });
  if (scores.length === 0) throw new DataError(`${path}: "results" holds no score`);
  const { config } = json;
  const named = isObject(config) ? (config.model_args ?? config.model) : undefined;
  return { model: typeof named === "string" ? named : null, sha256: sha256Of(bytes), scores };
}

function parse(path: string, text: string): Json {
  let json: unknown;
  try {
    // Python writes NaN and Infinity, which are no JSON: as null they are refused below with their names.
    json = JSON.parse(text.replace(/([[:,]\s*)(?:NaN|-?Infinity)(?=\s*[,\]}])/g, "$1null"));
  } catch (cause) {
    throw new DataError(`${path}: is not JSON (${(cause as Error).message}); is the file cut short?`, { cause });
  }
  if (!isObject(json)) throw new DataError(`${path}: expected a JSON object, got ${show(json)}`);
  return json;
}

function scoresOf(path: string, json: Json, task: string, fields: Json): ReadScore[] {
  const at = (key: string): unknown => {
    const table = json[key];
    return isObject(table) ? table[task] : undefined;
  };
  const samples = at("n-samples");
  const shots = at("n-shot");
  const better = at("higher_is_better");
  const bitnet = json.bitnet;
  const own = isObject(bitnet) && isObject(bitnet.tasks) ? bitnet.tasks[task] : undefined;
  const noise = isObject(own) ? own.within_noise : undefined;
  return Object.entries(fields).flatMap(([key, value]): ReadScore[] => {
    const [metric, filter = "none"] = key.split(",");
    // Names ("alias", "name"), counts, and errors, which are read with what they belong to.
    if (metric.endsWith("_stderr") || typeof value === "string" || ["alias", "name", "sample_len", " "].includes(key))
      return [];
    if (typeof value !== "number" || !Number.isFinite(value))
      throw new DataError(`${path}: results.${task}["${key}"] is ${show(value)}; expected a number`);
    const error = fields[filter === "none" && !key.includes(",") ? `${metric}_stderr` : `${metric}_stderr,${filter}`];
    if (typeof error === "number" && !(error >= 0 && Number.isFinite(error)))
      throw new DataError(`${path}: results.${task}: the standard error of ${metric} is ${error}; expected 0 or more`);
    const says = isObject(better) ? better[metric] : undefined;
    const within = isObject(noise) ? noise[metric] : undefined;
    return [
      {
        ...{ task, metric, filter, value },
        standardError: typeof error === "number" ? error : null,
        higherIsBetter: typeof says === "boolean" ? says : !lowerIsBetter.test(metric),
        items: isObject(samples) && typeof samples.effective === "number" ? samples.effective : null,
        totalItems: isObject(samples) && typeof samples.original === "number" ? samples.original : null,
        fewshot: typeof shots === "number" ? shots : null,
        ...(typeof within === "boolean" ? { withinNoise: within } : {}),
      },
    ];
  });
}

const show = (value: unknown): string => (JSON.stringify(value) ?? "undefined").slice(0, 40);
