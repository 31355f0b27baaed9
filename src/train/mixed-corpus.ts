/**
 * The sources of a mixture, made ready: prepared datasets as they are, text encoded into the cache with the run's tokenizer,
 * and of each what it holds out.
 */
import {
  type HeldOutSource,
  isDataset,
  isValidationDocument,
  type MixtureFeedSpec,
  type MixtureSpec,
  openMixture,
  openShards,
  openStream,
  type PreparedSource,
  pathsOf,
  readManifest,
  type SourceSpec,
  streamOfShards,
  type TokenStream,
} from "../data/index.ts";
import { createTextMemory, type SharedText } from "../corpus/index.ts";
import { UsageError } from "../platform/errors.ts";
import { sha256Of } from "../platform/hash.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";
import { checkPaths, encodeText, hasManyDocuments, makeTokenizer, openText, type TextOptions } from "./encode-text.ts";
import {
  type CorpusOptions,
  checkDataset,
  feedSettings,
  type TrainingData,
  tokenizerOfRun,
  verifyDatasets,
} from "./training-data.ts";
import { lossMarker, mixedValidationOf } from "./validation.ts";

/** @throws UsageError, FileError, DataError naming the source whose paths cannot be used */
export function checkMixturePaths({ sources }: MixtureSpec): void {
  for (const source of sources)
    told(source, () => {
      if (!isPrepared(source)) checkPaths(pathsOf(source));
    });
}

/** @throws UsageError where some of a source's paths are datasets and others are not */
function isPrepared(source: SourceSpec): boolean {
  const paths = pathsOf(source);
  const datasets = paths.filter(isDataset);
  if (datasets.length > 0 && datasets.length < paths.length)
    throw new UsageError(
      `${datasets[0]} is a prepared dataset, ${paths.find((path) => !isDataset(path))} is not; make a source of each`,
    );
  return datasets.length > 0;
}

/** Errors of a source's paths, with its name in front. */
function told<T>({ name }: SourceSpec, work: () => T): T {
  const named = (error: unknown) => {
    if (error instanceof Error) error.message = `source "${name}": ${error.message}`;
    return error;
  };
  try {
    const result = work();
    if (result instanceof Promise)
      return result.catch((error: unknown) => {
        throw named(error);
      }) as T;
    return result;
  } catch (error) {
    throw named(error);
  }
}

/** @throws as prepareTrainingData of corpus.ts, naming the source */
export async function prepareMixture(config: RunConfig, options: CorpusOptions = {}): Promise<TrainingData> {
  const { data } = config;
  const spec = data.mixture!;
  if (data.validFiles.length > 0)
    throw new UsageError(
      "a mixture validates on what its sources hold out; leave out the validation files (--val-data), or prepare them as a source's validation split",
    );
  const prepared = spec.sources.filter((source) => told(source, () => isPrepared(source)));
  const texts = new Map<string, SourceText>();
  const { tokenizer, sources } = await encodeSources(config, { spec, prepared, texts }, options).finally(async () => {
    for (const { text } of texts.values()) await text.close();
  });
  const marker = lossMarker(config, tokenizer);
  const feedOf = (run: RunConfig): MixtureFeedSpec => ({
    kind: "mixture",
    sources,
    split: "train",
    curriculum: spec.curriculum ?? null,
    ...feedSettings(run, marker),
  });
  const feed = feedOf(config);
  const held = openHeldOut(config, sources);
  if (held === null && data.validFraction > 0)
    options.onNote?.("no source holds text out (bitnet data prepare --val-fraction), so there is no validation");
  const validationFor = (run: RunConfig) => held && mixedValidationOf(run, tokenizer, { ...held, marker });
  const close = () => held?.close();
  try {
    const mixture: TrainingData = {
      tokenizer,
      feed,
      prepared: true,
      ...describe(feed),
      validation: validationFor(config),
      forRun: (run) => ({ ...mixture, feed: feedOf(run), validation: validationFor(run), close() {} }),
      close,
    };
    return mixture;
  } catch (error) {
    close();
    throw error;
  }
}

/** A source that is text. */
interface SourceText {
  text: SharedText;
  /** It has enough documents to hold some out. */
  holdsOut: boolean;
}

/** Opens the sources that are text into `texts`, finds or trains the tokenizer, encodes; datasets are checked. */
async function encodeSources(
  config: RunConfig,
  { spec, prepared, texts }: { spec: MixtureSpec; prepared: readonly SourceSpec[]; texts: Map<string, SourceText> },
  options: CorpusOptions,
): Promise<{ tokenizer: Tokenizer; sources: PreparedSource[] }> {
  const { data } = config;
  const memory = createTextMemory();
  for (const source of spec.sources)
    if (!prepared.includes(source))
      await told(source, async () => {
        const text = await openText(config, pathsOf(source), options, memory);
        texts.set(source.name, { text, holdsOut: false });
        const holdsOut = data.validFraction > 0 && (await hasManyDocuments(config, text));
        texts.set(source.name, { text, holdsOut });
      });
  const [first] = prepared;
  const tokenizer = await tokenizerOfRun(
    config,
    {
      dataset: first ? pathsOf(first)[0] : null,
      make: () => tokenizerFor(config, [...texts.values()], options),
      ...(first ? { from: `source "${first.name}": ` } : {}),
    },
    options,
  );
  const sources: PreparedSource[] = [];
  for (const source of spec.sources) {
    const { name, weight, curriculum = true } = source;
    const text = texts.get(name);
    const folders = text
      ? [await told(source, () => encodeSource(config, tokenizer, name, text, options))]
      : pathsOf(source);
    for (const folder of folders) told(source, () => checkDataset(folder, tokenizer));
    if (data.verify && prepared.includes(source)) await told(source, () => verifyDatasets(folders, options));
    sources.push({ name, weight, folders, curriculum });
  }
  return { tokenizer, sources };
}

function tokenizerFor(config: RunConfig, texts: readonly SourceText[], options: TextOptions): Promise<Tokenizer> {
  // A document's hash decides alone, so what one source holds out is not seen through another.
  const anyHeld = texts.some(({ holdsOut }) => holdsOut);
  const held = (text: string) => anyHeld && isValidationDocument(text, config.data.validFraction);
  return makeTokenizer(
    config,
    texts.map(({ text }) => text),
    held,
    options,
  );
}

function encodeSource(
  config: RunConfig,
  tokenizer: Tokenizer,
  name: string,
  { text, holdsOut }: SourceText,
  options: TextOptions,
): Promise<string> {
  const { validFraction } = config.data;
  if (!holdsOut && validFraction > 0)
    options.onNote?.(`source "${name}": has too few documents to hold some out; all of it is trained on`);
  return encodeText(config, tokenizer, { text, ...(holdsOut ? { validFraction } : {}) }, options);
}

/** What the sources hold in all; opens them once, so that what cannot be mixed shows before anything costly. */
function describe(feed: MixtureFeedSpec): Pick<TrainingData, "about"> {
  const mixture = openMixture(feed);
  try {
    const { sources } = mixture.state();
    const identity = sha256Of(JSON.stringify(sources.map(({ name, part, data }) => [name, part, data])));
    const splits = feed.sources.flatMap(({ folders }) => folders.map((folder) => readManifest(folder).splits.train));
    const sum = (of: (split: (typeof splits)[number]) => number) => splits.reduce((n, split) => n + of(split), 0);
    return { about: { identity, tokens: sum(({ tokens }) => tokens), documents: sum(({ documents }) => documents) } };
  } finally {
    mixture.close();
  }
}

/** What the sources hold out, open: each by itself and all as one stream; null where there is none. */
function openHeldOut(
  config: RunConfig,
  sources: readonly PreparedSource[],
): { sources: HeldOutSource[]; stream: TokenStream; close(): void } | null {
  if (config.data.validFraction === 0) return null;
  const holding = (folders: readonly string[]) => folders.filter((folder) => readManifest(folder).splits.valid);
  const held = sources.filter(({ folders }) => holding(folders).length > 0);
  if (held.length === 0) return null;
  const open: TokenStream[] = [];
  const close = () => {
    for (const stream of open) stream.close();
  };
  try {
    const streams = held.map(({ name, weight, folders }): HeldOutSource => {
      const tokens = openStream({ folders: holding(folders), split: "valid", range: null });
      open.push(tokens);
      return { name, weight, tokens };
    });
    const all = streamOfShards(held.flatMap(({ folders }) => holding(folders)).flatMap((f) => openShards(f, "valid")));
    open.push(all);
    return { sources: streams, stream: all, close };
  } catch (error) {
    close();
    throw error;
  }
}
