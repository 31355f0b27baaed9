/**
 * From the text that a config names to what the trainer reads: a tokenizer (given, or trained on the training text), the
 * training tokens, and validation tokens that training never sees. A mixture's sources are mixed-corpus.ts's.
 */
import {
  type FeedSpec,
  isDataset,
  isValidationDocument,
  openStream,
  readManifest,
  sliceOfStream,
  type TokenStream,
} from "../data/index.ts";
import { createTextMemory, type SharedText } from "../corpus/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";
import { checkPaths, encodeText, hasManyDocuments, makeTokenizer, openText } from "./encode-text.ts";
import { checkMixturePaths, prepareMixture } from "./mixed-corpus.ts";
import {
  type CorpusOptions,
  checkDataset,
  feedSettings,
  type TrainingData,
  tokenizerOfRun,
  verifyDatasets,
} from "./training-data.ts";
import { lossMarker, type Validation, type ValidationSource, validationOf } from "./validation.ts";

export interface Corpus extends TrainingData {
  tokens: TokenStream;
}

/** The files that will be read, as far as they are on this disk. @throws UsageError for none, FileError for one missing */
export function checkDataFiles({ data }: RunConfig): void {
  if (data.mixture !== null) {
    checkMixturePaths(data.mixture);
    return;
  }
  if (data.files.length === 0) throw new UsageError("there is no text to train on; name a file with --data");
  if (data.files.some(isDataset)) return;
  checkPaths(data.files);
  if (data.validFiles.length > 0) checkPaths(data.validFiles);
}

/**
 * Text, datasets or a mixture, made ready.
 *
 * @throws DataError for text that is empty, invalid or too short; UsageError where vocabulary and model do not match;
 *   the signal's reason when aborted
 */
export function prepareTrainingData(config: RunConfig, options: CorpusOptions = {}): Promise<TrainingData> {
  return config.data.mixture === null ? prepareCorpus(config, options) : prepareMixture(config, options);
}

/** One text, or datasets one behind another. @throws as prepareTrainingData */
export async function prepareCorpus(config: RunConfig, options: CorpusOptions = {}): Promise<Corpus> {
  const datasets = preparedDatasets(config);
  if (datasets) {
    const make = () => makeTokenizer(config, [], () => false, options);
    const tokenizer = await tokenizerOfRun(config, { dataset: datasets[0], make }, options);
    for (const folder of datasets) checkDataset(folder, tokenizer);
    const source = validationOfDatasets(datasets, config);
    return openCorpus(config, tokenizer, { folders: datasets, source, prepared: true }, options);
  }
  const { tokenizer, ...encoded } = await encodeCorpus(config, options);
  return openCorpus(config, tokenizer, { ...encoded, prepared: false }, options);
}

/** Which text is held out, a tokenizer, tokens: all from one opening of the text. */
async function encodeCorpus(config: RunConfig, options: CorpusOptions) {
  const { data } = config;
  const memory = createTextMemory();
  const text = await openText(config, data.files, options, memory);
  let validText: SharedText | undefined;
  try {
    const source = await chooseValidation(config, text);
    const held = (document: string) => source === "documents" && isValidationDocument(document, data.validFraction);
    const make = () => makeTokenizer(config, [text], held, options);
    const tokenizer = await tokenizerOfRun(config, { dataset: null, make }, options);
    if (source === "files") validText = await openText(config, data.validFiles, options, memory);
    const validFraction = source === "documents" ? data.validFraction : undefined;
    const folder = await encodeText(config, tokenizer, { text, validText, validFraction }, options);
    return { tokenizer, folders: [folder], source };
  } finally {
    await text.close();
    await validText?.close();
  }
}

async function openCorpus(
  config: RunConfig,
  tokenizer: Tokenizer,
  { folders, source, prepared }: { folders: readonly string[]; source: ValidationSource | null; prepared: boolean },
  options: CorpusOptions,
): Promise<Corpus> {
  if (prepared && config.data.verify) await verifyDatasets(folders, options);
  const opened: TokenStream[] = [];
  const open = (split: "train" | "valid", range: readonly [number, number] | null = null) => {
    const holding = split === "train" ? folders : folders.filter((folder) => readManifest(folder).splits.valid);
    const stream = openStream({ folders: holding, split, range });
    opened.push(stream);
    return stream;
  };
  const close = () => {
    for (const stream of opened) stream.close();
  };
  try {
    const all = open("train");
    let tokens = all;
    let range: readonly [number, number] | null = null;
    let held: TokenStream | null = null;
    const marker = lossMarker(config, tokenizer);
    if (source === "tail") {
      range = [0, cutOf(config, all)];
      tokens = sliceOfStream(all, ...range);
      held = sliceOfStream(all, range[1], all.tokenCount);
    } else if (source !== null) held = open("valid");
    const readBy = (run: RunConfig): { feed: FeedSpec; validation: Validation | null } => ({
      feed: { kind: "text", folders, split: "train", range, ...feedSettings(run, marker) },
      validation: held && validationOf(run, tokenizer, { stream: held, source: source!, marker }),
    });
    const { identity, tokenCount } = tokens;
    const corpus: Corpus = {
      tokenizer,
      ...readBy(config),
      tokens,
      about: {
        identity,
        tokens: tokenCount,
        // Of a part they are counted, which reads all of it: once, when they are written down.
        get documents() {
          return tokens.documentCount;
        },
      },
      prepared,
      forRun: (run) => ({ ...corpus, ...readBy(run), close() {} }),
      close,
    };
    return corpus;
  } catch (error) {
    close();
    throw error;
  }
}

/** Where the end that is held out begins. */
function cutOf({ data }: RunConfig, all: TokenStream): number {
  if (all.fitted)
    throw new UsageError(
      `${data.files.join(", ")}: was packed by best fit, and has no validation split; prepare it with one (--val-fraction), or train with --data.validFraction 0`,
    );
  const cut = Math.floor(all.tokenCount * (1 - data.validFraction));
  if (cut < 1 || cut >= all.tokenCount)
    throw new DataError(
      `${data.files.join(", ")}: ${all.tokenCount} tokens are too few to hold out ${data.validFraction} of them; give more text, or --data.validFraction 0`,
    );
  return cut;
}

/** Few documents may leave none on one side: then the end of the text is held out. */
async function chooseValidation(config: RunConfig, text: SharedText): Promise<ValidationSource | null> {
  const { data } = config;
  if (data.validFiles.length > 0) return "files";
  if (data.validFraction === 0) return null;
  return (await hasManyDocuments(config, text)) ? "documents" : "tail";
}

/** The datasets that `bitnet data prepare` made, where the training text is such. */
function preparedDatasets({ data }: RunConfig): string[] | null {
  const datasets = data.files.filter(isDataset);
  if (datasets.length === 0) return null;
  const other = data.files.find((path) => !isDataset(path));
  if (other !== undefined)
    throw new UsageError(
      `${datasets[0]}: is a prepared dataset, ${other} is not; prepare that too, or make a mixture of both: --mix a=1:${datasets[0]},b=1:${other}`,
    );
  if (data.validFiles.length > 0)
    throw new UsageError(
      `${datasets[0]}: a prepared dataset brings its own validation text; leave out the validation files, or train on the text itself`,
    );
  return datasets;
}

function validationOfDatasets(folders: readonly string[], { data }: RunConfig): ValidationSource | null {
  if (folders.some((folder) => readManifest(folder).splits.valid)) return "files";
  return data.validFraction === 0 ? null : "tail";
}
