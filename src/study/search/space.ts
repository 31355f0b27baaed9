/**
 * A search space: what values each key may have, from specs such as `log:1e-4..1e-2`. Not the config: whether a key exists is
 * the config's to say. Called by samplers and by programs.
 */
import { UsageError } from "../../platform/errors.ts";
import type { Random } from "../../platform/random.ts";
import { show } from "../../platform/show.ts";

export type SearchValue = number | string | boolean;

export type Dimension =
  | { type: "float" | "int"; low: number; high: number; log: boolean }
  | { type: "choice"; values: readonly SearchValue[] };

export type SearchSpace = Readonly<Record<string, Dimension>>;

export type SearchPoint = Record<string, SearchValue>;

const forms = "expected float:LOW..HIGH, log:LOW..HIGH, int:LOW..HIGH, intlog:LOW..HIGH or choice:A,B,C";

/** @throws UsageError naming the key, for another form, an empty range, or a logarithm of a number that is not positive */
export function parseDimension(key: string, spec: string): Dimension {
  const [, kind = "", rest = ""] = /^(float|log|int|intlog|choice):(.*)$/.exec(spec) ?? [];
  if (kind === "") throw new UsageError(`space: ${key}: ${show(spec)} is no range; ${forms}`);
  if (kind === "choice") {
    const values = rest.split(",").map((one) => choiceValue(one.trim()));
    if (values.includes("")) throw new UsageError(`space: ${key}: ${show(spec)} has an empty choice`);
    if (new Set(values).size !== values.length)
      throw new UsageError(`space: ${key}: ${show(spec)} names a choice twice`);
    return { type: "choice", values };
  }
  const ends = rest.split("..");
  const [low = Number.NaN, high = Number.NaN] = ends.map((end) => (end.trim() === "" ? Number.NaN : Number(end)));
  if (ends.length !== 2 || !Number.isFinite(low) || !Number.isFinite(high))
    throw new UsageError(`space: ${key}: ${show(spec)} is no range; ${forms}`);
  const type = kind.startsWith("int") ? "int" : "float";
  const log = kind.endsWith("log");
  if (type === "int" && !(Number.isSafeInteger(low) && Number.isSafeInteger(high)))
    throw new UsageError(`space: ${key}: ${show(spec)} wants whole numbers`);
  if (low >= high) throw new UsageError(`space: ${key}: ${show(spec)} is empty; the first number must be the lower`);
  if (log && low <= 0)
    throw new UsageError(`space: ${key}: ${show(spec)} has no logarithm; both numbers must be positive`);
  return { type, low, high, log };
}

function choiceValue(text: string): SearchValue {
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** A range's ends as samplers see them: logarithms, and whole numbers with half a step on both sides. */
export function innerRange({ type, low, high, log }: Exclude<Dimension, { type: "choice" }>): [number, number] {
  const half = type === "int" ? 0.5 : 0;
  return log ? [Math.log(low - half), Math.log(high + half)] : [low - half, high + half];
}

/** The value at a place of the inner range. */
export function outerValue(dimension: Exclude<Dimension, { type: "choice" }>, inner: number): number {
  const { type, low, high, log } = dimension;
  const value = log ? Math.exp(inner) : inner;
  return Math.min(high, Math.max(low, type === "int" ? Math.round(value) : value));
}

/** Uniform over the space; over logarithms where a dimension says so. */
export function randomPoint(space: SearchSpace, random: Random): SearchPoint {
  return Object.fromEntries(
    Object.entries(space).map(([key, dimension]) => {
      if (dimension.type === "choice")
        return [key, dimension.values[Math.floor(random.uniform() * dimension.values.length)]!];
      const [low, high] = innerRange(dimension);
      return [key, outerValue(dimension, low + random.uniform() * (high - low))];
    }),
  );
}

/** Every combination, the last key changing fastest; `steps` places of a range, its ends among them. */
export function gridPoints(space: SearchSpace, steps: number): SearchPoint[] {
  if (!Number.isSafeInteger(steps) || steps < 2)
    throw new UsageError(`grid: steps is ${show(steps)}; a range wants a whole number of 2 or more`);
  return Object.entries(space).reduce<SearchPoint[]>(
    (points, [key, dimension]) =>
      points.flatMap((point) => gridValues(dimension, steps).map((value) => ({ ...point, [key]: value }))),
    [{}],
  );
}

function gridValues(dimension: Dimension, steps: number): readonly SearchValue[] {
  if (dimension.type === "choice") return dimension.values;
  const { low, high, log } = dimension;
  const [from, to] = log ? [Math.log(low), Math.log(high)] : [low, high];
  const at = (i: number) => outerValue(dimension, from + ((to - from) * i) / (steps - 1));
  return [...new Set(Array.from({ length: steps }, (_, i) => at(i)))];
}
