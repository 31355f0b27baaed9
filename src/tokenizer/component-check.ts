/**
 * Checks the settings of a tokenizer.json's parts (normalizer, pre-tokenizer, post-processor, decoder, model), member by
 * member: the engines that run them take their word for it. Called by tokenizer-json.ts;
 * refusals name the field. A type that is not listed is left to the engines, which say themselves that they cannot run it.
 *
 * Settings as of the tokenizers library, https://huggingface.co/docs/tokenizers/api/normalizers and the pages beside it.
 */
import { show } from "../platform/show.ts";

/** What is wrong with a value, at which path in it: ["", "expected a string"]; null if nothing is. */
type Check = (value: unknown) => Wrong | null;
interface Wrong {
  path: string;
  value: unknown;
  expected: string;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const simple =
  (expected: string, holds: (value: unknown) => boolean): Check =>
  (value) =>
    holds(value) ? null : { path: "", value, expected };

const text = simple("a string", (value) => typeof value === "string");
const flag = simple("true or false", (value) => typeof value === "boolean");
const number = simple("a number", (value) => typeof value === "number");
const count = simple("a whole number from 0", (value) => Number.isInteger(value) && (value as number) >= 0);
const positive = simple("a whole number from 1", (value) => Number.isInteger(value) && (value as number) >= 1);
const pattern = simple(
  'a pattern, {"String": ...} or {"Regex": ...}',
  (value) => isRecord(value) && (typeof value.Regex === "string" || typeof value.String === "string"),
);
const charText = simple("one character", (value) => typeof value === "string" && [...value].length === 1);
const tokenAndId = simple(
  "a token and its id, [string, number]",
  (value) => Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && Number.isInteger(value[1]),
);
const oneOf = (...words: string[]): Check =>
  simple(words.map((word) => JSON.stringify(word)).join(" or "), (value) => words.includes(value as string));

/** Absent or null is fine too. */
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null ? null : check(value);

const listOf =
  (what: string, check: Check): Check =>
  (value) => {
    if (!Array.isArray(value)) return { path: "", value, expected: `a list of ${what}` };
    for (const [i, entry] of value.entries()) {
      const wrong = check(entry);
      if (wrong) return { ...wrong, path: `[${i}]${wrong.path}` };
    }
    return null;
  };

const record =
  (fields: Record<string, Check>): Check =>
  (value) => {
    if (!isRecord(value)) return { path: "", value, expected: "an object" };
    for (const [name, check] of Object.entries(fields)) {
      const wrong = check(value[name]);
      if (wrong) return { ...wrong, path: `.${name}${wrong.path}` };
    }
    return null;
  };

/** One part of a text and a pair's template: [{"SpecialToken": {"id": ...}}, {"Sequence": {"id": "A"}}, ...]. */
const templatePiece: Check = (value) => {
  if (isRecord(value) && value.SpecialToken !== undefined) return record({ SpecialToken: record({ id: text }) })(value);
  if (isRecord(value) && value.Sequence !== undefined)
    return record({ Sequence: record({ id: oneOf("A", "B") }) })(value);
  return { path: "", value, expected: 'a "SpecialToken" or a "Sequence"' };
};

type Kinds = Record<string, Record<string, Check>>;

/** Members of a Sequence may lie in one another, but not without end. */
const MAX_NESTING = 16;

function component(kinds: () => Kinds, depth = 0): Check {
  return (value) => {
    if (!isRecord(value) || typeof value.type !== "string")
      return { path: "", value, expected: 'an object with a "type"' };
    if (depth > MAX_NESTING) return { path: "", value, expected: `at most ${MAX_NESTING} sequences in one another` };
    if (value.type === "Sequence") {
      const members = Object.keys(kinds().Sequence)[0];
      const wrong = listOf("components", component(kinds, depth + 1))(value[members]);
      return wrong && { ...wrong, path: `.${members}${wrong.path}` };
    }
    const fields = Object.hasOwn(kinds(), value.type) ? kinds()[value.type] : {};
    return record(fields)(value);
  };
}

/** The name of a Sequence's members; their check is the component's own. */
const members = (name: string) => ({ [name]: text });
const metaspace = {
  replacement: optional(charText),
  str_rep: optional(text),
  prepend_scheme: optional(oneOf("always", "never", "first")),
  add_prefix_space: optional(flag),
  split: optional(flag),
};
const behavior = oneOf("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous");

const normalizers: Kinds = {
  Sequence: members("normalizers"),
  BertNormalizer: {
    clean_text: optional(flag),
    handle_chinese_chars: optional(flag),
    strip_accents: optional(flag),
    lowercase: optional(flag),
  },
  Precompiled: { precompiled_charsmap: optional(text) },
  Replace: { pattern, content: text },
  Strip: { strip_left: optional(flag), strip_right: optional(flag) },
  Prepend: { prepend: text },
};

const preTokenizers: Kinds = {
  Sequence: members("pretokenizers"),
  Metaspace: metaspace,
  ByteLevel: { add_prefix_space: optional(flag), trim_offsets: optional(flag), use_regex: optional(flag) },
  Split: { pattern, behavior, invert: optional(flag) },
  Punctuation: { behavior: optional(behavior) },
  Digits: { individual_digits: optional(flag) },
  CharDelimiterSplit: { delimiter: charText },
  FixedLength: { length: optional(positive) },
};

const postProcessors: Kinds = {
  Sequence: members("processors"),
  TemplateProcessing: {
    single: listOf("pieces", templatePiece),
    pair: optional(listOf("pieces", templatePiece)),
  },
  ByteLevel: { trim_offsets: optional(flag) },
  BertProcessing: { sep: tokenAndId, cls: tokenAndId },
  RobertaProcessing: { sep: tokenAndId, cls: tokenAndId, trim_offsets: optional(flag) },
};

const decoders: Kinds = {
  Sequence: members("decoders"),
  ByteLevel: { add_prefix_space: optional(flag), trim_offsets: optional(flag), use_regex: optional(flag) },
  WordPiece: { prefix: text, cleanup: optional(flag) },
  Metaspace: metaspace,
  BPEDecoder: { suffix: optional(text) },
  CTC: { pad_token: optional(text), word_delimiter_token: optional(text), cleanup: optional(flag) },
  Replace: { pattern, content: text },
  Strip: { content: optional(charText), start: optional(count), stop: optional(count) },
};

const mergeList = listOf(
  'merges, "left right" or [left, right]',
  simple('two tokens, "left right"', (value) =>
    typeof value === "string"
      ? value.indexOf(" ", 1) > 0 && value.indexOf(" ", 1) + 1 < value.length
      : Array.isArray(value) && value.length === 2 && value.every((side) => typeof side === "string"),
  ),
);

const models: Kinds = {
  BPE: {
    merges: mergeList,
    unk_token: optional(text),
    fuse_unk: optional(flag),
    byte_fallback: optional(flag),
    ignore_merges: optional(flag),
    dropout: optional(number),
    continuing_subword_prefix: optional(text),
    end_of_word_suffix: optional(text),
  },
  WordPiece: {
    unk_token: text,
    continuing_subword_prefix: text,
    max_input_chars_per_word: optional(count),
  },
  Unigram: {
    unk_id: optional(count),
    byte_fallback: optional(flag),
    vocab: listOf(
      "tokens and scores",
      simple(
        "[token, score]",
        (value) => Array.isArray(value) && typeof value[0] === "string" && typeof value[1] === "number",
      ),
    ),
  },
};

const parts: Record<string, Check> = {
  normalizer: component(() => normalizers),
  pre_tokenizer: component(() => preTokenizers),
  post_processor: component(() => postProcessors),
  decoder: component(() => decoders),
};

const shown = (value: unknown): string => (value === undefined ? "missing" : show(value, 64));

const refusal = (key: string, { path, value, expected }: Wrong) =>
  `"${key}${path}" is ${shown(value)}, expected ${expected}`;

/** What is wrong with a part: `"pre_tokenizer.pretokenizers[1].behavior" is 7, expected a string`; null if nothing is. */
export function wrongInComponent(key: keyof typeof parts & string, value: unknown): string | null {
  const wrong = parts[key](value);
  return wrong && refusal(key, wrong);
}

/** The same of the model, whose vocabulary's ids tokenizer-json.ts checks. */
export function wrongInModel(model: Record<string, unknown>): string | null {
  if (model.type !== undefined && model.type !== null && typeof model.type !== "string")
    return refusal("model", { path: ".type", value: model.type, expected: "a string" });
  const kind = typeof model.type === "string" && Object.hasOwn(models, model.type) ? models[model.type] : {};
  const wrong = record(kind)(model);
  if (wrong) return refusal("model", wrong);
  if (model.type === "Unigram") return wrongUnknown(model);
  return null;
}

function wrongUnknown({ unk_id: id, vocab }: Record<string, unknown>): string | null {
  if (typeof id !== "number" || id < (vocab as unknown[]).length) return null;
  return refusal("model", {
    path: ".unk_id",
    value: id,
    expected: `an id of the ${(vocab as unknown[]).length} tokens`,
  });
}
