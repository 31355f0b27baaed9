/**
 * From the files that a config names to what the trainer reads: a tokenizer (given, or trained on the training text), the
 * training tokens, and validation tokens that training never sees.
 */
import {
  expandSources,
  isDataset,
  isValidationDocument,
  openTokens,
  prepareTokens,
  readDocuments,
  readManifest,
  sequentialBatches,
  type TokenStream,
} from "../data/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import { describePath } from "../platform/files.ts";
import { createDocumentEncoder, loadTokenizer, type Tokenizer, trainBpe, trainCharacters } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";
import type { ValidationData } from "./evaluate.ts";
import { countTextBytes } from "./text-bytes.ts";

export interface Corpus {
  tokenizer: Tokenizer;
  tokens: TokenStream;
  /** `stream`: all that is held out, of which `batches` may be the first part. */
  validation: (ValidationData & { tokens: number; source: ValidationSource; stream: TokenStream }) | null;
  close(): void;
}

/** Where validation text comes from: files (or a dataset's split) of its own, documents chosen by their hash, or the end of the text. */
export type ValidationSource = "files" | "documents" | "tail";

/** Fewer documents than this many in the held-out share, and the end of the text is held out instead. */
const expectedHeldOut = 10;

export interface CorpusOptions {
  /** Stands over the config's: the tokenizer of the checkpoint that a run goes on or begins from. */
  tokenizer?: Tokenizer;
  /** Told what is being done, for people. */
  onNote?: (text: string) => void;
  signal?: AbortSignal;
}

/** The files that will be read. @throws UsageError for none, FileError for one that is not there */
export function checkDataFiles({ data }: RunConfig): void {
  if (data.files.length === 0) throw new UsageError("there is no text to train on; name a file with --data");
  if (data.files.some(isDataset)) return;
  expandSources(data.files);
  if (data.validFiles.length > 0) expandSources(data.validFiles);
}

/**
 * @throws DataError for text that is empty, invalid or too short; UsageError where vocabulary and model do not match;
 *   the signal's reason when aborted
 */
export async function prepareCorpus(config: RunConfig, options: CorpusOptions = {}): Promise<Corpus> {
  const { data } = config;
  const dataset = preparedDataset(config);
  const source = dataset ? validationOfDataset(dataset, config) : await chooseValidation(config);
  const held = (text: string) => source === "documents" && isValidationDocument(text, data.validFraction);
  const tokenizer = options.tokenizer ?? (await makeTokenizer(config, held, options));
  // That of a model that is there may leave rows of its vocabulary unused, as published models often do.
  if (!options.tokenizer || tokenizer.vocabSize > config.model.vocabSize) checkVocabulary(config, tokenizer);
  if (dataset && readManifest(dataset).tokenizer.hash !== tokenizer.hash)
    throw new UsageError(
      `${dataset}: was encoded with another tokenizer than ${tokenizer.name}; prepare it with this one, or train on the text itself`,
    );
  const folder = dataset ?? (await encodeText(config, tokenizer, source, options));
  const opened: TokenStream[] = [];
  const open = (split: "train" | "valid") => {
    const stream = openTokens(folder, split);
    opened.push(stream);
    return stream;
  };
  const close = () => {
    for (const stream of opened) stream.close();
  };
  try {
    const all = open("train");
    if (source === null) return { tokenizer, tokens: all, validation: null, close };
    if (source !== "tail")
      return { tokenizer, tokens: all, validation: validationOf(config, tokenizer, open("valid"), source), close };
    const cut = Math.floor(all.tokenCount * (1 - data.validFraction));
    if (cut < 1 || cut >= all.tokenCount)
      throw new DataError(
        `${data.files.join(", ")}: ${all.tokenCount} tokens are too few to hold out ${data.validFraction} of them; give more text, or --data.validFraction 0`,
      );
    const validation = validationOf(config, tokenizer, sliceOf(all, cut, all.tokenCount), source);
    return { tokenizer, tokens: sliceOf(all, 0, cut), validation, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function chooseValidation({ data }: RunConfig): Promise<ValidationSource | null> {
  if (data.validFiles.length > 0) return "files";
  if (data.validFraction === 0) return null;
  // Few documents may leave none on one side: then the end of the text is held out.
  const wanted = Math.ceil(expectedHeldOut / data.validFraction);
  let found = 0;
  for (const path of expandSources(data.files))
    for await (const _ of readDocuments(path, { separator: data.separator, field: data.field }))
      if (++found >= wanted) return "documents";
  return "tail";
}

async function makeTokenizer(
  config: RunConfig,
  held: (text: string) => boolean,
  { onNote = () => {}, signal }: CorpusOptions,
): Promise<Tokenizer> {
  const { file, kind } = config.tokenizer;
  if (file !== null) return loadTokenizer(file);
  const { data, model } = config;
  async function* trainingText() {
    for (const path of expandSources(data.files))
      for await (const text of readDocuments(path, { separator: data.separator, field: data.field }))
        if (!held(text)) yield text;
  }
  if (kind === "characters") {
    onNote("collecting the characters of the text");
    return (await trainCharacters(trainingText(), { maxVocabSize: model.vocabSize, signal })).tokenizer;
  }
  onNote(`training a BPE tokenizer of ${model.vocabSize} tokens`);
  const { tokenizer, report } = await trainBpe(trainingText(), { vocabSize: model.vocabSize, signal });
  if (report.vocabSize < model.vocabSize)
    throw new UsageError(
      `the text supports a vocabulary of ${report.vocabSize} tokens, but the model's is ${model.vocabSize}; give more text, or --model.vocabSize ${report.vocabSize} or less`,
    );
  return tokenizer;
}

/** Characters may leave rows of the model's vocabulary unused; any other tokenizer must match it. */
function checkVocabulary({ model, tokenizer: { file, kind } }: RunConfig, tokenizer: Tokenizer): void {
  const { vocabSize } = tokenizer;
  if (vocabSize === model.vocabSize || (file === null && kind === "characters" && vocabSize < model.vocabSize)) return;
  throw new UsageError(
    `the tokenizer ${tokenizer.name} has ${vocabSize} tokens, but the model's vocabulary is ${model.vocabSize}; use --model.vocabSize ${vocabSize} or another tokenizer`,
  );
}

/** Text shorter than this is encoded before worker threads would have started. */
const threadsFromBytes = 2 ** 20;

/** Encodes the text into the cache, or finds it there. Returns the dataset's folder. */
async function encodeText(
  { data, backend }: RunConfig,
  tokenizer: Tokenizer,
  source: ValidationSource | null,
  { onNote = () => {}, signal }: CorpusOptions,
): Promise<string> {
  const paths = expandSources([...data.files, ...data.validFiles]);
  const sizeBytes = paths.reduce((sum, path) => sum + describePath(path).sizeBytes, 0);
  const threads = sizeBytes < threadsFromBytes ? 0 : backend.threads || undefined;
  const encoder = createDocumentEncoder(tokenizer, { threads, signal });
  try {
    onNote(`encoding ${data.files.join(", ")}`);
    const { folder } = await prepareTokens({
      sources: data.files,
      tokenizer: encoder,
      cacheDir: data.cacheDir,
      separator: data.separator,
      field: data.field,
      signal,
      ...(source === "files" ? { validSources: data.validFiles } : {}),
      ...(source === "documents" ? { validFraction: data.validFraction } : {}),
    });
    return folder;
  } finally {
    await encoder.close();
  }
}

/** The dataset that `bitnet data prepare` made, where the training text is one. */
function preparedDataset({ data, tokenizer }: RunConfig): string | null {
  const datasets = data.files.filter(isDataset);
  if (datasets.length === 0) return null;
  if (data.files.length > 1)
    throw new UsageError(`${datasets[0]}: is a prepared dataset, which stands alone; name it without other files`);
  if (data.validFiles.length > 0)
    throw new UsageError(
      `${datasets[0]}: a prepared dataset brings its own validation text; leave out the validation files, or train on the text itself`,
    );
  if (tokenizer.file === null)
    throw new UsageError(
      `${datasets[0]}: is a prepared dataset; name the tokenizer that it was encoded with (--tokenizer)`,
    );
  return datasets[0];
}

function validationOfDataset(folder: string, { data }: RunConfig): ValidationSource | null {
  if (readManifest(folder).splits.valid) return "files";
  return data.validFraction === 0 ? null : "tail";
}

/** The tokens of `data.lossAfter`. @throws UsageError for text that the tokenizer makes no tokens of */
export function lossMarker({ data }: Pick<RunConfig, "data">, tokenizer: Tokenizer): Int32Array | undefined {
  if (data.lossAfter === null) return undefined;
  const marker = tokenizer.encode(data.lossAfter, { parseSpecialTokens: false });
  if (marker.length === 0) throw new UsageError(`data.lossAfter: "${data.lossAfter}" has no tokens`);
  return marker;
}

function validationOf(
  { train, evaluation, data }: RunConfig,
  tokenizer: Tokenizer,
  stream: TokenStream,
  source: ValidationSource,
): NonNullable<Corpus["validation"]> {
  const batch = Math.min(train.microBatch ?? train.batch, train.batch);
  const { sequence } = train;
  const wanted = evaluation.batches === null ? stream.tokenCount : evaluation.batches * train.batch * sequence;
  const maxTokens = Math.min(wanted, stream.tokenCount);
  const batches = sequentialBatches({
    tokens: stream,
    batch,
    sequence,
    maxTokens,
    documentStarts: data.maskDocuments,
    lossAfter: lossMarker({ data }, tokenizer),
  });
  // Bits per byte are of a whole text; where only answers count there are none.
  const textBytes =
    data.lossAfter === null ? batches.textBytes || countTextBytes(tokenizer, stream, 0, maxTokens) : null;
  return { batch, sequence, batches, textBytes, tokens: batches.tokenCount, source, stream };
}

/** The tokens [from, to) as a stream; its bytes are not known, and the whole stream stays the caller's to close. */
function sliceOf(stream: TokenStream, from: number, to: number): TokenStream {
  let documentCount = 0;
  const piece = new Int32Array(1 << 14);
  for (let at = from; at < to; at += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, to - at));
    stream.read(at, part);
    for (const token of part) if (token === stream.endOfText) documentCount++;
  }
  return {
    tokenCount: to - from,
    documentCount,
    textBytes: 0,
    vocabSize: stream.vocabSize,
    endOfText: stream.endOfText,
    identity: `${stream.identity}[${from},${to})`,
    read(position, target) {
      if (position < 0 || position + target.length > to - from)
        throw new Error(`tokens ${position} to ${position + target.length} asked of ${to - from}`);
      stream.read(from + position, target);
    },
    close() {},
  };
}
