/**
 * What a mixture is, as data: named sources with weights and paths, and perhaps a curriculum. Read from YAML, from
 * `--mix name=weight:path`, or from a run's config. Opens nothing.
 */
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { UsageError } from "../../platform/errors.ts";
import { absolutePath, folderOf, joinPath, readWhole } from "../../platform/files.ts";
import { isAddress, isHubDataset } from "../source-names.ts";
import { type Pacing, pacingNames } from "./pacing.ts";

export const curriculumSchema = z.strictObject({
  /** Which scores, of those that `bitnet data score` keeps beside the shards: "length", "loss", "score", or another name. */
  by: z.string().min(1),
  /** Whether the lowest or the highest scores count as the easiest. Default: the highest for "score", else the lowest. */
  first: z.enum(["lowest", "highest"]).optional(),
  /** See pacing.ts for the formulas. */
  pacing: z.enum(pacingNames),
  /** Share of each source, the easiest first, that is drawn from at the start. */
  start: z.number().positive().max(1),
  /** Tokens of the whole mixture after which all of each source is drawn from. */
  tokens: z.number().positive(),
  /** Steps of "step" (default 1). */
  steps: z.int().positive().optional(),
  /** p of "root" (default 2). */
  power: z.number().min(1).optional(),
});

export const mixtureSchema = z.strictObject({
  sources: z
    .array(
      z.strictObject({
        /** Names it in reports; its order depends on it. */
        name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "expected letters, digits, dots and dashes"),
        /** Share of the tokens: the weight over the sum of all weights. */
        weight: z.number().positive(),
        /** A prepared dataset, several, or text as `--data` takes it. */
        path: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
        /** False: drawn in epochs from the start, whatever the curriculum (default true). */
        curriculum: z.boolean().optional(),
      }),
    )
    .min(1),
  curriculum: curriculumSchema.nullable().optional(),
});

export type CurriculumSpec = z.infer<typeof curriculumSchema>;
export type MixtureSpec = z.infer<typeof mixtureSchema>;
export type SourceSpec = MixtureSpec["sources"][number];

export const pathsOf = ({ path }: SourceSpec): readonly string[] => (typeof path === "string" ? [path] : path);

/** The pacing alone, as pacing.ts takes it. */
export const pacingOf = ({ pacing, start, tokens, steps, power }: CurriculumSpec): Pacing => ({
  pacing,
  start,
  tokens,
  ...(steps === undefined ? {} : { steps }),
  ...(power === undefined ? {} : { power }),
});

/** Which scores count as the easiest. */
export const easiestFirst = ({ by, first }: CurriculumSpec): "lowest" | "highest" =>
  first ?? (by === "score" ? "highest" : "lowest");

/**
 * Checks what a YAML file or a config says.
 *
 * @param from names it in errors
 * @throws UsageError naming the source and the key
 */
export function checkMixture(value: unknown, from: string): MixtureSpec {
  const parsed = mixtureSchema.safeParse(value);
  if (!parsed.success) throw new UsageError(`${from}: ${describeIssue(parsed.error.issues[0], value)}`);
  const names = parsed.data.sources.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new UsageError(`${from}: two sources are called "${twice}"; give each a name of its own`);
  return parsed.data;
}

function describeIssue(issue: z.core.$ZodIssue, value: unknown): string {
  const path = [...issue.path];
  let where = path.join(".");
  const sources = (value as { sources?: unknown } | null)?.sources;
  if (path[0] === "sources" && typeof path[1] === "number" && Array.isArray(sources)) {
    const name: unknown = sources[path[1]]?.name;
    const which = typeof name === "string" ? `source "${name}"` : `source ${path[1] + 1}`;
    where = [which, path.slice(2).join(".")].filter((part) => part !== "").join(", ");
  }
  if (issue.code === "unrecognized_keys")
    return `${where === "" ? "" : `${where}: `}unknown key "${issue.keys[0]}"; a mixture has sources (name, weight, path, curriculum) and a curriculum (by, first, pacing, start, tokens, steps, power)`;
  let found: unknown = value;
  for (const key of path) found = (found as Record<PropertyKey, unknown> | null | undefined)?.[key];
  const shown = found === undefined ? "is missing" : `is ${JSON.stringify(found) ?? String(found)}`;
  const reason =
    path.at(-1) === "weight"
      ? "expected a number above 0; leave the source out instead of giving it none"
      : issue.message.replace(/^(Invalid input|Too small|Too big|Invalid option|Invalid string): /, "");
  return `${where === "" ? "the mixture" : where} ${typeof found === "number" && !Number.isFinite(found) ? `is ${found}` : shown}; ${reason}`;
}

/**
 * Reads a mixture from a YAML file; paths in it are taken from where the file lies.
 *
 * @throws UsageError for what is not YAML or not a mixture; FileError
 */
export function readMixture(path: string): MixtureSpec {
  const spec = checkMixture(parseText(new TextDecoder().decode(readWhole(path, 2 ** 20)), path), path);
  const base = folderOf(path);
  const here = (name: string) =>
    isAddress(name) || isHubDataset(name) || absolutePath(name) === name ? name : joinPath(base, name);
  return {
    ...spec,
    sources: spec.sources.map((source) => ({
      ...source,
      path: typeof source.path === "string" ? here(source.path) : source.path.map(here),
    })),
  };
}

function parseText(text: string, from: string): unknown {
  try {
    return parseYaml(text);
  } catch (cause) {
    throw new UsageError(`${from}: is not YAML: ${(cause as Error).message.split("\n")[0]}`, { cause });
  }
}

/** Whether a YAML file's text is a mixture, and not a run's config. */
export const isMixtureFile = (path: string): boolean => /\.ya?ml$/i.test(path);

/**
 * `name=weight:path`, with commas between several: "web=0.7:data/web,books=0.3:data/books". A name that comes again adds
 * a path to its source, and then needs no weight: "web=:data/more".
 *
 * @throws UsageError
 */
export function parseMix(words: readonly string[]): MixtureSpec {
  const sources: { name: string; weight: number; path: string[] }[] = [];
  for (const entry of words.flatMap((word) => word.split(",")).filter((word) => word !== "")) {
    const match = /^([^=]*)=([^:]*):(.+)$/s.exec(entry);
    if (!match) throw new UsageError(`--mix "${entry}": expected name=weight:path, such as web=0.7:data/web`);
    const [, name, weight, path] = match;
    const known = sources.find((source) => source.name === name);
    if (known && (weight === "" || Number(weight) === known.weight)) known.path.push(path);
    else if (known) throw new UsageError(`--mix "${entry}": "${name}" has the weight ${known.weight} already`);
    else sources.push({ name, weight: weight.trim() === "" ? Number.NaN : Number(weight), path: [path] });
  }
  return checkMixture({ sources }, "--mix");
}
