/**
 * Text to token shards: reads documents, encodes them (over worker threads where the tokenizer offers it), holds out a
 * validation split, writes a dataset folder. What was prepared before from the same content is found by its hash and used.
 */
import { createHasher, joinPath, writeAtomically, writeFolderAtomically } from "../platform/files.ts";
import {
  type DatasetManifest,
  datasetVersion,
  isDataset,
  manifestName,
  type SplitName,
  type SplitSummary,
} from "../data/dataset.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { encodeGroups } from "./encode-groups.ts";
import { runPipeline, type Stage } from "./pipeline.ts";
import { checkCommon, checkEncoder, checkSides, checkWhole, findPrepared, nothingLeft } from "./prepare-checks.ts";
import { writePrepareReport } from "./prepare-report.ts";
import { createSourceReport, type SourceReport, type TextDocument } from "./records.ts";
import { createShard, type ShardWriter } from "../data/shards.ts";
import { identityOf, locateSources } from "./source-files.ts";
import { defaultMaxDocumentBytes, defaultSeparator, readSourceFile, type SourceOptions } from "./sources.ts";
import { isValidationDocument } from "../data/split.ts";
import { utf8Length } from "./utf8-length.ts";

/** Documents that are not in a file. `identity` changes whenever they do. */
export interface DocumentSource {
  readonly name: string;
  readonly identity: string;
  documents(): Iterable<string> | AsyncIterable<string>;
}

export interface PrepareProgress {
  phase: "hash" | "encode";
  /** Bytes of the source files, as on the disk. */
  bytesDone: number;
  bytesTotal: number;
  documents: number;
  tokens: number;
}

export interface PrepareOptions extends Omit<SourceOptions, "onRead" | "report"> {
  /** Files, folders, globs, addresses, data sets of the hub, or documents made otherwise. */
  sources: readonly (string | DocumentSource)[];
  tokenizer: DocumentEncoder;
  /** The dataset's folder. One that holds another dataset is replaced once the new one is complete. */
  outDir?: string;
  /** Or: a folder of datasets, where it gets the name of its content. */
  cacheDir?: string;
  /** Share of the documents to hold out, in (0, 1): by document hash. */
  validFraction?: number;
  /** Or: sources of their own for validation. */
  validSources?: readonly (string | DocumentSource)[];
  /** What documents go through before they are encoded: filters (filters/), and stages of one's own. */
  stages?: readonly Stage[];
  /** A shard is closed at the first document end past this (default 2^26 tokens: 128 MiB of uint16). */
  shardTokens?: number;
  onProgress?: (progress: PrepareProgress) => void;
  /** Aborting throws the signal's reason and leaves nothing behind. */
  signal?: AbortSignal;
}

export interface PreparedDataset {
  folder: string;
  manifest: DatasetManifest;
  /** True if nothing was done, since the same content was there. */
  reused: boolean;
}

/** The index of a shard's documents is kept in memory while it is written: 8 MiB at this many. */
const maxShardDocuments = 1 << 20;
type WriteOptions = PrepareOptions & { shardTokens: number; endOfText: number };

interface ResolvedSource {
  name: string;
  split: "train" | "valid" | "both";
  hash: string;
  documents(onRead: (bytes: number) => void): AsyncIterable<TextDocument>;
}

/**
 * Prepares a dataset, or finds it prepared.
 *
 * @throws DataError for text that cannot be used (see readDocuments), for no documents, for a split left empty;
 *   UsageError for options that contradict; FileError when the disk refuses
 */
export async function prepareTokens(options: PrepareOptions): Promise<PreparedDataset> {
  const { tokenizer, validFraction, validSources = [], stages = [], signal, shardTokens = 2 ** 26 } = options;
  const { maxDocumentBytes = defaultMaxDocumentBytes } = options;
  const { vocabSize } = tokenizer;
  checkCommon("prepareTokens", {
    ...options,
    hasValidFiles: validSources.length > 0,
    sources: options.sources.length,
  });
  checkWhole("shardTokens", shardTokens);
  const { endOfText } = checkEncoder(tokenizer);

  const progress: PrepareProgress = { phase: "hash", bytesDone: 0, bytesTotal: 0, documents: 0, tokens: 0 };
  const report = () => {
    signal?.throwIfAborted();
    options.onProgress?.({ ...progress });
  };
  const read = createSourceReport();
  const sources = [
    ...(await resolve(
      options.sources,
      validFraction === undefined ? "train" : "both",
      options,
      read,
      progress,
      report,
    )),
    ...(await resolve(validSources, "valid", options, read, progress, report)),
  ];
  const recorded: DatasetManifest["options"] = {
    separator: options.separator ?? defaultSeparator,
    field: options.field ?? "text",
    validFraction: validFraction ?? null,
    shardTokens,
    // Named only where they are set, so that what was prepared before these were there keeps its key.
    ...(options.fields ? { fields: JSON.stringify(options.fields) } : {}),
    ...(options.onBadRecord === "skip" ? { onBadRecord: "skip", maxDocumentBytes } : {}),
    ...(stages.length > 0 ? { stages: JSON.stringify(stages.map(({ name, options }) => ({ [name]: options }))) } : {}),
  };
  const key = createHasher()
    .update(
      JSON.stringify({
        version: datasetVersion,
        tokenizer: [tokenizer.hash, vocabSize, endOfText],
        sources: sources.map(({ split, hash }) => [split, hash]),
        options: recorded,
      }),
    )
    .hex();
  const folder = options.outDir ?? joinPath(options.cacheDir!, key.slice(0, 32));
  const found = findPrepared(folder, key);
  if (found) return { folder, manifest: found, reused: true };

  progress.phase = "encode";
  progress.bytesDone = 0;
  const manifest = await writeFolderAtomically(
    folder,
    async (temporary) => {
      const runs = pipelines(sources, stages, progress);
      const how = { ...options, shardTokens, endOfText };
      const splits = await writeSplits(temporary, sources, runs, read, how, progress, report);
      writePrepareReport(temporary, {
        sources: read,
        stages: runs.main.report(),
        ...(runs.valid ? { validStages: runs.valid.report() } : {}),
      });
      const manifest: DatasetManifest = {
        format: "bitnet-dataset",
        version: datasetVersion,
        key,
        tokenizer: { hash: tokenizer.hash, vocabSize, endOfText },
        sources: sources.map(({ name, split, hash }) => ({ name, split, hash })),
        options: recorded,
        splits,
      };
      writeAtomically(joinPath(temporary, manifestName), `${JSON.stringify(manifest, null, 2)}\n`);
      signal?.throwIfAborted();
      return manifest;
    },
    { mayReplace: isDataset },
  );
  return { folder, manifest, reused: false };
}

async function resolve(
  sources: readonly (string | DocumentSource)[],
  split: ResolvedSource["split"],
  options: PrepareOptions,
  read: SourceReport,
  progress: PrepareProgress,
  report: () => void,
): Promise<ResolvedSource[]> {
  const resolved: ResolvedSource[] = [];
  for (const source of sources) {
    if (typeof source !== "string") {
      resolved.push({ name: source.name, split, hash: source.identity, documents: () => documentsOf(source) });
      continue;
    }
    const files = await locateSources([source], { ...options.remote, format: options.format });
    for (const { sizeBytes } of files) progress.bytesTotal += sizeBytes ?? 0;
    for (const file of files) {
      const hash = `${file.format}:${await identityOf(file)}`;
      progress.bytesDone += file.sizeBytes ?? 0;
      report();
      const documents = (onRead: (bytes: number) => void) => readSourceFile(file, { ...options, report: read, onRead });
      resolved.push({ name: file.name, split, hash, documents });
    }
  }
  return resolved;
}

async function* documentsOf(source: DocumentSource): AsyncGenerator<TextDocument> {
  const known = { id: null, language: null, score: null, source: null, file: source.name };
  let number = 0;
  for await (const text of source.documents()) yield { text, ...known, place: `document ${++number}` };
}

/** The stages over the sources that training takes from, and again over those of validation. */
function pipelines(sources: readonly ResolvedSource[], stages: readonly Stage[], progress: PrepareProgress) {
  async function* all(of: readonly ResolvedSource[]) {
    for (const source of of)
      yield* source.documents((bytes) => {
        progress.bytesDone += bytes;
      });
  }
  const valid = sources.filter(({ split }) => split === "valid");
  return {
    main: runPipeline(all(sources.filter(({ split }) => split !== "valid")), stages),
    valid: valid.length > 0 ? runPipeline(all(valid), stages) : null,
  };
}

async function writeSplits(
  folder: string,
  sources: readonly ResolvedSource[],
  runs: ReturnType<typeof pipelines>,
  read: SourceReport,
  options: WriteOptions,
  progress: PrepareProgress,
  report: () => void,
): Promise<DatasetManifest["splits"]> {
  const { tokenizer, validFraction = 0 } = options;
  const writers = { train: splitWriter(folder, "train", options), valid: splitWriter(folder, "valid", options) };
  async function* documents(): AsyncGenerator<{ text: string; split: SplitName }> {
    for (const run of [runs.main, runs.valid])
      for await (const { text } of run?.documents ?? []) {
        const held = run === runs.valid || isValidationDocument(text, validFraction);
        yield { text, split: held ? "valid" : "train" };
      }
  }
  try {
    for await (const { items, tokens } of encodeGroups(documents(), tokenizer)) {
      for (const [i, { text, split }] of items.entries()) {
        writers[split].add(tokens[i], utf8Length(text));
        progress.documents++;
        progress.tokens += tokens[i].length + 1;
      }
      report();
    }
    const train = writers.train.finish();
    const valid = writers.valid.finish();
    if (train.documents + valid.documents === 0) {
      const stages = [runs.main, runs.valid].flatMap((run) => run?.report() ?? []);
      throw nothingLeft(
        sources.map(({ name }) => name),
        read,
        stages,
      );
    }
    const wantsValid = sources.some(({ split }) => split !== "train");
    checkSides(train, valid, { validFraction, wantsValid });
    return wantsValid ? { train, valid } : { train };
  } catch (error) {
    writers.train.abort();
    writers.valid.abort();
    throw error;
  }
}

/** Writes one split, shard after shard. */
function splitWriter(folder: string, split: SplitName, options: WriteOptions) {
  const { tokenizer, shardTokens, endOfText } = options;
  const summary: SplitSummary = { tokens: 0, documents: 0, textBytes: 0, shards: [] };
  let shard: ShardWriter | undefined;
  const nameOf = (n: number) => `${split}-${String(n).padStart(5, "0")}.bin`;
  const close = () => {
    if (!shard) return;
    const { tokenCount, documentCount, textBytes, contentHash } = shard.finish();
    const file = nameOf(summary.shards.length);
    summary.shards.push({ file, tokens: tokenCount, documents: documentCount, textBytes, contentHash });
    summary.tokens += tokenCount;
    summary.documents += documentCount;
    summary.textBytes += textBytes;
    shard = undefined;
  };
  return {
    add(tokens: ArrayLike<number>, textBytes: number): void {
      shard ??= createShard(joinPath(folder, nameOf(summary.shards.length)), {
        vocabSize: tokenizer.vocabSize,
        endOfText,
        tokenizerHash: tokenizer.hash,
      });
      shard.add(tokens, textBytes);
      if (shard.tokenCount >= shardTokens || shard.documentCount >= maxShardDocuments) close();
    },
    finish(): SplitSummary {
      close();
      return summary;
    },
    abort(): void {
      shard?.abort();
    },
  };
}
