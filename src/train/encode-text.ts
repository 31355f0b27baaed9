/**
 * Text that a config names, made ready: which of it is held out, a tokenizer of it where none is given, and its tokens in
 * the cache. corpus.ts does this for one text, mixed-corpus.ts for each source of a mixture.
 */
import { expandSources, openSharedText, prepareTokens, type SharedText, type TextMemory } from "../corpus/index.ts";
import { isAddress, isHubDataset } from "../data/index.ts";
import { UsageError } from "../platform/errors.ts";
import { createDocumentEncoder, loadTokenizer, type Tokenizer, trainBpe, trainCharacters } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";

export interface TextOptions {
  /** Told what is being done, for people. */
  onNote?: (text: string) => void;
  signal?: AbortSignal;
}

/**
 * Text that counting, tokenizing and encoding share, so that its files are read as few times as can be. The caller closes it.
 *
 * @param memory  several texts may share one
 */
export function openText(
  { data }: Pick<RunConfig, "data">,
  files: readonly string[],
  { onNote, signal }: TextOptions,
  memory?: TextMemory,
): Promise<SharedText> {
  return openSharedText(files, {
    separator: data.separator,
    field: data.field,
    remote: { signal, hub: { onNote, signal }, ...(data.localCopy === null ? {} : { localCopy: data.localCopy }) },
    signal,
    memory,
  });
}

/** Paths on this disk are looked for now; what is far away shows when it is listed. @throws as expandSources */
export function checkPaths(paths: readonly string[]): void {
  expandSources(paths.filter((path) => !isAddress(path) && !isHubDataset(path)));
}

/** Fewer documents than this many in the held-out share, and holding out by document would leave too little. */
const expectedHeldOut = 10;

/** Whether a text has so many documents that a share of them is enough to validate on. */
export const hasManyDocuments = ({ data }: Pick<RunConfig, "data">, text: SharedText): Promise<boolean> =>
  text.hasDocuments(Math.ceil(expectedHeldOut / data.validFraction));

/**
 * The tokenizer that a config names, or one trained on text.
 *
 * @param held tells of a document that the tokenizer may not see
 */
export async function makeTokenizer(
  config: RunConfig,
  texts: readonly SharedText[],
  held: (text: string) => boolean,
  options: TextOptions,
): Promise<Tokenizer> {
  const { file, kind } = config.tokenizer;
  if (file !== null) return loadTokenizer(file);
  const { onNote = () => {}, signal } = options;
  const { model } = config;
  async function* trainingText() {
    for (const { documents } of texts) for await (const text of documents()) if (!held(text)) yield text;
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
export function checkVocabulary({ model, tokenizer: { file, kind } }: RunConfig, tokenizer: Tokenizer): void {
  const { vocabSize } = tokenizer;
  if (vocabSize === model.vocabSize || (file === null && kind === "characters" && vocabSize < model.vocabSize)) return;
  throw new UsageError(
    `the tokenizer ${tokenizer.name} has ${vocabSize} tokens, but the model's vocabulary is ${model.vocabSize}; use --model.vocabSize ${vocabSize} or another tokenizer`,
  );
}

/** Text shorter than this is encoded before worker threads would have started. */
const threadsFromBytes = 2 ** 20;

/** Encodes text into the cache, or finds it there. Returns the dataset's folder. */
export async function encodeText(
  config: RunConfig,
  tokenizer: Tokenizer,
  text: { text: SharedText; validText?: SharedText; validFraction?: number },
  options: TextOptions,
): Promise<string> {
  const { data, backend } = config;
  const { onNote = () => {}, signal } = options;
  const { files, paths } = text.text;
  const validFiles = text.validText?.files;
  // Of a size that is not known before the download, the worst is expected.
  const sizeBytes = [...files, ...(validFiles ?? [])].reduce(
    (sum, file) => sum + (file.sizeBytes ?? threadsFromBytes),
    0,
  );
  const threads = sizeBytes < threadsFromBytes ? 0 : backend.threads || undefined;
  const encoder = createDocumentEncoder(tokenizer, { threads, signal });
  try {
    onNote(`encoding ${paths.join(", ")}`);
    const { folder } = await prepareTokens({
      separator: data.separator,
      field: data.field,
      sources: files,
      tokenizer: encoder,
      cacheDir: data.cacheDir,
      signal,
      ...(validFiles === undefined ? {} : { validSources: validFiles }),
      ...(text.validFraction === undefined ? {} : { validFraction: text.validFraction }),
    });
    return folder;
  } finally {
    await encoder.close();
  }
}
