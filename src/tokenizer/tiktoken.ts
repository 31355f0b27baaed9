/**
 * LLaMA-3's `tokenizer.model`: tiktoken ranks, one token a line in base64 with its rank, turned into the tokenizer.json
 * that Hugging Face makes of it. The file holds neither the pattern nor the 256 special tokens; they are LLaMA-3's.
 * Source: meta-llama/llama3, llama/tokenizer.py.
 */
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import { bytesToToken, byteToChar } from "./byte-alphabet.ts";
import { LLAMA3_PATTERN } from "./pretokenize.ts";
import { templateWithPrefix } from "./sentencepiece.ts";
import { splitMerges } from "./split-merges.ts";
import { bpeTokenizerJson, MAX_VOCABULARY, specialToken, type TokenizerJson, vocabOf } from "./tokenizer-json.ts";

/** Tokens in LLaMA-3's file. Other rank files (cl100k, o200k) have other counts and other patterns. */
const LLAMA3_RANKS = 128_000;

/** LLaMA-3's special tokens; their ids follow the ranks. */
const llama3SpecialTokens: readonly string[] = [
  "<|begin_of_text|>",
  "<|end_of_text|>",
  "<|reserved_special_token_0|>",
  "<|reserved_special_token_1|>",
  "<|reserved_special_token_2|>",
  "<|reserved_special_token_3|>",
  "<|start_header_id|>",
  "<|end_header_id|>",
  "<|reserved_special_token_4|>",
  "<|eot_id|>",
  ...Array.from({ length: 246 }, (_, i) => `<|reserved_special_token_${i + 5}|>`),
];

/** The tokens of a rank file in order of rank, in the byte alphabet. @throws FormatError naming the line */
function readRanks(text: string, where: string): string[] {
  const tokens: string[] = [];
  const seen = new Set<string>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const bad = (what: string) => new FormatError(`${where}: line ${i + 1}: ${what}; expected "<base64> <rank>"`);
    const match = /^([A-Za-z0-9+/]+={0,2}) (\d+)\r?$/.exec(line);
    if (!match) throw bad(`is ${show(line.slice(0, 60))}`);
    if (Number(match[2]) !== tokens.length) throw bad(`rank ${match[2]} where ${tokens.length} is next`);
    if (tokens.length === MAX_VOCABULARY) throw bad(`over ${MAX_VOCABULARY} tokens`);
    let binary: string;
    try {
      binary = atob(match[1]);
    } catch {
      throw bad(`${match[1]} is not base64`);
    }
    const token = bytesToToken(Array.from(binary, (c) => c.charCodeAt(0)));
    if (seen.has(token)) throw bad("repeats a token");
    seen.add(token);
    tokens.push(token);
  }
  const missing = byteToChar.findIndex((char) => !seen.has(char));
  if (missing >= 0) throw new FormatError(`${where}: byte ${missing} has no token; is the file cut short?`);
  return tokens;
}

/** LLaMA-3's tokenizer.json from its ranks. @throws UnsupportedError for the ranks of another tokenizer */
export function llama3ToJson(text: string, where: string): TokenizerJson {
  const tokens = readRanks(text, where);
  if (tokens.length !== LLAMA3_RANKS)
    throw new UnsupportedError(
      `${where}: has ${tokens.length} ranks; only LLaMA-3's ${LLAMA3_RANKS} are supported in this format, since the file does not say how text is cut; use a tokenizer.json`,
    );
  return ranksToJson(tokens);
}

/** @param tokens  in order of rank, in the byte alphabet */
export function ranksToJson(tokens: readonly string[]): TokenizerJson {
  const ids = new Map(tokens.map((token, rank) => [token, rank]));
  const [begin] = llama3SpecialTokens;
  return bpeTokenizerJson(
    { vocab: vocabOf(tokens), merges: splitMerges(tokens, ids), ignore_merges: true },
    {
      added_tokens: llama3SpecialTokens.map((name, i) => specialToken(name, tokens.length + i)),
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: LLAMA3_PATTERN }, behavior: "Isolated", invert: false },
          { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: {
        type: "Sequence",
        processors: [
          { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true },
          templateWithPrefix(begin, tokens.length),
        ],
      },
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    },
  );
}
