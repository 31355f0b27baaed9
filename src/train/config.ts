/**
 * The run's config: a preset, then differences from a YAML file, from options, from `--key.path value`, the later over
 * the earlier; unknown keys refused with the nearest known one named; then checked whole against the schema.
 */
import { parse as parseYaml, stringify as stringifyYaml } from "yaml";
import { z } from "zod";
import { checkMixture } from "../data/index.ts";
import { nearest } from "../platform/edit-distance.ts";
import { UsageError } from "../platform/errors.ts";
import { plainMessage } from "../platform/issue.ts";
import { show } from "../platform/show.ts";
import { planModel } from "../model/plan.ts";
import { hasTernaryWeights, learnedOf } from "../nn/index.ts";
import { presetRun } from "./config-presets.ts";
import { type RunConfig, type RunConfigPatch, type RunConfigSchema, runConfigSchema } from "./config-schema.ts";
import { checkDistill, refuseListed } from "./distillation/settings.ts";
import { objectiveKinds } from "./objectives.ts";
import { optimizerKinds } from "./optimizers.ts";
import {
  checkProgressiveChoice,
  checkWhollyQuantized,
  createProgressive,
  type ProgressiveQuantization,
  progressiveKinds,
  progressiveOf,
  replaceProgressive,
} from "./progressive.ts";
import { readRecipe } from "./recipes.ts";
import type { Definition, KindList } from "./registry.ts";
import { autoWarmupSteps, createSchedule, type Schedule, scheduleKinds } from "./schedules.ts";

type Json = Record<string, unknown>;
const isSection = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** One difference and where it comes from, for messages: "config.yaml", "--train.batch". */
export interface ConfigLayer {
  from: string;
  patch: RunConfigPatch;
  /** It is the whole config of a run, with the values of its recipe: the recipe is named in it, and not looked up. */
  resolved?: true;
}

/**
 * Lays the layers over the preset, and over the recipe, that the last of them to name one names.
 *
 * @throws UsageError for an unknown key, a value of the wrong kind, values that contradict, or no preset
 */
export function resolveConfig(layers: readonly ConfigLayer[]): RunConfig {
  const schema = runConfigSchema();
  for (const { from, patch } of layers) {
    checkKinds(patch as Json, from);
    checkKeys(schema, patch, [], { from, whole: schema });
  }
  const preset = layers.findLast(({ patch }) => patch.preset !== undefined)?.patch.preset;
  if (typeof preset !== "string")
    throw new UsageError(
      `${layers[0]?.from ?? "config"}: names no preset to start from; add a line such as "preset: tiny"`,
    );
  const variant = layers.findLast(({ patch }) => isSection(patch.model) && patch.model.variant !== undefined)?.patch
    .model?.variant;
  if (variant !== undefined && variant !== "bitnet" && variant !== "full")
    throw new UsageError(`model.variant is ${show(variant)}; expected "bitnet" or "full"`);
  const { base, difference } = presetRun(preset, variant ?? "bitnet");
  const recipe = recipeOf(layers, preset, schema);
  let config: Json = base;
  for (const { patch } of [{ patch: difference }, ...recipe, ...layers]) config = merge(config, patch as Json, []);
  if (isSection(config.data)) checkData(config.data);
  if (isSection(config.train)) refuseListed(config.train.objectives);
  const checked = schema.safeParse(config);
  if (!checked.success) throw new UsageError(describeIssue(checked.error.issues[0], config));
  const { train, model } = checked.data;
  if (train.sequence > model.contextLength)
    throw new UsageError(
      `train.sequence is ${train.sequence} but the model's context is ${model.contextLength}; lower train.sequence or raise model.contextLength`,
    );
  // Refuses overrides that match no layer, and quantizers that a layer cannot have.
  const { allFloat } = planModel(model);
  checkProgressiveChoice(train, allFloat);
  const calledTwice = twiceIn(train.callbacks);
  if (calledTwice !== undefined)
    throw new UsageError(`train.callbacks: "${calledTwice}" is there twice; leave one out`);
  const twice = twiceIn(train.objectives);
  if (twice !== undefined)
    throw new UsageError(`train.objectives: "${twice}" is there twice; leave one out, or add their weights up`);
  checkDistill(checked.data.distill, { objectives: train.objectives, recompute: model.recompute ?? false });
  return checked.data;
}

/** The layer of the recipe that the layers name; none where the last to name one is a run's own config. */
function recipeOf(layers: readonly ConfigLayer[], preset: string, schema: RunConfigSchema): ConfigLayer[] {
  const naming = layers.findLast(({ patch }) => patch.recipe !== undefined);
  const name = naming?.patch.recipe;
  if (naming === undefined || naming.resolved || name === null || name === undefined) return [];
  if (typeof name !== "string")
    throw new UsageError(`${naming.from}: recipe is ${show(name)}; expected a name or a file`);
  const { path, presets, config } = readRecipe(name);
  if (!presets.includes(preset))
    throw new UsageError(
      `recipe "${name}" is for the presets ${presets.join(", ")}, not ${preset}; copy ${path}, change it and name the copy (--recipe mine.yaml)`,
    );
  const layer = { from: path, patch: config as RunConfigPatch };
  checkKinds(config, path);
  checkKeys(schema, config, [], { from: path, whole: schema });
  return [layer];
}

const twiceIn = (choices: readonly { name: string }[]): string | undefined =>
  choices.find(({ name }, i) => choices.findIndex((other) => other.name === name) !== i)?.name;

/** What the schema of a mixture cannot say, or says less well. */
function checkData({ files, mixture }: Json): void {
  if (mixture === null || mixture === undefined) return;
  checkMixture(mixture, "data.mixture");
  if (Array.isArray(files) && files.length > 0)
    throw new UsageError(
      `data.files names ${files[0]} and data.mixture has sources of its own; name the text in one of them`,
    );
}

/** Reads a config file's text. @throws UsageError where it is not YAML, or not a mapping */
export function parseConfig(text: string, from: string): RunConfigPatch {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (cause) {
    throw new UsageError(`${from}: is not YAML: ${yamlFault(text, cause)}`, { cause });
  }
  if (!isSection(value)) throw new UsageError(`${from}: expected keys and values, such as "preset: tiny"`);
  return value as RunConfigPatch;
}

/** What is wrong, in a line, and what to do about the fault that patterns of layers make. */
function yamlFault(text: string, cause: unknown): string {
  const fault = (cause as Error).message.split("\n")[0].replace(/:$/, "");
  const pattern = /(?:^|[\s[{,:-])(\*[\w.*]*)/.exec(text)?.[1];
  // A word that begins with * is an alias in YAML.
  return pattern === undefined ? fault : `${fault}; put a pattern that begins with * in quotes: "${pattern}"`;
}

/** The config as a file that `parseConfig` reads back to the same. */
export const configToYaml = (config: RunConfig): string => stringifyYaml(config);

/**
 * Turns `--key.path value` and `--key.path=value` into layers, the values of the kinds that the schema has there.
 *
 * @param also names of options that are known elsewhere, to suggest them
 * @throws UsageError for an unknown key, a missing or wrong value, or a word that belongs to no option
 */
export function parseOverrides(words: readonly string[], also: readonly string[] = []): ConfigLayer[] {
  const whole = runConfigSchema();
  const layers: ConfigLayer[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const match = /^--([^=]+)(?:=(.*))?$/s.exec(word);
    if (!match) throw new UsageError(`unexpected "${word}"; options are written --key.path value`);
    const path = match[1].split(".");
    const schema = schemaAt(whole, path);
    if (!schema)
      throw new UsageError(
        `unknown option "--${match[1]}"${suggestion(match[1], [...allPaths(whole), ...also], "--")}`,
      );
    const inside = keysOf(schema);
    const mayBeNull = schema instanceof z.ZodNullable;
    const section = `--${match[1]} is a section; set a key of it, such as --${match[1]}.${inside?.[0]}`;
    if (inside && !mayBeNull) throw new UsageError(section);
    const raw = match[2] ?? words[++i];
    if (raw === undefined) throw new UsageError(`--${match[1]} has no value`);
    if (inside && !/^(?:null$|\{)/.test(raw.trim())) throw new UsageError(`${section} (or give null, or "{...}")`);
    const patch = path.reduceRight<unknown>((value, key) => ({ [key]: value }), typedValue(raw, schema, match[1]));
    layers.push({ from: `--${match[1]}`, patch: patch as RunConfigPatch });
  }
  // A kind first: what stands before it on the line is meant for it too, and is refused where it has no such key.
  const isKind = ({ from }: ConfigLayer) => from.endsWith(".kind");
  return [...layers.filter(isKind), ...layers.filter((layer) => !isKind(layer))];
}

/** Numbers that follow from the config and the data. */
export interface DerivedRun {
  /** N: updates in the run. */
  steps: number;
  /** Targets in a step. */
  tokensPerStep: number;
  stepsPerEpoch: number;
  warmupSteps: number;
  /** Sequences computed at once. */
  microBatch: number;
  schedule: Schedule;
  /** null: the layers are quantized wholly, always. */
  quantization: ProgressiveQuantization | null;
}

/** @param stepsPerEpoch batches of config.train.batch in one pass over the training text */
export function deriveRun(config: RunConfig, stepsPerEpoch: number): DerivedRun {
  const { batch, sequence, microBatch } = config.train;
  const tokensPerStep = batch * sequence;
  const N = stepsOfRun(config, stepsPerEpoch);
  const { warmupSteps: asked, kind } = config.schedule;
  const warmupSteps = asked === "auto" ? autoWarmupSteps(kind, N) : asked;
  const { learningRate, weightDecay } = config.optimizer;
  const schedule = createSchedule({ ...config.schedule, warmupSteps }, { learningRate, weightDecay }, N);
  const progressive = progressiveOf(config.train);
  const run = { steps: N, warmupSteps, layers: quantizedLayers(config) };
  const quantization = progressive && createProgressive(progressive, run);
  const scheduleStep = quantization?.scheduleStep?.bind(quantization);
  return {
    steps: N,
    tokensPerStep,
    stepsPerEpoch,
    warmupSteps,
    microBatch: Math.min(microBatch ?? batch, batch),
    schedule: scheduleStep ? (step) => schedule(scheduleStep(step)) : schedule,
    quantization,
  };
}

/** @param stepsPerEpoch as for `deriveRun` */
function stepsOfRun({ train }: RunConfig, stepsPerEpoch: number): number {
  const { batch, sequence, steps, epochs, tokens } = train;
  const total =
    steps ?? (tokens !== null ? Math.ceil(tokens / (batch * sequence)) : Math.round(epochs! * stepsPerEpoch));
  // A budget in epochs or tokens is one step at least; no steps are what was asked for.
  return steps === 0 ? 0 : Math.max(1, total);
}

/** Names of the layers that quantize, in the model's order. */
export const quantizedLayers = ({ model }: RunConfig): string[] =>
  planModel(model).layers.flatMap(({ name, weights, activations }) => (weights || activations ? [name] : []));

/**
 * Progressive quantization must be done by the last step. Called for a new run before its data are prepared, and again with
 * `stepsPerEpoch` where the number of steps depends on them.
 *
 * @throws UsageError where it is not, or its settings contradict
 */
export function checkProgressive(config: RunConfig, stepsPerEpoch?: number): void {
  if (progressiveOf(config.train) === null) return;
  if (config.train.epochs !== null && stepsPerEpoch === undefined) return;
  const { steps, warmupSteps, quantization } = deriveRun(config, stepsPerEpoch ?? 1);
  const learning = planModel(config.model).layers.find((layer) => {
    const { standIn } = quantization!.at(1).of(layer.name);
    return standIn !== undefined && hasTernaryWeights(layer) && learnedOf(layer).weights.length > 0;
  });
  if (learning)
    throw new UsageError(
      `train.progressive: the weight quantizer "${learning.weights!.quantizer.name}" of ${learning.name} learns parameters, which kind ${config.train.progressive?.kind} would give no gradient; use a ramp such as linear, or a quantizer without parameters`,
    );
  checkWhollyQuantized(config.train, quantization!, { steps, warmupSteps, layers: quantizedLayers(config) });
}

/**
 * `over` laid over `base`. A section whose kind changes starts from that kind's defaults (an optimiser keeps what the kind
 * before it had as well); a new budget replaces the old; files take the place of a mixture, and a mixture that of files.
 */
function merge(base: Json, over: Json, path: readonly string[]): Json {
  const merged: Json = { ...base };
  const where = path.join(".");
  const known = kindSections[where];
  if (known && over.kind !== undefined && over.kind !== base.kind) {
    const chosen = known.find(over.kind as string);
    if (chosen) {
      const { defaults } = chosen;
      const keys = Object.keys(chosen.schema.shape);
      for (const key of Object.keys(merged)) if (!keys.includes(key)) delete merged[key];
      for (const key of Object.keys(defaults))
        if (where !== "optimizer" || !Object.hasOwn(merged, key)) merged[key] = defaults[key];
    }
  }
  if (where === "train") {
    const budgets = ["steps", "epochs", "tokens"];
    if (budgets.some((key) => over[key] !== undefined && over[key] !== null))
      for (const key of budgets) merged[key] = null;
    replaceProgressive(merged, over);
  }
  if (where === "data") {
    if (Array.isArray(over.files) && over.files.length > 0) merged.mixture = null;
    if (isSection(over.mixture)) Object.assign(merged, { files: [], mixture: null });
  }
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const old = merged[key];
    const inner = isSection(old) ? old : kindSections[[...path, key].join(".")] ? {} : null;
    merged[key] = isSection(value) && inner ? merge(inner, value, [...path, key]) : value;
  }
  return merged;
}

/** The sections whose `kind` names an entry of a list, which has the other keys. */
const kindSections: Readonly<Record<string, KindList<Definition & { defaults: Readonly<Json> }> | undefined>> = {
  optimizer: optimizerKinds,
  schedule: scheduleKinds,
  "train.progressive": progressiveKinds,
};

/** Before its keys, which belong to the kind. */
function checkKinds(patch: Json, from: string): void {
  for (const [section, known] of Object.entries(kindSections)) {
    const value = section.split(".").reduce<unknown>((at, key) => (isSection(at) ? at[key] : undefined), patch);
    const kind = isSection(value) ? value.kind : undefined;
    if (kind !== undefined && !known!.has(kind as string))
      throw new UsageError(`${from}: ${section}.kind is ${show(kind)}; ${known!.expected(kind)}`);
  }
}

function checkKeys(
  schema: z.ZodType,
  patch: unknown,
  path: readonly string[],
  at: { from: string; whole: RunConfigSchema },
): void {
  const known = keysOf(schema);
  if (!known || !isSection(patch)) return;
  for (const [key, value] of Object.entries(patch)) {
    const full = [...path, key].join(".");
    const inner = schemaAt(at.whole, [...path, key]);
    if (!inner) throw new UsageError(`${at.from}: unknown key "${full}"${suggestion(full, allPaths(at.whole), "")}`);
    checkKeys(inner, value, [...path, key], at);
  }
}

/** The keys of a section, those of every kind where it has kinds; null for a value. */
function keysOf(wrapped: z.ZodType): string[] | null {
  const schema = unwrapped(wrapped);
  if (schema instanceof z.ZodObject) return Object.keys(schema.shape);
  if (schema instanceof z.ZodDiscriminatedUnion)
    return [...new Set(schema.options.flatMap((option) => keysOf(option as z.ZodType) ?? []))];
  return null;
}

/** The schema itself of one that may be left out, or of a section with kinds that may be null. */
function unwrapped(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodNullable && schema.unwrap() instanceof z.ZodDiscriminatedUnion)
    return schema.unwrap() as z.ZodType;
  return schema instanceof z.ZodOptional ? unwrapped(schema.unwrap() as z.ZodType) : schema;
}

/** What stands at a path; for a key that only some kinds of a section have, the first of them. */
function schemaAt(whole: RunConfigSchema, path: readonly string[]): z.ZodType | undefined {
  let schemas: readonly z.ZodType[] = [whole];
  for (const key of path) {
    schemas = schemas.map(unwrapped).flatMap((schema) => {
      const objects = schema instanceof z.ZodDiscriminatedUnion ? (schema.options as readonly z.ZodType[]) : [schema];
      return objects.flatMap((object) =>
        object instanceof z.ZodObject && Object.hasOwn(object.shape, key) ? [object.shape[key] as z.ZodType] : [],
      );
    });
  }
  // `kind` is one literal in each of its section's kinds.
  if (schemas.length > 1 && path.at(-1) === "kind") return z.union(schemas as [z.ZodType, z.ZodType]);
  return schemas[0];
}

/** Every key path of a value, sections left out. */
function allPaths(whole: RunConfigSchema): string[] {
  const walk = (schema: z.ZodType, path: readonly string[]): string[] => {
    const keys = keysOf(schema);
    if (!keys) return [path.join(".")];
    return keys.flatMap((key) => walk(schemaAt(whole, [...path, key])!, [...path, key]));
  };
  return walk(whole, []);
}

function suggestion(wanted: string, known: readonly string[], dashes: string): string {
  const [first] = wanted.split(".");
  const last = wanted.split(".").at(-1)!;
  const sections = Object.keys(runConfigSchema().shape);
  // `--learningRate` means `--optimizer.learningRate`: a right name in the wrong place comes before a near spelling.
  const misplaced = known.filter((path) => path.split(".").at(-1) === last);
  const found =
    misplaced[0] ??
    nearest(wanted, known) ??
    known.find((path) => nearest(last, [path.split(".").at(-1)!])) ??
    (sections.includes(first) ? undefined : nearest(first, sections));
  return found ? `; did you mean "${dashes}${found}"?` : `; sections are: ${sections.join(", ")}`;
}

/** A word of the command line as the schema wants it: as YAML reads it, else as it is, else a list at its commas. */
function typedValue(raw: string, schema: z.ZodType, name: string): unknown {
  const candidates: unknown[] = [];
  let fault: string | undefined;
  try {
    candidates.push(parseYaml(raw));
  } catch (cause) {
    // Perhaps a plain word, or words at commas.
    fault = yamlFault(raw, cause);
  }
  candidates.push(raw);
  // What opens as a list or an object of YAML is meant as one.
  if (fault === undefined || !/^\s*([[{]|- )/.test(raw)) candidates.push(raw.split(",").map((word) => word.trim()));
  for (const candidate of candidates) if (schema.safeParse(candidate).success) return candidate;
  if (fault !== undefined) throw new UsageError(`--${name}: ${show(raw)} is not YAML: ${fault}`);
  const { error } = schema.safeParse(candidates[0]);
  // Wrong inside: resolveConfig names the place.
  if (error!.issues[0].path.length > 0) return candidates[0];
  throw new UsageError(`--${name}: got "${raw}"; ${reasonOf(error!.issues[0])}`);
}

function describeIssue(issue: z.core.$ZodIssue, config: Json): string {
  const where = issue.path
    .map((key, i) => (typeof key === "number" ? `[${key}]` : `${i > 0 ? "." : ""}${String(key)}`))
    .join("");
  let value: unknown = config;
  for (const key of issue.path)
    value = isSection(value) || Array.isArray(value) ? (value as Json)[String(key)] : undefined;
  if (issue.code === "unrecognized_keys") {
    const key = isSection(value) && value.kind !== undefined ? "kind" : "name";
    if (!isSection(value) || value[key] === undefined)
      return `${where} has an unknown key "${issue.keys[0]}"; correct it, or leave it out`;
    return `${where}.${issue.keys[0]} is not used with ${where}.${key} ${show(isSection(value) ? value[key] : undefined)}; leave it out`;
  }
  if (issue.code === "invalid_union" && issue.errors.length === 0) {
    const kinds = kindSections[issue.path.slice(0, -1).join(".")] ?? objectiveKinds;
    return `${where} is ${show(value)}; ${kinds.expected(value)}`;
  }
  return `${where}${objectiveOf(issue.path, config)} is ${show(value)}; ${reasonOf(issue)}`;
}

/** Of which objective a weight is, where a list has several. */
function objectiveOf([section, list, index, key]: readonly PropertyKey[], config: Json): string {
  if (section !== "train" || list !== "objectives" || key !== "weight") return "";
  const { objectives } = config.train as { objectives: { name?: unknown }[] };
  return ` of ${show(objectives[index as number].name)}`;
}

/** Zod's words without its preamble: "expected number, received string", "expected number to be >0". */
function reasonOf(issue: z.core.$ZodIssue): string {
  // A union with words of its own says more than its members.
  const said = issue.message !== "Invalid input";
  if (issue.code === "invalid_union" && issue.errors.length > 0 && !said)
    return issue.errors.map((issues) => reasonOf(issues[0])).join(", or ");
  return plainMessage(issue.message);
}
