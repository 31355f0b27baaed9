/** What the two trainers share (train-bpe.ts, train-characters.ts): special tokens, progress, and how they end. */
import { UsageError } from "../platform/errors.ts";
import { createTokenizer } from "./load.ts";
import type { Tokenizer, TokenizerEngine } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";

/** The first is the end-of-text token. */
export const defaultSpecialTokens: readonly string[] = ["<|endoftext|>"];

export interface TrainProgress {
  phase: "read" | "merge";
  /** UTF-16 units of text read so far. */
  characters: number;
  documents: number;
  /** Tokens in the vocabulary so far, and wanted. */
  tokens: number;
  vocabSize: number;
}

export interface TrainReport {
  documents: number;
  characters: number;
  /** Different pre-tokens, the words of the training; for characters, different characters. */
  distinct: number;
  requestedVocabSize: number;
  /** Less than requested where the text has no more pairs to join. The tokenizer is whole all the same. */
  vocabSize: number;
}

export interface TrainedTokenizer {
  tokenizer: Tokenizer;
  report: TrainReport;
}

/** @param engine  the one that must run what was trained */
export function trainedTokenizer(
  json: TokenizerJson,
  engine: TokenizerEngine,
  name: string,
  report: Omit<TrainReport, "vocabSize">,
): TrainedTokenizer {
  const endOfText = json.added_tokens[0]?.content ?? null;
  const tokenizer = createTokenizer(json, { name, engine, bos: null, eos: endOfText, endOfText });
  return { tokenizer, report: { ...report, vocabSize: tokenizer.vocabSize } };
}

/** @throws UsageError for an empty or repeated name, or one that `taken` says is an ordinary token */
export function checkSpecialTokens(names: readonly string[], taken: (name: string) => boolean): void {
  for (const [i, name] of names.entries()) {
    if (name === "") throw new UsageError("a special token is empty; expected a name such as <|endoftext|>");
    if (names.indexOf(name) !== i) throw new UsageError(`special token ${name} is given twice`);
    if (taken(name))
      throw new UsageError(`special token ${JSON.stringify(name)} is an ordinary token too; use a longer name`);
  }
}
