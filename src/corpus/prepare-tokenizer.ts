/**
 * The tokenizer of a preparation: one that is there, or one that is made from the text that was kept for it. data/ does not
 * know tokenizers; it is handed a function that opens one. Its files lie in the work folder, so that it is made once, and go
 * into the dataset, so that a training run needs no other.
 */
import { joinPath, listFolder, readWhole } from "../platform/files.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import type { StageContext, TokenizerSource } from "./prepare-context.ts";
import { blocksOf, splitOf } from "./prepare-stages.ts";
import { readTextBlock } from "./prepare-blocks.ts";
import { unitHash } from "../data/split.ts";

export interface OpenTokenizer {
  encoder: DocumentEncoder;
  /** For the dataset: name and content. */
  files: Record<string, Uint8Array>;
  close(): Promise<void>;
}

export async function openTokenizer(
  context: StageContext,
  tokenizer: DocumentEncoder | TokenizerSource,
): Promise<OpenTokenizer> {
  if (!("trains" in tokenizer)) return { encoder: tokenizer, files: {}, close: async () => {} };
  const folder = context.work.folder("tokenizer");
  const encoder = await tokenizer.open(folder, () => trainingText(context, tokenizer.sampleBytes));
  const files = Object.fromEntries(listFolder(folder).map((name) => [name, readWhole(joinPath(folder, name))]));
  return { encoder, files, close: async () => encoder.close?.() };
}

/** Another hash than those of split and order. */
const sampleSeed = 0x5eed;

/** What a tokenizer is trained on: training text, as it is before duplicates are dropped, or an even sample of it. */
async function* trainingText(context: StageContext, sampleBytes = Number.POSITIVE_INFINITY): AsyncGenerator<string> {
  const { files, work, given, say } = context;
  const all = files.flatMap((file) => blocksOf(work, file)).reduce((sum, { textBytes }) => sum + textBytes, 0);
  const share = sampleBytes / Math.max(1, all);
  let bytes = 0;
  for (const file of files)
    for (const [block, account] of blocksOf(work, file).entries()) {
      for await (const { text } of readTextBlock(work, file.number, block, account))
        if (splitOf(file, text, given.validFraction) === "train" && unitHash(text, sampleSeed) < share) yield text;
      bytes += account.textBytes;
      say("tokenizer", bytes, all, file.name);
    }
}
