/**
 * What a preparation would come to, without doing it: files and their sizes, how much of a sample the filters leave, how
 * many tokens and shards that makes, how long it takes. Samples what is on this disk; of what is far away it tells what the
 * hub lists, or what the publisher says. Writes nothing but into the system's temporary folder.
 */
import { DataError, FileError, FormatError, UsageError } from "../platform/errors.ts";
import { exists, joinPath, listFolder, readWhole } from "../platform/files.ts";
import { packageFile } from "../platform/machine.ts";
import { withTemporaryFolder } from "../platform/temporary.ts";
import { runPipeline, type Stage } from "./pipeline.ts";
import { nothingLeft } from "./prepare-checks.ts";
import { locateInput, type PrepareInput } from "./prepare-inputs.ts";
import { defaultShardTokens, type PrepareShardsOptions } from "./prepare-context.ts";
import { createSourceReport } from "./records.ts";
import { bytesPerTokenFor } from "../data/shard-header.ts";
import type { SourceFile } from "./source-files.ts";
import { readSourceFile } from "./sources.ts";
import { utf8Length } from "./utf8-length.ts";

/** What a publisher says of a source. */
export interface ExpectedSize {
  bytes?: number;
  documents?: number;
  textBytes?: number;
}

export interface SourceEstimate {
  name: string;
  licence: string | null;
  /** Null where they cannot be listed. */
  files: number | null;
  /** To read or fetch, as they lie; null: not known. */
  bytes: number | null;
  /** Why it cannot be reached. */
  unreachable: string | null;
  /** Documents read of it here, and what the filters left of them; null: nothing of it is on this disk. */
  sample: { documents: number; textBytes: number; fileBytes: number; kept: number; keptBytes: number } | null;
  /** UTF-8 bytes of its text, all of it; null: not known. */
  textBytes: number | null;
  /** What is left after its filters and its limit; null: not known. */
  keptBytes: number | null;
}

export interface PrepareEstimate {
  sources: SourceEstimate[];
  /** Evaluation texts to be looked for: name, files, and why they cannot be reached. */
  heldOut: { name: string; files: number | null; unreachable: string | null }[];
  /** Measured on the sample, or assumed where there is none. */
  bytesPerToken: { value: number; measured: boolean };
  /** Text in a second: read and filtered by this thread, encoded by its threads; null: it could not be measured. */
  filterBytesPerSecond: number | null;
  encodeBytesPerSecond: number | null;
  /** What speeds were measured on: the sources' own text, or the package's pages where none of it is on this disk. */
  measuredOn: "sample" | "pages";
  /** Why nothing could be encoded, where that is so. */
  tokenizer: string | null;
  /** Null where some source is not known. */
  tokens: number | null;
  shards: number | null;
  /** Bytes of shards, and what the work folder holds at most; the sources' own come on top. */
  shardBytes: number | null;
  workBytes: number | null;
  /** Read, filtered and encoded; deduplication comes on top. Null where some size is not known, or nothing could be encoded. */
  seconds: number | null;
  /** Of these, to read and filter: by one thread, though a preparation shares filters over its threads. */
  filterSeconds: number | null;
}

/** English text in the vocabularies of 32,000 and more: between 4 and 4.5. */
const assumedBytesPerToken = 4.2;
/** A page of the web. */
const assumedDocumentBytes = 4000;
/** What gzip leaves of text. */
const gzipShare = 0.45;
/** Signatures, bands and tables of deduplication. */
const dedupBytesPerDocument = 1500;

/**
 * @param sampleDocuments  documents read of each source (default 2000)
 * @throws what reading throws for a damaged file; UsageError for a source that is none
 */
export async function estimatePreparation(
  options: PrepareShardsOptions,
  expected: Readonly<Record<string, ExpectedSize | undefined>>,
  clock: { monotonicMs(): number },
  sampleDocuments = 2000,
): Promise<PrepareEstimate> {
  const texts: string[] = [];
  let filterMs = 0;
  let sampled = 0;
  const sources: SourceEstimate[] = [];
  for (const input of options.inputs) {
    const start = clock.monotonicMs();
    const { estimate, kept } = await estimateSource(input, options, expected[input.name] ?? {}, sampleDocuments);
    filterMs += clock.monotonicMs() - start;
    sources.push(estimate);
    texts.push(...kept);
    sampled += estimate.sample?.textBytes ?? 0;
  }
  const onPages = sampled === 0;
  if (onPages) {
    texts.push(...pagesOfPackage());
    sampled = texts.reduce((sum, text) => sum + utf8Length(text), 0);
    const [{ stages: own = [] }] = options.inputs;
    const stages = [...own, ...(options.stages ?? [])];
    // Once to have code compiled and tables loaded, once to be timed.
    await filterPages(texts, stages);
    const start = clock.monotonicMs();
    await filterPages(texts, stages);
    filterMs = clock.monotonicMs() - start;
  }
  const encoded = texts.length > 0 ? await encodeSample(options, texts, clock) : null;
  const sampleBytes = texts.reduce((sum, text) => sum + utf8Length(text), 0);
  const timed = encoded !== null && "tokens" in encoded;
  const measured = timed && !onPages;
  const bytesPerToken = measured ? sampleBytes / encoded.tokens : assumedBytesPerToken;
  const filterBytesPerSecond = sampled > 0 ? (1000 * sampled) / Math.max(1, filterMs) : null;
  const encodeBytesPerSecond = timed ? (1000 * sampleBytes) / Math.max(1, encoded.ms) : null;
  const total = (value: (source: SourceEstimate) => number | null) =>
    sources.every((source) => value(source) !== null) ? sources.reduce((sum, one) => sum + value(one)!, 0) : null;
  const textBytes = total((source) => source.textBytes);
  const keptBytes = total((source) => source.keptBytes);
  const all = keptBytes === null ? null : keptBytes / bytesPerToken;
  const { shardTokens = defaultShardTokens, shardCount, maxShards = Number.POSITIVE_INFINITY } = options;
  const possible = all === null ? null : (shardCount ?? Math.ceil(all / shardTokens));
  const shards = possible === null ? null : Math.min(possible, maxShards);
  const tokens = all === null ? null : shardCount === undefined ? Math.min(all, maxShards * shardTokens) : all;
  const width = timed ? bytesPerTokenFor(encoded.vocabSize) : 2;
  const meanBytes = onPages ? assumedDocumentBytes : sampleBytes / Math.max(1, texts.length);
  const textParts = options.dedup || ("trains" in options.tokenizer && options.tokenizer.trains);
  const filterSeconds =
    textBytes === null || keptBytes === null || filterBytesPerSecond === null
      ? null
      : readBytes(sources) / filterBytesPerSecond;
  const encodeSeconds = keptBytes === null || encodeBytesPerSecond === null ? null : keptBytes / encodeBytesPerSecond;
  return {
    sources,
    heldOut: await Promise.all((options.heldOut ?? []).map(reachHeldOut)),
    bytesPerToken: { value: bytesPerToken, measured },
    filterBytesPerSecond,
    encodeBytesPerSecond,
    measuredOn: onPages ? "pages" : "sample",
    tokenizer: encoded !== null && "problem" in encoded ? encoded.problem : null,
    tokens,
    shards,
    shardBytes: tokens === null ? null : tokens * width,
    workBytes:
      keptBytes === null || tokens === null
        ? null
        : (textParts ? keptBytes * gzipShare : 0) +
          (options.dedup?.near === false ? 0.2 : options.dedup ? 1 : 0) *
            (keptBytes / meanBytes) *
            dedupBytesPerDocument +
          2 * (keptBytes / bytesPerToken) * width,
    seconds:
      filterSeconds === null || encodeSeconds === null
        ? null
        : textParts
          ? filterSeconds + encodeSeconds
          : Math.max(filterSeconds, encodeSeconds),
    filterSeconds,
  };
}

async function reachHeldOut(input: PrepareInput): Promise<PrepareEstimate["heldOut"][number]> {
  try {
    return { name: input.name, files: (await locateInput(input)).length, unreachable: null };
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { name: input.name, files: null, unreachable: error.message };
  }
}

/** Text that is read until the limits are met. */
const readBytes = (sources: readonly SourceEstimate[]): number =>
  sources.reduce((sum, { sample, textBytes, keptBytes }) => {
    const share = sample && sample.textBytes > 0 ? sample.keptBytes / sample.textBytes : 1;
    return sum + Math.min(textBytes!, share > 0 ? keptBytes! / share : textBytes!);
  }, 0);

async function estimateSource(
  input: PrepareInput,
  options: PrepareShardsOptions,
  expected: ExpectedSize,
  sampleDocuments: number,
): Promise<{ estimate: SourceEstimate; kept: string[] }> {
  const estimate: SourceEstimate = {
    name: input.name,
    licence: input.licence ?? null,
    files: null,
    bytes: expected.bytes ?? null,
    unreachable: null,
    sample: null,
    textBytes: expected.textBytes ?? null,
    keptBytes: null,
  };
  let files: SourceFile[] = [];
  try {
    files = await locateInput(input);
    estimate.files = files.length;
    if (files.every(({ sizeBytes }) => sizeBytes !== null))
      estimate.bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes!, 0);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    estimate.unreachable = error.message;
  }
  const here = files.filter(({ name }) => exists(name));
  const kept: string[] = [];
  let whole = here.length === files.length;
  if (here.length > 0) {
    const sample = { documents: 0, textBytes: 0, fileBytes: 0, kept: 0, keptBytes: 0 };
    const report = createSourceReport();
    const most = Math.min(sampleDocuments, input.limit?.documents ?? sampleDocuments);
    async function* documents() {
      for (const file of here) {
        const onRead = (bytes: number) => {
          sample.fileBytes += bytes;
        };
        for await (const document of readSourceFile(file, { ...input.read, report, onRead })) {
          if (sample.documents >= most) {
            whole = false;
            return;
          }
          sample.documents++;
          sample.textBytes += utf8Length(document.text);
          yield document;
        }
      }
    }
    const run = runPipeline(documents(), [...(input.stages ?? []), ...(options.stages ?? [])]);
    for await (const { text } of run.documents) {
      kept.push(text);
      sample.kept++;
      sample.keptBytes += utf8Length(text);
    }
    if (sample.documents === 0)
      throw nothingLeft(
        here.map(({ name }) => name),
        report,
        [],
      );
    estimate.sample = sample;
    if (whole) estimate.textBytes = sample.textBytes;
    else if (estimate.bytes !== null && sample.fileBytes > 0)
      estimate.textBytes = estimate.bytes * (sample.textBytes / sample.fileBytes);
  }
  const { sample } = estimate;
  if (estimate.textBytes !== null) {
    const share = sample && sample.textBytes > 0 ? sample.keptBytes / sample.textBytes : 1;
    const perDocument = sample ? sample.keptBytes / sample.documents : null;
    const { documents = Number.POSITIVE_INFINITY, textBytes = Number.POSITIVE_INFINITY } = input.limit ?? {};
    const fromExpected =
      expected.documents && expected.textBytes ? (expected.textBytes / expected.documents) * share : null;
    const limited = documents * (perDocument ?? fromExpected ?? Number.POSITIVE_INFINITY);
    estimate.keptBytes = Math.min(estimate.textBytes * share, textBytes, limited);
  }
  return { estimate, kept };
}

/** Sections of the package's own pages: English text that is always there, to measure speeds on. */
function pagesOfPackage(): string[] {
  const folder = packageFile("docs");
  if (!exists(folder)) return [];
  const pages = listFolder(folder).filter((name) => name.endsWith(".md"));
  const text = (name: string) => new TextDecoder().decode(readWhole(joinPath(folder, name)));
  return pages.flatMap((name) => text(name).split(/\n(?=## )/)).filter((section) => /\S/.test(section));
}

async function filterPages(texts: readonly string[], stages: readonly Stage[]): Promise<void> {
  const known = { id: null, language: "en", score: 3, source: null, file: "pages" };
  async function* documents() {
    for (const [i, text] of texts.entries()) yield { text, ...known, place: `document ${i + 1}` };
  }
  for await (const _ of runPipeline(documents(), stages).documents);
}

/** Tokens of the sample and the time they take, once the threads run. */
async function encodeSample(
  { tokenizer }: PrepareShardsOptions,
  texts: string[],
  clock: { monotonicMs(): number },
): Promise<{ tokens: number; ms: number; vocabSize: number } | { problem: string }> {
  try {
    return await withTemporaryFolder(async (folder) => {
      const documents = async function* () {
        yield* texts;
      };
      const encoder = "trains" in tokenizer ? await tokenizer.open(folder, documents) : tokenizer;
      const encodeMany = (some: string[]) =>
        encoder.encodeMany ? encoder.encodeMany(some) : Promise.resolve(some.map((text) => encoder.encode(text)));
      try {
        // Once to start the threads and to have their code compiled, once to be timed.
        await encodeMany(texts);
        const start = clock.monotonicMs();
        const encoded = await encodeMany(texts);
        const ms = clock.monotonicMs() - start;
        return { tokens: encoded.reduce((sum, ids) => sum + ids.length + 1, 0), ms, vocabSize: encoder.vocabSize };
      } finally {
        if ("close" in encoder && typeof encoder.close === "function") await encoder.close();
      }
    });
  } catch (error) {
    const known = [DataError, FileError, FormatError, UsageError].some((kind) => error instanceof kind);
    if (!known) throw error;
    return { problem: (error as Error).message };
  }
}
