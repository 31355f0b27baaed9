/**
 * A training run's own text as a dataset: the front of the preparation (prepare-run.ts) for text that is encoded in one go,
 * beside a cache. What was prepared before from the same content is found by its hash and used. prepare-shards.ts is the
 * other front, for corpora: sources with settings of their own, duplicates, order, packing, and work that is taken up again.
 */
import { type DatasetManifest, datasetVersion, isDataset } from "../data/dataset.ts";
import { createHasher, joinPath, listFolder, movePath, removePath, writeFolderAtomically } from "../platform/files.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { createBlockFilter } from "./filter-chunks.ts";
import { runPipeline, type Stage, type StageReport } from "./pipeline.ts";
import { checkCommon, checkEncoder, checkWhole, findPrepared } from "./prepare-checks.ts";
import type { StageContext } from "./prepare-context.ts";
import type { InputFile, PrepareInput } from "./prepare-inputs.ts";
import { runPreparation } from "./prepare-run.ts";
import { openPassingWork } from "./prepare-work.ts";
import type { SourceReport, TextDocument } from "./records.ts";
import { identityOf, locateSources } from "./source-files.ts";
import { defaultMaxDocumentBytes, defaultSeparator, readSourceFile, type SourceOptions } from "./sources.ts";

/** Documents that are not in a file. `identity` changes whenever they do. */
export interface DocumentSource {
  readonly name: string;
  readonly identity: string;
  documents(): Iterable<string> | AsyncIterable<string>;
}

/** A file with a reader of its own: openSharedText's, which other steps have read. */
export interface DocumentFile {
  readonly name: string;
  readonly sizeBytes: number | null;
  /** Names format and content. */
  identity(): Promise<string>;
  documents(report: SourceReport, onRead: (bytes: number) => void): AsyncIterable<TextDocument>;
}

export interface PrepareProgress {
  phase: "hash" | "encode";
  /** Bytes of the source files, as on the disk. */
  bytesDone: number;
  bytesTotal: number;
  documents: number;
  tokens: number;
}

export type PrepareSource = string | DocumentFile | DocumentSource;

export interface PrepareOptions extends Omit<SourceOptions, "onRead" | "report"> {
  /** Files, folders, globs, addresses, data sets of the hub, files that were opened before, or documents made otherwise. */
  sources: readonly PrepareSource[];
  tokenizer: DocumentEncoder;
  /** The dataset's folder. One that holds another dataset is replaced once the new one is complete. */
  outDir?: string;
  /** Or: a folder of datasets, where it gets the name of its content. */
  cacheDir?: string;
  /** Share of the documents to hold out, in (0, 1): by document hash. */
  validFraction?: number;
  /** Or: sources of their own for validation. */
  validSources?: readonly PrepareSource[];
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

type ResolvedSource = Omit<InputFile, "input" | "number">;

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
  const side = validFraction === undefined ? "train" : "both";
  const sources = [
    ...(await resolve(options.sources, side, options, progress, report)),
    ...(await resolve(validSources, "valid", options, progress, report)),
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
        sources: sources.map(({ split, identity }) => [split, identity]),
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
      const workDir = joinPath(temporary, "work");
      const context = contextOf(options, { sources, key, recorded, shardTokens, workDir, progress, report });
      const manifest = (await runPreparation(context, tokenizer))!;
      const result = context.work.folder("result");
      for (const name of listFolder(result)) movePath(joinPath(result, name), joinPath(temporary, name));
      removePath(workDir);
      signal?.throwIfAborted();
      return manifest;
    },
    { mayReplace: isDataset },
  );
  return { folder, manifest, reused: false };
}

/** UTF-16 units of text that are encoded together. */
const blockCharacters = 2 ** 22;

/** The stages' view of it: no work that is taken up again, no filters but those that the documents come through. */
function contextOf(
  options: PrepareOptions,
  {
    sources,
    key,
    recorded,
    shardTokens,
    workDir,
    progress,
    report,
  }: {
    sources: readonly ResolvedSource[];
    key: string;
    recorded: DatasetManifest["options"];
    shardTokens: number;
    workDir: string;
    progress: PrepareProgress;
    report: () => void;
  },
): StageContext {
  const { stages = [], validFraction = 0, signal } = options;
  const input: PrepareInput = { name: "text", paths: [] };
  const files = (stages.length > 0 ? throughStages(sources, stages) : sources).map(
    (source, number): InputFile => ({ ...source, input, number }),
  );
  return {
    given: {
      inputs: [input],
      key,
      cut: "past",
      recorded,
      stages: [],
      dedup: null,
      heldOut: async () => [],
      validFraction,
      shuffle: null,
      packing: { kind: "documents" },
      shardTokens,
      blockCharacters,
      keepsText: false,
      settings: recorded,
      about: {},
      signal,
    },
    files,
    work: openPassingWork(workDir),
    filter: createBlockFilter({ threads: 0, signal }),
    mine: () => true,
    encoded({ documents, tokens }) {
      progress.documents += documents;
      progress.tokens += tokens;
    },
    say(stage, done) {
      if (stage === "encode") progress.bytesDone = done;
      report();
    },
  };
}

/** Stages may look at several documents, of several files: those for training go through them as one file, and the others. */
function throughStages(sources: readonly ResolvedSource[], stages: readonly Stage[]): ResolvedSource[] {
  const isValid = ({ split }: ResolvedSource) => split === "valid";
  return [sources.filter((source) => !isValid(source)), sources.filter(isValid)].flatMap((side) => {
    if (side.length === 0) return [];
    let account: () => StageReport[] = () => [];
    const joined: ResolvedSource = {
      name: side.map(({ name }) => name).join(", "),
      split: side[0].split,
      identity: side.map(({ identity }) => identity).join(),
      sizeBytes: side.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0),
      documents(report, onRead) {
        async function* all() {
          for (const source of side) yield* source.documents(report, onRead);
        }
        const run = runPipeline(all(), stages);
        account = run.report;
        return run.documents;
      },
      stages: () => account(),
    };
    return [joined];
  });
}

async function resolve(
  sources: readonly PrepareSource[],
  split: ResolvedSource["split"],
  options: PrepareOptions,
  progress: PrepareProgress,
  report: () => void,
): Promise<ResolvedSource[]> {
  const resolved: ResolvedSource[] = [];
  for (const source of sources) {
    if (isMade(source)) {
      const { name, identity } = source;
      resolved.push({ name, split, identity, sizeBytes: null, documents: (report) => documentsOf(source, report) });
      continue;
    }
    const files = typeof source === "string" ? await filesOf(source, options) : [source];
    for (const { sizeBytes } of files) progress.bytesTotal += sizeBytes ?? 0;
    for (const file of files) {
      const { name, sizeBytes } = file;
      const identity = await file.identity();
      progress.bytesDone += sizeBytes ?? 0;
      report();
      resolved.push({ name, split, identity, sizeBytes, documents: (read, onRead) => file.documents(read, onRead) });
    }
  }
  return resolved;
}

const isMade = (source: PrepareSource): source is DocumentSource =>
  typeof source === "object" && typeof source.identity === "string";

async function filesOf(path: string, options: PrepareOptions): Promise<DocumentFile[]> {
  const files = await locateSources([path], { ...options.remote, format: options.format });
  return files.map((file) => ({
    name: file.name,
    sizeBytes: file.sizeBytes,
    identity: async () => `${file.format}:${await identityOf(file)}`,
    documents: (report, onRead) => readSourceFile(file, { ...options, report, onRead }),
  }));
}

async function* documentsOf(source: DocumentSource, report: SourceReport): AsyncGenerator<TextDocument> {
  const known = { id: null, language: null, score: null, source: null, file: source.name };
  let number = 0;
  for await (const text of source.documents()) {
    report.documents++;
    report.characters += text.length;
    yield { text, ...known, place: `document ${++number}` };
  }
}
