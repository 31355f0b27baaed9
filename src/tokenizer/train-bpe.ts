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
import { countPretokens, type PretokenCounts } from "./count-pretokens.ts";
import { learnMerges } from "./learn-merges.ts";
import { GPT2_PATTERN } from "./pretokenize.ts";
import { bpeTokenizerJson, MAX_VOCABULARY, specialToken, vocabOf } from "./tokenizer-json.ts";
import {
  checkSpecialTokens,
  defaultSpecialTokens,
  trainedTokenizer,
  type TrainedTokenizer,
  type TrainProgress,
} from "./trained-tokenizer.ts";

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
  return trainedTokenizer(json, "byte-level", options.name ?? `bpe-${tokens.length}`, {
    documents: counts.documents,
    characters: counts.characters,
    distinct: counts.spans.size,
    requestedVocabSize: vocabSize,
  });
}

/** The pre-tokens as sequences of byte ids, end to end. */
function wordsOf({ spans, counts }: PretokenCounts, firstByteId: number) {
  const idOfByte = new Int32Array(256);
  for (const [i, byte] of bytesByChar.entries()) idOfByte[byte] = firstByteId + i;
  const symbols = new Int32Array(spans.byteCount);
  const starts = new Int32Array(spans.size + 1);
  let at = 0;
  for (let word = 0; word < spans.size; word++) {
    for (const byte of spans.bytesOf(word)) symbols[at++] = idOfByte[byte];
    starts[word + 1] = at;
  }
  return { symbols, starts, counts };
}
