/** Validation batches of one held-out text, or of those of a mixture's sources, with the bytes behind them. */
import { createLossMarker, type LossMarker } from "../data/loss-mask.ts";
import {
  type HeldOutSource,
  mixedSequentialBatches,
  type SequentialBatches,
  sequentialBatches,
  type TokenStream,
} from "../data/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";
import type { ValidationData } from "./evaluate.ts";
import { countTextBytes } from "./text-bytes.ts";

/**
 * Where validation text comes from: files (or a dataset's split) of its own, documents chosen by their hash, the end of the
 * text, or what the sources of a mixture hold out.
 */
export type ValidationSource = "files" | "documents" | "tail" | "sources";

/** `stream`: all that is held out, of which `batches` may be a part. */
export interface Validation extends ValidationData {
  tokens: number;
  source: ValidationSource;
  stream: TokenStream;
}

/** The text of `data.lossAfter`, to be found in tokens. @throws UsageError for a tokenizer whose tokens spell no text */
export function lossMarker({ data }: Pick<RunConfig, "data">, tokenizer: Tokenizer): LossMarker | undefined {
  return data.lossAfter === null ? undefined : createLossMarker(data.lossAfter, tokenizer);
}

function settingsOf({ train, data }: RunConfig, marker: LossMarker | undefined) {
  return {
    batch: Math.min(train.microBatch ?? train.batch, train.batch),
    sequence: train.sequence,
    documentStarts: data.maskDocuments,
    lossAfter: marker,
  };
}

/** @param text the held-out text, where it comes from, and the marker of data.lossAfter */
export function validationOf(
  config: RunConfig,
  tokenizer: Tokenizer,
  { stream, source, marker }: { stream: TokenStream; source: ValidationSource; marker: LossMarker | undefined },
): Validation {
  const { train, evaluation, data } = config;
  const settings = settingsOf(config, marker);
  const wanted = evaluation.batches === null ? stream.tokenCount : evaluation.batches * train.batch * train.sequence;
  const maxTokens = Math.min(wanted, stream.tokenCount);
  const batches = sequentialBatches({ ...settings, tokens: stream, maxTokens });
  // Bits per byte are of a whole text; where only answers count there are none.
  const textBytes =
    data.lossAfter === null ? batches.textBytes || countTextBytes(tokenizer, stream, 0, maxTokens) : null;
  return { ...settings, batches, textBytes, tokens: batches.tokenCount, source, stream };
}

/** @param text what the sources hold out, as one stream too, and the marker of data.lossAfter */
export function mixedValidationOf(
  config: RunConfig,
  tokenizer: Tokenizer,
  {
    sources,
    stream,
    marker,
  }: { sources: readonly HeldOutSource[]; stream: TokenStream; marker: LossMarker | undefined },
): Validation {
  const { train, evaluation, data } = config;
  const settings = settingsOf(config, marker);
  const windows = evaluation.batches === null ? null : evaluation.batches * train.batch;
  const batches: SequentialBatches & { parts: { source: HeldOutSource; maxTokens: number }[] } = mixedSequentialBatches(
    sources,
    { ...settings, windows },
  );
  const counted = batches.parts.map(({ source, maxTokens }) => countTextBytes(tokenizer, source.tokens, 0, maxTokens));
  const known = counted.every((bytes) => bytes !== null);
  const textBytes = data.lossAfter === null && known ? counted.reduce((sum, bytes) => sum + bytes!, 0) : null;
  return { ...settings, batches, textBytes, tokens: batches.tokenCount, source: "sources", stream };
}
