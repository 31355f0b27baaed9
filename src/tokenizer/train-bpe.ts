/**
 * Training a byte-level BPE tokenizer: count the distinct pre-tokens of the text, then join the most frequent adjacent
 * pair of tokens into a new token, again and again (Sennrich et al., 2016; over bytes, Radford et al., 2019).
 *
 * Deterministic: of pairs equally frequent, the one with the smaller left id is joined first, then the one with the
 * smaller right id. Ids: the special tokens, the 256 bytes in the order of their characters, then the merges as made.
 * Both as Hugging Face's trainer does, so that the result is the same as its (train-bpe.test.ts).
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { bytesByChar, byteToChar } from "./byte-alphabet.ts";
import { ByteLevelTokenizer, planByteLevel, utf8Into } from "./byte-level.ts";
import { countPretokens, type PretokenCounts } from "./count-pretokens.ts";
import { learnMerges } from "./learn-merges.ts";
import { GPT2_PATTERN } from "./pretokenize.ts";
import { type Tokenizer, vocabularyOf } from "./tokenizer.ts";
import { bpeTokenizerJson, MAX_VOCABULARY, specialToken, vocabOf } from "./tokenizer-json.ts";

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

export interface TrainBpeOptions {
  /** V wanted: special tokens + 256 bytes + merges. */
  vocabSize: number;
  /** Default ["<|endoftext|>"]. The first is the end-of-text token. */
  specialTokens?: readonly string[];
  /** Stop when no pair occurs at least this often (default 2: a pair met once is no pattern). */
  minFrequency?: number;
  name?: string;
  onProgress?: (progress: TrainProgress) => void;
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
}

export interface TrainedTokenizer {
  tokenizer: Tokenizer;
  report: {
    documents: number;
    characters: number;
    /** Different pre-tokens, the words of the training; for characters, different characters. */
    distinct: number;
    requestedVocabSize: number;
    /** Less than requested where the text has no more pairs to join. The tokenizer is whole all the same. */
    vocabSize: number;
  };
}

/**
 * Trains byte-level BPE with GPT-2's pre-tokens.
 *
 * @param documents  texts; special tokens written in them are left out of the counts
 * @throws UsageError for a vocabulary that cannot hold the bytes and special tokens; DataError when there is no text
 */
export async function trainBpe(
  documents: AsyncIterable<string> | Iterable<string>,
  options: TrainBpeOptions,
): Promise<TrainedTokenizer> {
  const { vocabSize, specialTokens = defaultSpecialTokens, minFrequency = 2, signal } = options;
  checkSpecialTokens(specialTokens, (token) => byteToChar.includes(token));
  const base = specialTokens.length + 256;
  if (!Number.isInteger(vocabSize) || vocabSize < base || vocabSize > MAX_VOCABULARY)
    throw new UsageError(
      `vocabulary size ${vocabSize} for byte-level BPE; expected a whole number from ${base} (256 bytes and ${specialTokens.length} special tokens) to ${MAX_VOCABULARY}`,
    );
  if (!(Number.isInteger(minFrequency) && minFrequency >= 1))
    throw new UsageError(`minimum frequency ${minFrequency}; expected a whole number of 1 or more`);
  const progress: TrainProgress = { phase: "read", characters: 0, documents: 0, tokens: base, vocabSize };
  const report = () => options.onProgress?.({ ...progress });
  const counts = await countPretokens(documents, specialTokens, (characters, count) => {
    signal?.throwIfAborted();
    Object.assign(progress, { characters, documents: count });
    report();
  });
  if (counts.spans.size === 0)
    throw new DataError(`the text to train on is empty (${counts.documents} documents); expected some characters`);
  progress.phase = "merge";
  report();
  const { left, right } = learnMerges(wordsOf(counts, specialTokens.length), {
    firstId: base,
    limit: vocabSize - base,
    minFrequency,
    onMerge(made) {
      if (made % 256 !== 0) return;
      signal?.throwIfAborted();
      progress.tokens = base + made;
      report();
    },
  });
  progress.tokens = base + left.length;
  report();

  const tokens = [...specialTokens, ...bytesByChar.map((byte) => byteToChar[byte])];
  const merges: string[] = [];
  for (const [rank, l] of left.entries()) {
    merges.push(`${tokens[l]} ${tokens[right[rank]]}`);
    tokens.push(tokens[l] + tokens[right[rank]]);
  }
  const json = bpeTokenizerJson(
    { vocab: vocabOf(tokens), merges },
    {
      added_tokens: specialTokens.map(specialToken),
      // Written out, not left to ByteLevel's own pattern: the JavaScript library reads `\s` there in its own way.
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: GPT2_PATTERN }, behavior: "Isolated", invert: false },
          { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true },
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    },
  );
  const plan = planByteLevel(json, vocabularyOf(json));
  if (typeof plan === "string") throw new Error(`trained a tokenizer that we cannot run: ${plan}`);
  const endOfText = specialTokens.length > 0 ? 0 : null;
  const name = options.name ?? `bpe-${tokens.length}`;
  return {
    tokenizer: new ByteLevelTokenizer(json, { name, bos: null, eos: endOfText, endOfText }, plan),
    report: {
      documents: counts.documents,
      characters: counts.characters,
      distinct: counts.spans.size,
      requestedVocabSize: vocabSize,
      vocabSize: tokens.length,
    },
  };
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

/** The pre-tokens as sequences of byte ids, end to end. */
function wordsOf({ spans, counts }: PretokenCounts, firstByteId: number) {
  const idOfByte = new Int32Array(256);
  for (const [i, byte] of bytesByChar.entries()) idOfByte[byte] = firstByteId + i;
  let bytes = new Uint8Array(1024);
  const symbols = new Int32Array(spans.unitCount * 3);
  const starts = new Int32Array(spans.size + 1);
  let at = 0;
  for (let word = 0; word < spans.size; word++) {
    const text = spans.text(word);
    if (text.length * 3 > bytes.length) bytes = new Uint8Array(text.length * 3);
    const length = utf8Into(text, 0, text.length, bytes);
    for (let i = 0; i < length; i++) symbols[at++] = idOfByte[bytes[i]];
    starts[word + 1] = at;
  }
  return { symbols: symbols.slice(0, at), starts, counts };
}
