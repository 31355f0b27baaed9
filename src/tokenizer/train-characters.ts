/**
 * Character-level tokenizers: one token for each different character (code point) of the text. For small models on
 * small alphabets, such as arithmetic. What a character is that was never seen is said at training: an error, or bytes.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { bytesDecoder, byteTokenName } from "./code-points.ts";
import { bpeTokenizerJson, specialToken, vocabOf } from "./tokenizer-json.ts";
import {
  checkSpecialTokens,
  defaultSpecialTokens,
  trainedTokenizer,
  type TrainedTokenizer,
  type TrainProgress,
} from "./trained-tokenizer.ts";

export interface TrainCharactersOptions {
  /** Default ["<|endoftext|>"]. The first is the end-of-text token. */
  specialTokens?: readonly string[];
  /**
   * A character that the text did not hold: "error" (default) refuses to encode it, naming it; "bytes" adds 256 tokens
   * that spell it in UTF-8, so that every text can be encoded.
   */
  unknown?: "error" | "bytes";
  /** At most so many tokens in all. */
  maxVocabSize?: number;
  name?: string;
  onProgress?: (progress: TrainProgress) => void;
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Ids: the special tokens, then (with "bytes") the 256 byte tokens, then the characters by code point; so the same set of
 * characters gives the same tokenizer, whatever the order of the text.
 *
 * @param documents  texts; special tokens written in them are left out
 * @throws UsageError for bad special tokens; DataError for no text, or for more characters than maxVocabSize allows
 */
export async function trainCharacters(
  documents: AsyncIterable<string> | Iterable<string>,
  options: TrainCharactersOptions = {},
): Promise<TrainedTokenizer> {
  const { specialTokens = defaultSpecialTokens, unknown = "error", signal, maxVocabSize = 65536 } = options;
  checkSpecialTokens(specialTokens, (token) => Array.from(token).length === 1 || /^<0x[0-9A-F]{2}>$/.test(token));
  if (unknown !== "error" && unknown !== "bytes")
    throw new UsageError(`unknown characters: ${JSON.stringify(unknown)}; expected "error" or "bytes"`);
  if (!Number.isInteger(maxVocabSize) || maxVocabSize < 1)
    throw new UsageError(`maximum vocabulary size ${maxVocabSize}; expected a whole number of 1 or more`);
  const seen = new Set<string>();
  const progress: TrainProgress = { phase: "read", characters: 0, documents: 0, tokens: 0, vocabSize: maxVocabSize };
  const report = () => options.onProgress?.({ ...progress, tokens: seen.size });
  let reported = 0;
  for await (const document of documents) {
    let text = document;
    for (const token of specialTokens) text = text.replaceAll(token, "");
    for (const char of text) seen.add(char.length === 1 && char >= "\ud800" && char <= "\udfff" ? "\ufffd" : char);
    progress.documents++;
    progress.characters += document.length;
    if (progress.characters - reported >= 1 << 20) {
      reported = progress.characters;
      signal?.throwIfAborted();
      report();
    }
  }
  signal?.throwIfAborted();
  report();
  if (seen.size === 0)
    throw new DataError(`the text to train on is empty (${progress.documents} documents); expected some characters`);
  const bytes = unknown === "bytes" ? Array.from({ length: 256 }, (_, byte) => byteTokenName(byte)) : [];
  const characters = [...seen].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const tokens = [...specialTokens, ...bytes, ...characters];
  if (tokens.length > maxVocabSize)
    throw new DataError(
      `the text has ${characters.length} different characters, which makes ${tokens.length} tokens; expected at most ${maxVocabSize}; allow more, or train a BPE tokenizer`,
    );
  const json = bpeTokenizerJson(
    { vocab: vocabOf(tokens), merges: [], byte_fallback: unknown === "bytes" },
    { added_tokens: specialTokens.map(specialToken), decoder: bytesDecoder },
  );
  return trainedTokenizer(json, "code-points", options.name ?? `characters-${tokens.length}`, {
    documents: progress.documents,
    characters: progress.characters,
    distinct: characters.length,
    requestedVocabSize: maxVocabSize,
  });
}
