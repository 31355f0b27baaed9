/**
 * Recipes: a preparation as a YAML file, from sources to shards, that can be copied and changed. The tiers that come with
 * the package lie in `recipes/`; a path names one of your own. What a key means stands with it here; recipe-run.ts does it.
 */
import { parseDocument } from "yaml";
import { z } from "zod";
import { FormatError, UsageError } from "../platform/errors.ts";
import { exists, folderOf, joinPath, readWhole } from "../platform/files.ts";
import { packageFile } from "../platform/machine.ts";
import { createFilters } from "./filters/spec.ts";
import { packingKinds } from "./packing/write-shards.ts";
import { badRecordPolicies } from "./records.ts";
import { sourceFormats } from "./source-files.ts";

export const recipeNames = ["tier1", "tier2", "tier3"] as const;

const whole = z.number().int().positive();
const strings = z.union([z.string(), z.array(z.string()).nonempty()]);

const sourceSchema = z
  .strictObject({
    /** For --local, --only, --without, the manifest, and the order of sources. */
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]*$/i),
    /** Files, folders, globs, addresses, hf://datasets/...; paths on this disk are seen from the recipe's folder. */
    paths: strings.optional(),
    /** Or: files with an address in each line. */
    lists: strings.optional(),
    /** The address names the content (it has a version): files are not fetched to be hashed before they are needed. */
    addressesAreVersions: z.boolean().optional(),
    licence: z.string(),
    format: z.enum(sourceFormats).optional(),
    /** Of .txt files. */
    separator: z.string().optional(),
    /** Which fields of a row mean what; `text` may name several, joined by `join`. */
    fields: z
      .strictObject({
        text: strings.optional(),
        join: z.string().optional(),
        id: z.string().optional(),
        language: z.string().optional(),
        score: z.string().optional(),
        source: z.string().optional(),
      })
      .optional(),
    split: z.enum(["both", "train", "valid"]).optional(),
    onBadRecord: z.enum(badRecordPolicies).optional(),
    maxDocumentBytes: whole.optional(),
    /** Its own, before those of all. */
    filters: z.array(z.unknown()).optional(),
    /** Read no more than so many documents, or until so many bytes of text are left after the filters. */
    limit: z.strictObject({ documents: whole.optional(), textBytes: whole.optional() }).optional(),
    /** What its publisher says of it, for --dry-run where it cannot be reached. */
    expected: z
      .strictObject({
        /** To fetch. */
        bytes: z.number().positive().optional(),
        documents: z.number().positive().optional(),
        /** UTF-8 bytes of text. */
        textBytes: z.number().positive().optional(),
      })
      .optional(),
  })
  .refine(({ paths, lists }) => (paths === undefined) !== (lists === undefined), "name either paths or lists");

const recipeSchema = z.strictObject({
  name: z.string(),
  about: z.string(),
  licence: z.string(),
  sources: z.array(sourceSchema).nonempty(),
  /** As `bitnet data filter` takes them. */
  filters: z.array(z.unknown()).optional(),
  /** As `bitnet data dedup` (src/corpus/dedup/options.ts); null: none. */
  dedup: z
    .strictObject({
      near: z.boolean().optional(),
      exactText: z.enum(["normalised", "verbatim"]).optional(),
      threshold: z.number().optional(),
      shingle: whole.optional(),
      permutations: whole.optional(),
      bands: whole.optional(),
      rows: whole.optional(),
      recall: z.number().optional(),
      verify: z.enum(["exact", "signature"]).optional(),
      keep: z.enum(["first", "longest", "score"]).optional(),
      ngram: whole.optional(),
      overlap: whole.optional(),
      maxBucket: whole.optional(),
      seed: z.number().int().nonnegative().optional(),
    })
    .nullable()
    .optional(),
  /** Evaluation text: documents that share n-grams with it are dropped. */
  decontaminate: z.array(sourceSchema).optional(),
  tokenizer: z.union([
    /** A path, or hf://org/name@revision/tokenizer.json. */
    z.strictObject({ file: z.string() }),
    /** Byte-level BPE made from the training text, or from an even sample of it. */
    z.strictObject({ train: z.literal("bpe"), vocabSize: whole, sampleBytes: whole.optional() }),
  ]),
  packing: z.strictObject({ kind: z.enum(packingKinds), sequence: whole.optional() }),
  /** Seed of the order of documents; null: the order of the sources. */
  shuffle: z.number().int().nonnegative().nullable(),
  /** tokens: of a shard; count: so many shards, as large as that makes them; most: no more shards than this. */
  shards: z.strictObject({ tokens: whole.optional(), count: whole.optional(), most: whole.optional() }),
  /** Share of the documents held out for validation, by a hash of their text. */
  validation: z.number().min(0).lt(1),
});

export type Recipe = z.infer<typeof recipeSchema>;
export type RecipeSource = z.infer<typeof sourceSchema>;

export interface LoadedRecipe {
  recipe: Recipe;
  /** The file it stands in, and its folder, from which paths are seen. */
  path: string;
  folder: string;
}

/** Does a word name a recipe: one that comes with the package, or a YAML file? */
export const isRecipe = (word: string): boolean =>
  /\.ya?ml$/i.test(word) || ((recipeNames as readonly string[]).includes(word) && !exists(word));

/** A recipe is some pages; this is for a file that is none. */
const maxRecipeBytes = 2 ** 20;

/**
 * Reads a recipe and checks all of it, filters included.
 *
 * @throws UsageError for a recipe that is not there, or a key or value that is none, naming line or key; FormatError for a
 *   file that is not UTF-8
 */
export async function readRecipe(word: string): Promise<LoadedRecipe> {
  const path = /\.ya?ml$/i.test(word) ? word : packageFile(`recipes/${word}.yaml`);
  if (!exists(path))
    throw new UsageError(
      `${word}: no such recipe; they are ${recipeNames.join(", ")}, or a YAML file (bitnet data prepare tier1 --print-recipe > mine.yaml)`,
    );
  const document = parseDocument(textOf(path), { prettyErrors: true });
  const [error] = document.errors;
  if (error) throw new UsageError(`${path}: ${error.message.split("\n")[0]}`);
  const parsed = recipeSchema.safeParse(document.toJS({ maxAliasCount: 10 }));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new UsageError(`${path}: ${issue.path.join(".") || "recipe"}: ${issue.message}`);
  }
  const recipe = parsed.data;
  const folder = folderOf(path);
  const wrong = (what: string) => new UsageError(`${path}: ${what}`);
  if (recipe.packing.kind !== "documents" && recipe.packing.sequence === undefined)
    throw wrong(`packing: ${recipe.packing.kind} needs the tokens of a sequence (sequence: 2048)`);
  if (recipe.shards.tokens !== undefined && recipe.shards.count !== undefined)
    throw wrong("shards: name tokens or count, not both");
  if (recipe.decontaminate?.length && !recipe.dedup)
    throw wrong("decontaminate: held-out text is found by deduplication; add dedup: { near: false } at least");
  const names = [...recipe.sources, ...(recipe.decontaminate ?? [])].map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw wrong(`two sources are called ${twice}`);
  await filtersOf(recipe.filters, path, folder);
  for (const { name, filters } of recipe.sources) await filtersOf(filters, `${path}: ${name}`, folder);
  return { recipe, path, folder };
}

export const filtersOf = (filters: readonly unknown[] | undefined, where: string, folder: string) =>
  createFilters((filters ?? []) as Parameters<typeof createFilters>[0], where, folder);

/** The recipe's text, to copy. */
export const recipeText = (word: string): string =>
  textOf(/\.ya?ml$/i.test(word) ? word : packageFile(joinPath("recipes", `${word}.yaml`)));

function textOf(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, maxRecipeBytes));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new FormatError(`${path}: is not UTF-8 text`, { cause });
  }
}
