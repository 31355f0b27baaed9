/**
 * A study's file: a base config, arms (differences from it), and seeds; and what follows from it, resolved and checked before
 * the first trial. Knows no folder and trains nothing. Called by run.ts and by the command line.
 */
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { planModel } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { readWhole } from "../platform/files.ts";
import { issueWords } from "../platform/issue.ts";
import { show } from "../platform/show.ts";
import { type ConfigLayer, resolveConfig } from "../train/config.ts";
import type { RunConfig, RunConfigPatch } from "../train/config-schema.ts";
import { nearest } from "../platform/edit-distance.ts";

const patchSchema = z.record(z.string(), z.unknown());
const count = z.int().positive();

/** Names become folders, and words of `--arms a,b`. */
const armName = /^[a-z0-9][a-z0-9._+-]{0,63}$/i;

export const groups = ["ternary", "full", "other"] as const;
/** What an arm's model is: the gap is measured from each ternary arm to the best full one. */
export type Group = (typeof groups)[number];

const studySchema = z.strictObject({
  /** For the report; default: the file's name. */
  name: z.string().min(1).optional(),
  about: z.string().optional(),
  /** The config that all arms start from: a preset, and differences from it. */
  base: patchSchema,
  /** The arm that others are compared with. */
  baseline: z.string(),
  /** By name: differences from the base, any keys of a run's config; beside them `group`. */
  arms: z.record(z.string(), patchSchema.nullable()),
  /** Each arm is trained once with each: the initial weights and the order of the data. */
  seeds: z.array(z.int().min(0)).min(1),
  /** The budget of every trial, in steps or tokens, in place of the base's; an arm may have another. */
  steps: count.optional(),
  tokens: count.optional(),
  /** Each trial in a process of its own: its resident memory is then its own, and text is opened anew. Default false. */
  isolate: z.boolean().optional(),
  /** Keep each trial's last checkpoint. Default false: its config, metrics and record alone. */
  keepRuns: z.boolean().optional(),
});

export type StudyFile = z.infer<typeof studySchema>;

export interface Arm {
  name: string;
  group: Group;
  /** Resolved with the first seed. */
  config: RunConfig;
  /** For `train` and a seed. */
  layers(seed: number): ConfigLayer[];
}

export interface Study {
  name: string;
  file: StudyFile;
  arms: readonly Arm[];
  baseline: string;
  seeds: readonly number[];
  isolate: boolean;
  keepRuns: boolean;
}

/** Under the file's base: what a trial has no use for is off. */
const defaults: ConfigLayer = {
  from: "study",
  patch: {
    samples: { every: null },
    checkpoints: { every: 100, keepLast: 1, keepBest: false },
    metrics: { every: 10, layersEvery: null, errorEvery: null, tensorboard: false },
  },
};

const maxFileBytes = 2 ** 20;

/** @throws UsageError where it is no study; FileError where it cannot be read */
export function readStudyFile(path: string): StudyFile {
  return parseStudy(new TextDecoder().decode(readWhole(path, maxFileBytes)), path);
}

/** @param from stands in messages: the file's name */
export function parseStudy(text: string, from: string): StudyFile {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (cause) {
    throw new UsageError(`${from}: is not YAML: ${(cause as Error).message.split("\n")[0]}`, { cause });
  }
  return checkStudyFile(value, from);
}

/** @throws UsageError naming the key, and for an unknown one the nearest */
export function checkStudyFile(value: unknown, from: string): StudyFile {
  const known = Object.keys(studySchema.shape);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`${from}: is no study; expected the keys ${known.join(", ")}`);
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const near = nearest(unknown, known);
    const hint = near === undefined ? `; keys are: ${known.join(", ")}` : `; did you mean "${near}"?`;
    throw new UsageError(`${from}: unknown key "${unknown}"${hint}`);
  }
  const parsed = studySchema.safeParse(value);
  if (!parsed.success) throw new UsageError(`${from}: ${issueWords(parsed.error.issues[0])}`);
  const file = parsed.data;
  const names = Object.keys(file.arms);
  if (names.length === 0) throw new UsageError(`${from}: arms is empty; name one arm at least, the baseline`);
  for (const name of names)
    if (!armName.test(name))
      throw new UsageError(
        `${from}: arm ${show(name)}: a name is at most 64 letters, digits and . _ + -, and begins with a letter or digit`,
      );
  const folded = names.map((name) => name.toLowerCase());
  const alike = names.find((_, i) => folded.indexOf(folded[i]) !== i);
  if (alike !== undefined)
    throw new UsageError(`${from}: two arms are called "${alike}" but for capitals; their folders would be one`);
  if (!names.includes(file.baseline)) throw new UsageError(`${from}: baseline: ${unknownArm(file.baseline, names)}`);
  if (new Set(file.seeds).size < file.seeds.length)
    throw new UsageError(`${from}: seeds has the same seed twice; the same trial gives the same result`);
  if (file.steps !== undefined && file.tokens !== undefined)
    throw new UsageError(`${from}: name one of steps and tokens, not both`);
  return file;
}

export function unknownArm(name: string, names: readonly string[]): string {
  const near = nearest(name, names);
  return `unknown arm "${name}"; ${near === undefined ? "" : `did you mean "${near}"? `}arms are: ${names.join(", ")}`;
}

/**
 * Resolves every arm.
 *
 * @param options.from     the file's name, for messages
 * @param options.changes  laid over the base, under the arms: what the command line says
 * @throws UsageError naming the arm, for whatever is wrong with its config
 */
export function resolveStudy(
  file: StudyFile,
  { from, changes = [] }: { from: string; changes?: readonly ConfigLayer[] },
): Study {
  const { steps, tokens, seeds } = file;
  const budget = steps !== undefined ? { steps } : tokens !== undefined ? { tokens } : null;
  const shared: ConfigLayer[] = [
    defaults,
    { from: `${from}: base`, patch: file.base as RunConfigPatch },
    ...(budget ? [{ from, patch: { train: budget } as RunConfigPatch }] : []),
    ...changes,
  ];
  for (const layer of shared) refuseSeed(layer);
  const arms = Object.entries(file.arms).map(([name, value]): Arm => {
    const where = `${from}: arm "${name}"`;
    const { group, ...patch } = value ?? {};
    const own: ConfigLayer = { from: where, patch: patch as RunConfigPatch };
    refuseSeed(own);
    const seeded = (seed: number): ConfigLayer[] => [
      ...shared,
      own,
      { from: `${from}: seeds`, patch: { train: { seed } } },
    ];
    const config = inArm(where, () => resolveConfig(seeded(seeds[0])));
    const { data, backend, tokenizer } = config;
    // Said in full, so that a trial that goes on reads what is named now, whatever its own config says of paths.
    const shown: ConfigLayer = { from: where, patch: { data, backend, tokenizer } };
    return { name, group: groupOf(group, config, where), config, layers: (seed) => [...seeded(seed), shown] };
  });
  for (const [i, arm] of arms.entries()) {
    const same = arms.slice(0, i).find((other) => JSON.stringify(other.config) === JSON.stringify(arm.config));
    if (same)
      throw new UsageError(
        `${from}: arms "${same.name}" and "${arm.name}" have the same config; leave one of them out`,
      );
  }
  return {
    name: file.name ?? from.replace(/^.*[\\/]/, "").replace(/\.ya?ml$/i, ""),
    ...{ file, arms, baseline: file.baseline, seeds },
    isolate: file.isolate ?? false,
    keepRuns: file.keepRuns ?? false,
  };
}

function refuseSeed({ from, patch }: ConfigLayer): void {
  if (patch.train?.seed !== undefined)
    throw new UsageError(`${from}: train.seed is the study's own; list seeds under "seeds"`);
}

/** Messages about an arm's values name the arm. */
export function inArm<T>(where: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof UsageError && !error.message.startsWith(where)) error.message = `${where}: ${error.message}`;
    throw error;
  }
}

/** As said, or as the model is. @throws UsageError for a group that the model contradicts */
function groupOf(said: unknown, { model }: RunConfig, where: string): Group {
  const { allFloat, anyTernary } = planModel(model);
  const is: Group = allFloat ? "full" : anyTernary ? "ternary" : "other";
  if (said === undefined) return is;
  if (!groups.includes(said as Group))
    throw new UsageError(`${where}: group is ${show(said)}; expected one of: ${groups.join(", ")}`);
  const what = {
    full: "quantizes no layer",
    ternary: "has ternary layers",
    other: "has quantized layers, none ternary",
  };
  if ((said === "full" && !allFloat) || (said === "ternary" && !anyTernary))
    throw new UsageError(
      `${where}: group is "${said}", but its model ${what[is]}; leave group out, or change model.variant or model.quantization`,
    );
  return said as Group;
}
