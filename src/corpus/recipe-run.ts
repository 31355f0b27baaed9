/** A recipe, and what a run of it changes, as the options of a preparation. */
import { FileError, UsageError } from "../platform/errors.ts";
import { exists, joinPath } from "../platform/files.ts";
import type { DedupOptions } from "./dedup/options.ts";
import { isAddress, isHubDataset } from "../data/source-names.ts";
import type { Packing } from "./packing/write-shards.ts";
import { decodePiece, readPieces } from "./pieces.ts";
import type { PrepareInput } from "./prepare-inputs.ts";
import type { PrepareShardsOptions } from "./prepare-context.ts";
import { filtersOf, type LoadedRecipe, type RecipeSource } from "./recipe.ts";
import { formatOfName, locateSources } from "./source-files.ts";
import type { SourceOptions } from "./sources.ts";

export interface RecipeChoices {
  /** Paths on this disk, or elsewhere, in place of a source's own. */
  local?: Readonly<Record<string, readonly string[]>>;
  /** Sources, and sources of held-out text, to leave out. */
  without?: readonly string[];
  /** Or: the sources to take; held-out text stays. */
  only?: readonly string[];
  /** Read no more than so many documents of each source. */
  limit?: number;
  /** Cache, token, a folder of copies, signal. */
  remote?: SourceOptions["remote"];
}

/** All but the tokenizer and the folders. */
export type RecipeOptions = Pick<
  PrepareShardsOptions,
  | "inputs"
  | "stages"
  | "dedup"
  | "heldOut"
  | "validFraction"
  | "shuffle"
  | "packing"
  | "shardTokens"
  | "shardCount"
  | "maxShards"
  | "about"
>;

/**
 * @param reach  false: lists of addresses that cannot be read stand for no file, for a look at what would happen
 * @throws UsageError for a name that the recipe has not; FileError for a list of addresses that cannot be reached
 */
export async function optionsOfRecipe(
  { recipe, path, folder }: LoadedRecipe,
  choices: RecipeChoices = {},
  reach = true,
): Promise<RecipeOptions> {
  const { without = [], only = [], local = {} } = choices;
  const names = [...recipe.sources, ...(recipe.decontaminate ?? [])].map(({ name }) => name);
  for (const name of [...without, ...only, ...Object.keys(local)])
    if (!names.includes(name))
      throw new UsageError(`${path}: has no source "${name}"; its sources are: ${names.join(", ")}`);
  const sources = recipe.sources.filter(
    ({ name }) => !without.includes(name) && (only.length === 0 || only.includes(name)),
  );
  if (sources.length === 0) throw new UsageError(`${path}: no source is left; leave out fewer`);
  const heldOut = (recipe.decontaminate ?? []).filter(({ name }) => !without.includes(name));
  const input = (source: RecipeSource) => inputOf(source, { path, folder, choices, reach });
  const { packing, shards } = recipe;
  return {
    inputs: await Promise.all(sources.map(input)),
    stages: await filtersOf(recipe.filters, path, folder),
    dedup: (recipe.dedup ?? null) as DedupOptions | null,
    heldOut: await Promise.all(heldOut.map(async (source) => ({ ...(await input(source)), limit: undefined }))),
    validFraction: recipe.validation,
    shuffle: recipe.shuffle,
    packing: (packing.kind === "documents" ? { kind: packing.kind } : packing) as Packing,
    shardTokens: shards.tokens,
    shardCount: shards.count,
    maxShards: shards.most,
    about: { recipe: recipe.name, about: recipe.about, licence: recipe.licence },
  };
}

async function inputOf(
  source: RecipeSource,
  { path, folder, choices, reach }: { path: string; folder: string; choices: RecipeChoices; reach: boolean },
): Promise<PrepareInput> {
  const { name, fields = {}, limit, filters } = source;
  const local = choices.local?.[name];
  const hint = `name a copy on this disk with --local ${name}=PATH, or leave it out with --without ${name}`;
  const { text, ...others } = fields;
  const read: PrepareInput["read"] = {
    separator: source.separator,
    ...(typeof text === "string" ? { field: text } : {}),
    ...(Array.isArray(text) || Object.keys(others).length > 0
      ? { fields: { ...(Array.isArray(text) ? { text } : {}), ...others } }
      : {}),
    // A copy says by its own name what it is, where it does.
    format: local?.every((file) => formatOfName(file)) ? undefined : source.format,
    maxDocumentBytes: source.maxDocumentBytes,
    onBadRecord: source.onBadRecord,
    remote: choices.remote,
  };
  const here = (word: string) =>
    isAddress(word) || isHubDataset(word) || word.startsWith("/") ? word : joinPath(folder, word);
  const list = (words: string | readonly string[] | undefined) => [words ?? []].flat().map(here);
  let paths = [...(local ?? list(source.paths))];
  if (!local && source.lists !== undefined) {
    try {
      paths = await addressesIn(list(source.lists), choices.remote);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (reach) throw new FileError(`${error.message}; or ${hint}`, { cause: error });
      paths = list(source.lists);
    }
  }
  const limits = { ...limit, ...(choices.limit === undefined ? {} : { documents: choices.limit }) };
  return {
    name,
    paths,
    split: source.split,
    licence: source.licence,
    read,
    stages: await filtersOf(filters, `${path}: ${name}`, folder),
    addressesAreVersions: source.addressesAreVersions,
    hint,
    ...(Object.keys(limits).length > 0 ? { limit: limits } : {}),
  };
}

/** The lines of files that hold an address in each. @throws UsageError for a line that is none */
async function addressesIn(lists: readonly string[], remote: SourceOptions["remote"]): Promise<string[]> {
  const addresses: string[] = [];
  for (const file of await locateSources(lists, { ...remote, format: "text" })) {
    const path = await file.open();
    if (!exists(path)) throw new FileError(`${path}: no such file`);
    const pieces = readPieces(path, {
      delimiter: Uint8Array.of(10),
      noun: "line",
      maxPieceBytes: 1 << 16,
      hint: "is it a list of addresses?",
    });
    for await (const group of pieces)
      for (const piece of group) {
        const line = decodePiece(piece, path, `line ${piece.index + 1}`).trim();
        if (line === "" || line.startsWith("#")) continue;
        if (!isAddress(line))
          throw new UsageError(
            `${file.name}: line ${piece.index + 1}: ${JSON.stringify(line.slice(0, 80))} is no address`,
          );
        addresses.push(line);
      }
  }
  return addresses;
}
