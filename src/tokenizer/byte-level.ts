/**
 * Byte-level BPE, the fast path: GPT-2's and LLaMA-3's tokenizers, and the ones trained here. How one is told, and what its
 * tokens' bytes are; byte-level-encoder.ts encodes.
 *
 * Equal, token for token, to the Rust library on the same file (general/general.test.ts, byte-level.test.ts).
 */
import { type BpePlan, BpeTokenizer, mergesOf } from "./bpe-tokenizer.ts";
import { byteToChar, tokenToBytes } from "./byte-alphabet.ts";
import type { ByteLevelTables } from "./byte-level-encoder.ts";
import { mergeTables } from "./merge-table.ts";
import { GPT2_PATTERN, LLAMA3_PATTERN, type PatternName } from "./pretokenize.ts";
import { OWN, SpanTable, type SpanTables } from "./span-table.ts";
import type { DecodeOptions, TokenizerRoles } from "./tokenizer.ts";
import { type Component, isObject, type TokenizerJson, textAround } from "./tokenizer-json.ts";
import { SLACK_BEFORE, Utf8Buffer } from "./utf8-buffer.ts";

const utf8 = new TextEncoder();

export class ByteLevelTokenizer extends BpeTokenizer {
  readonly engine = "byte-level";

  /** @param plan  from planByteLevel: that the file is of this kind has been found out there */
  constructor(json: TokenizerJson, roles: TokenizerRoles, plan: ByteLevelPlan) {
    super(json, roles, plan, {
      section: tablesOf(json, plan, roles.name),
      // Pre-tokens end between a letter and a space.
      cutsAtSpaces: true,
      // An added token is spelled as it is, unless its name happens to be made of the alphabet: as the library decodes.
      bytesOf: (token) => tokenToBytes(token) ?? utf8.encode(token),
    });
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.decodeBytes(ids, options));
  }
}

function tablesOf(json: TokenizerJson, { ids, pattern }: ByteLevelPlan, where: string): ByteLevelTables {
  const { left, right, merged } = mergesOf(json, ids, where);
  return {
    kind: "byte-level",
    pattern,
    idOfByte: Int32Array.from(byteToChar, (char) => ids.get(char)!),
    merges: mergeTables(left, right, merged),
    whole: json.model.ignore_merges === true ? wholeTokens(json.model.vocab as Record<string, number>) : null,
  };
}

/** The tokens of the model by their bytes, each with its id. */
function wholeTokens(vocab: Record<string, number>): SpanTables {
  const table = new SpanTable();
  const text = new Utf8Buffer();
  for (const [token, id] of Object.entries(vocab)) {
    const bytes = tokenToBytes(token);
    if (bytes === null || bytes.length === 0) continue;
    text.reserve(SLACK_BEFORE + bytes.length);
    text.bytes.set(bytes, SLACK_BEFORE);
    const at = table.add(text, SLACK_BEFORE, SLACK_BEFORE + bytes.length);
    table.slots[at + OWN] = id;
  }
  return table.tables();
}

export interface ByteLevelPlan extends BpePlan {
  pattern: PatternName;
}

/** How this engine runs the file, or why it cannot (a reason for people; the library runs it then). */
export function planByteLevel(json: TokenizerJson, ids: ReadonlyMap<string, number>): ByteLevelPlan | string {
  const { model } = json;
  if (model.type !== "BPE" || !isObject(model.vocab)) return "the model is not BPE";
  if (json.normalizer !== null) return "it has a normalizer";
  if (model.dropout || model.continuing_subword_prefix || model.end_of_word_suffix) return "it marks or drops subwords";
  if (model.byte_fallback) return "it falls back to byte tokens";
  if (json.decoder?.type !== "ByteLevel") return "the decoder is not ByteLevel";
  const pattern = patternOf(json.pre_tokenizer);
  if (!pattern) return "the pre-tokenizer is neither GPT-2's nor LLaMA-3's";
  const around = textAround(json);
  if (typeof around === "string") return `the post-processor ${around}`;
  const added = new Set(json.added_tokens.map((t) => t.content));
  for (const token of ids.keys())
    if (!added.has(token) && tokenToBytes(token) === null) return "a token is not made of bytes";
  if (!byteToChar.every((char) => ids.has(char) && !added.has(char))) return "some bytes have no token";
  return { ids, pattern, ...around };
}

/** The pattern of a pre-tokenizer: ByteLevel alone (GPT-2's pattern), or Split by a known pattern, then ByteLevel. */
function patternOf(component: Component | null): PatternName | null {
  if (component === null) return null;
  if (component.type === "ByteLevel")
    return component.add_prefix_space === true || component.use_regex === false ? null : "gpt2";
  const steps = component.pretokenizers;
  if (component.type !== "Sequence" || !Array.isArray(steps) || steps.length !== 2) return null;
  const [split, bytes] = steps as Component[];
  if (bytes.type !== "ByteLevel" || bytes.add_prefix_space === true || bytes.use_regex !== false) return null;
  if (split.type !== "Split" || split.behavior !== "Isolated" || split.invert === true || !isObject(split.pattern))
    return null;
  if (split.pattern.Regex === GPT2_PATTERN) return "gpt2";
  return split.pattern.Regex === LLAMA3_PATTERN ? "llama3" : null;
}
