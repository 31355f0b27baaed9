/**
 * Filters by name: what a configuration file or a command says becomes stages. The one list of filters there is.
 *
 *   filters:
 *     - unicode
 *     - language: { languages: [en], threshold: 0.5 }
 *     - score: { min: 3 }
 *     - gopher-quality
 */
import { parseDocument } from "yaml";
import { z } from "zod";
import { DataError, UsageError } from "../../platform/errors.ts";
import { Registry } from "../../platform/registry.ts";
import { exists, folderOf, joinPath, readWhole } from "../../platform/files.ts";
import { defineFilter, type Stage } from "../pipeline.ts";
import { c4Filter, parseWordList } from "./c4.ts";
import { gopherQuality } from "./gopher-quality.ts";
import { gopherRepetition } from "./gopher-repetition.ts";
import { languageFilter } from "./language.ts";
import { linesFilter } from "./lines.ts";
import { maskFilter } from "./mask.ts";
import { scoreFilter } from "./score.ts";
import { lengthOf, wordsOf } from "./text-measures.ts";
import { unicodeFilter } from "./unicode.ts";

const share = z.number().min(0).max(1).optional();
const count = z.number().int().nonnegative().optional();
const flag = z.boolean().optional();
const word = z.string().optional();
const shares = z.record(z.string().regex(/^([2-9]|1\d|20)$/), z.number().min(0).max(1)).optional();

/** A filter: its name, what it does in a line, its options, and how it is made. */
export interface FilterKind {
  name: string;
  about: string;
  schema: z.ZodObject;
  /**
   * @param options  that the schema has passed; paths in them are relative to `folder`
   * @returns what `defineFilter` makes, under the filter's name
   */
  // biome-ignore lint/suspicious/noExplicitAny: the schema has checked the options.
  make(options: any, folder: string): Stage | Promise<Stage>;
}

function entry<S extends z.ZodObject>(
  about: string,
  schema: S,
  make: (options: z.infer<S>, folder: string) => Stage | Promise<Stage>,
): Omit<FilterKind, "name"> {
  return { about, schema, make };
}

const ours = {
  unicode: entry(
    "normalises Unicode (NFC), removes what is invisible",
    z.strictObject({
      form: z.enum(["NFC", "NFKC", "NFD", "NFKD", "none"]).optional(),
      removeInvisible: flag,
      maxReplacementCharacters: share,
    }),
    (options) => unicodeFilter(options),
  ),
  length: entry(
    "drops documents that are shorter or longer than asked",
    z.strictObject({ minCharacters: count, maxCharacters: count, minWords: count, maxWords: count }),
    (options) => lengthFilter(options),
  ),
  language: entry(
    "keeps documents in the languages named (default: en)",
    z.strictObject({
      languages: z.array(z.string()).nonempty().optional(),
      threshold: share,
      by: z.enum(["detect", "field"]).optional(),
      characters: z.number().int().min(50).optional(),
    }),
    (options) => languageFilter(options),
  ),
  score: entry(
    "keeps documents whose score (--score-field) is at least min (default: 3)",
    z.strictObject({ min: z.number().optional(), max: z.number().optional() }),
    (options) => scoreFilter(options),
  ),
  lines: entry(
    "leaves out a page's counters and controls; cleans white space",
    z.strictObject({ boilerplate: flag, repeatedFrom: count, maxUpperCase: share, maxRemovedWords: share }),
    (options) => linesFilter(options),
  ),
  "gopher-quality": entry(
    "Gopher's rules of quality: words, symbols, bullets, stop words",
    z.strictObject({
      minWords: count,
      maxWords: count,
      minMeanWordLength: z.number().nonnegative().optional(),
      maxMeanWordLength: z.number().nonnegative().optional(),
      maxSymbolsPerWord: z.number().nonnegative().optional(),
      maxBulletLines: share,
      maxEllipsisLines: share,
      minAlphabeticWords: share,
      minStopWords: count,
      stopWords: z.array(z.string()).nonempty().optional(),
    }),
    (options) => gopherQuality(options),
  ),
  "gopher-repetition": entry(
    "Gopher's rules of repetition: lines, paragraphs, n-grams",
    z.strictObject({
      maxRepeatedLines: share,
      maxRepeatedLineCharacters: share,
      maxRepeatedParagraphs: share,
      maxRepeatedParagraphCharacters: share,
      maxTopNgram: shares,
      maxRepeatedNgrams: shares,
    }),
    (options) => gopherRepetition(options),
  ),
  c4: entry(
    "C4's rules: whole sentences, no programs, no notices",
    z.strictObject({
      terminalPunctuation: flag,
      minWordsPerLine: count,
      maxWordLength: count,
      minSentences: count,
      braces: flag,
      loremIpsum: flag,
      javascript: flag,
      policy: flag,
      citations: flag,
      /** A file of words, one a line; a path is seen from the configuration's folder. */
      badWordsFile: word,
    }),
    ({ badWordsFile, ...options }, folder) =>
      c4Filter(badWordsFile === undefined ? options : { ...options, badWords: readWords(badWordsFile, folder) }),
  ),
  mask: entry(
    "masks e-mail and IP addresses and phone numbers",
    z.strictObject({
      email: flag,
      ip: flag,
      phone: flag,
      emailAs: word,
      ipAs: word,
      phoneAs: word,
      maxMasked: z.number().int().nonnegative().nullable().optional(),
    }),
    (options) => maskFilter(options),
  ),
};

export type FilterName = keyof typeof ours;

const registered = new Registry<FilterKind & { inWorkers: boolean }>(
  "filter",
  Object.entries(ours).map(([name, kind]) => ({ name, ...kind, inWorkers: true })),
  ({ schema, make }) =>
    typeof schema?.safeParse !== "function" ? "schema" : typeof make === "function" ? null : "make()",
);
/** The names of all filters, those of extensions behind ours. */
export const filterNames: readonly string[] = registered.names;

/**
 * Adds a filter.
 *
 * @param inWorkers whether worker threads know the filter too; else it is run in this thread
 * @returns takes it out again
 * @throws UsageError if its name is taken
 */
export const registerFilter = (kind: FilterKind, inWorkers: boolean): (() => void) =>
  registered.register({ ...kind, inWorkers });

/** Drops documents: too-short, too-long (code points), too-few-words, too-many-words. */
export function lengthFilter(
  rules: { minCharacters?: number; maxCharacters?: number; minWords?: number; maxWords?: number } = {},
): Stage {
  return defineFilter("length", rules, (document) => {
    const { minCharacters = 0, maxCharacters, minWords = 0, maxWords } = rules;
    if (minCharacters > 0 || maxCharacters !== undefined) {
      const length = lengthOf(document.text);
      if (length < minCharacters) return { drop: "too-short", detail: `${length}, wanted at least ${minCharacters}` };
      if (maxCharacters !== undefined && length > maxCharacters)
        return { drop: "too-long", detail: `${length}, wanted at most ${maxCharacters}` };
    }
    if (minWords > 0 || maxWords !== undefined) {
      const words = wordsOf(document.text).length;
      if (words < minWords) return { drop: "too-few-words", detail: `${words}, wanted at least ${minWords}` };
      if (maxWords !== undefined && words > maxWords)
        return { drop: "too-many-words", detail: `${words}, wanted at most ${maxWords}` };
    }
    return document;
  });
}

/** What a list of filters looks like: names, and names with options. */
export type FilterSpec = readonly (string | Readonly<Record<string, unknown>>)[];

/**
 * Stages of a list of filters, in its order.
 *
 * @param where   what the list stands in, for errors
 * @param folder  from where paths in options are seen
 * @throws UsageError for an unknown filter or option, or a value outside its range, naming it
 */
export async function createFilters(spec: FilterSpec, where = "filters", folder = "."): Promise<Stage[]> {
  if (!Array.isArray(spec)) throw new UsageError(`${where}: expected a list of filters, such as [unicode, c4]`);
  const stages: Stage[] = [];
  for (const [i, item] of spec.entries()) {
    const entries = typeof item === "string" ? [[item, {}] as const] : Object.entries(item ?? {});
    if (entries.length !== 1)
      throw new UsageError(
        `${where}: filter ${i + 1}: expected a name, or one name with its options, such as "score: { min: 3 }"`,
      );
    const [name, options] = entries[0];
    const kind = registered.find(name);
    if (!kind) throw new UsageError(`${where}: ${registered.unknown(name)}`);
    const parsed = kind.schema.safeParse(options ?? {});
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const at = [name, ...issue.path].join(".");
      const known =
        issue.code === "unrecognized_keys" ? `; its options are: ${Object.keys(kind.schema.shape).join(", ")}` : "";
      throw new UsageError(`${where}: ${at}: ${issue.message}${known}`);
    }
    const stage = await kind.make(parsed.data, folder);
    stages.push(kind.inWorkers ? { ...stage, remake: { name, options: parsed.data, folder } } : stage);
  }
  return stages;
}

/** A configuration is some lines; this is for a file that is none. */
const maxConfigBytes = 2 ** 20;

/**
 * Filters as a command names them: a YAML file (a list, or one under `filters:`), or names with commas between.
 *
 * @throws UsageError for what is neither, naming line and filter
 */
export async function readFilters(words: string): Promise<Stage[]> {
  if (!/\.(ya?ml|json)$/i.test(words))
    return createFilters(
      words.split(",").map((name) => name.trim()),
      "--filters",
    );
  if (!exists(words)) throw new UsageError(`${words}: no such file; expected a list of filters in YAML`);
  const document = parseDocument(textOf(words), { prettyErrors: true });
  const [error] = document.errors;
  if (error) throw new UsageError(`${words}: ${error.message.split("\n")[0]}`);
  const value = document.toJS({ maxAliasCount: 10 }) as unknown;
  const listed = Array.isArray(value) ? value : (value as { filters?: unknown } | null)?.filters;
  if (!Array.isArray(listed))
    throw new UsageError(`${words}: has no list of filters; expected one, or "filters:" with one`);
  return createFilters(listed as FilterSpec, words, folderOf(words));
}

function textOf(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, maxConfigBytes));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new DataError(`${path}: is not UTF-8 text`, { cause });
  }
}

function readWords(path: string, folder: string): string[] {
  const full = path.startsWith("/") ? path : joinPath(folder, path);
  if (!exists(full)) throw new UsageError(`${full}: no such file; badWordsFile names a list of words, one a line`);
  return parseWordList(textOf(full), full);
}
