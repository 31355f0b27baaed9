/**
 * Hugging Face's tokenizer.json: its parts as far as we build or look into them, the check of one from outside, and its
 * text. Which engine runs it is load.ts's business.
 */
import { FormatError } from "../platform/errors.ts";
import { nestsDeeper, show, showText } from "../platform/show.ts";
import { wrongInComponent, wrongInModel } from "./component-check.ts";

export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** A normalizer, pre-tokenizer, post-processor or decoder: its type and settings. */
export type Component = { type: string; [setting: string]: unknown };

export interface TokenizerModel {
  type?: string;
  /** Token to id; an array of [token, score] for Unigram. */
  vocab?: Record<string, number> | unknown[];
  /** In order of rank: "left right", or [left, right]. */
  merges?: (string | [string, string])[];
  unk_token?: string | null;
  fuse_unk?: boolean;
  byte_fallback?: boolean;
  ignore_merges?: boolean;
  [setting: string]: unknown;
}

export interface TokenizerJson {
  version: string;
  truncation: unknown;
  padding: unknown;
  added_tokens: AddedToken[];
  normalizer: Component | null;
  pre_tokenizer: Component | null;
  post_processor: Component | null;
  decoder: Component | null;
  model: TokenizerModel;
}

/** Ids above this are refused: tables are made of that length (the largest published vocabularies have 2^18 or so). */
export const MAX_VOCABULARY = 2 ** 21;

/** Lists and objects in each other: components may lie in sequences of sequences. */
const maxNesting = 64;

/** An added token that stands for no text. */
export function specialToken(content: string, id: number): AddedToken {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

/** A BPE tokenizer as a file: what is given, and of the rest what says "none". `vocab` is token to id. */
export function bpeTokenizerJson(
  model: { vocab: Record<string, number>; merges: string[] } & Partial<TokenizerModel>,
  parts: Partial<TokenizerJson>,
): TokenizerJson {
  const { vocab, merges, ...settings } = model;
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...parts,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      ...settings,
      vocab,
      merges,
    },
  };
}

/** The vocabulary of tokens that are numbered in order. */
export function vocabOf(tokens: readonly string[]): Record<string, number> {
  const vocab: Record<string, number> = {};
  for (let id = 0; id < tokens.length; id++) {
    // A key like any other only if it is defined, not assigned.
    if (tokens[id] === "__proto__")
      Object.defineProperty(vocab, "__proto__", { value: id, writable: true, enumerable: true, configurable: true });
    else vocab[tokens[id]] = id;
  }
  return vocab;
}

/**
 * Reads a tokenizer.json.
 *
 * @param where  named in errors: the path
 * @throws FormatError when it is not JSON, or not a tokenizer
 */
export function parseTokenizerJson(text: string, where: string): TokenizerJson {
  let json: unknown;
  try {
    json = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (error) {
    throw new FormatError(
      `${where}: is not JSON (${showText((error as Error).message, 120)}); expected a Hugging Face tokenizer.json`,
    );
  }
  return checkTokenizerJson(json, where);
}

export function checkTokenizerJson(json: unknown, where: string): TokenizerJson {
  const refuse = (what: string) => new FormatError(`${where}: ${what}; expected a Hugging Face tokenizer.json`);
  if (!isObject(json)) throw refuse(`is ${json === null ? "null" : Array.isArray(json) ? "a list" : typeof json}`);
  if (!isObject(json.model)) throw refuse('has no "model"');
  if (nestsDeeper(json, maxNesting)) throw refuse(`nests more than ${maxNesting} deep`);
  const { vocab, merges } = json.model;
  const tokens: (string | undefined)[] = [];
  const claim = (token: string, id: unknown, mayRepeat: boolean) => {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= MAX_VOCABULARY)
      throw refuse(`token ${show(token)} has id ${show(id)}, not one of 0 to ${MAX_VOCABULARY - 1}`);
    const before = tokens[id as number];
    if (before !== undefined && !(mayRepeat && before === token))
      throw refuse(`tokens ${show(before)} and ${show(token)} have one id, ${id}`);
    tokens[id as number] = token;
  };
  if (isObject(vocab)) {
    for (const token of Object.keys(vocab)) claim(token, vocab[token], false);
  } else if (Array.isArray(vocab)) {
    for (const [id, entry] of vocab.entries()) {
      const token: unknown = Array.isArray(entry) ? entry[0] : entry;
      claim(typeof token === "string" ? token : show(token), id, false);
    }
  } else {
    throw refuse('the model has no "vocab"');
  }
  if (merges !== undefined && !Array.isArray(merges)) throw refuse('"model.merges" is not a list');
  const wrongModel = wrongInModel(json.model);
  if (wrongModel) throw new FormatError(`${where}: ${wrongModel}`);
  const added = json.added_tokens ?? [];
  if (!Array.isArray(added)) throw refuse('"added_tokens" is not a list');
  const addedTokens = added.map((token: unknown, i): AddedToken => {
    if (!isObject(token) || typeof token.content !== "string") throw refuse(`added token ${i} has no "content"`);
    claim(token.content, token.id, true);
    const special = token.special === true;
    return {
      id: token.id as number,
      content: token.content,
      single_word: token.single_word === true,
      lstrip: token.lstrip === true,
      rstrip: token.rstrip === true,
      normalized: typeof token.normalized === "boolean" ? token.normalized : !special,
      special,
    };
  });
  renumber(addedTokens, json.model.vocab as Record<string, number> | unknown[]);
  const component = (key: string): Component | null => {
    const value = json[key] ?? null;
    const wrong = value === null ? null : wrongInComponent(key, value);
    if (wrong) throw new FormatError(`${where}: ${wrong}`);
    return value as Component | null;
  };
  return {
    version: typeof json.version === "string" ? json.version : "1.0",
    truncation: json.truncation ?? null,
    padding: json.padding ?? null,
    added_tokens: addedTokens,
    normalizer: component("normalizer"),
    pre_tokenizer: component("pre_tokenizer"),
    post_processor: component("post_processor"),
    decoder: component("decoder"),
    model: json.model as TokenizerModel,
  };
}

/**
 * Gives added tokens the ids that Hugging Face's library gives them, whatever the file says: that of the vocabulary where it
 * has the token, else the next one behind it.
 */
function renumber(added: AddedToken[], vocab: Record<string, number> | unknown[]): void {
  const size = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  const idOf = (content: string): number | undefined => {
    if (!Array.isArray(vocab)) return Object.hasOwn(vocab, content) ? vocab[content] : undefined;
    const found = vocab.findLastIndex((entry) => Array.isArray(entry) && entry[0] === content);
    return found < 0 ? undefined : found;
  };
  let next = size;
  const known = new Map<string, number>();
  for (const token of added) {
    token.id = idOf(token.content) ?? known.get(token.content) ?? next;
    known.set(token.content, token.id);
    next = Math.max(next, token.id + 1);
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The two sides of a merge. */
export function mergeSides(merge: string | [string, string], where: string): [string, string] {
  if (typeof merge !== "string") {
    if (Array.isArray(merge) && typeof merge[0] === "string" && typeof merge[1] === "string") return merge;
  } else {
    const cut = merge.indexOf(" ", 1);
    if (cut > 0 && cut + 1 < merge.length) return [merge.slice(0, cut), merge.slice(cut + 1)];
  }
  throw new FormatError(`${where}: merge ${show(merge)} is not two tokens; expected "left right"`);
}

/**
 * The file's text, the same bytes for the same tokenizer: two-space indentation as Hugging Face writes it, the
 * vocabulary in the order of ids (JavaScript alone would put the tokens "0" to "9" first).
 */
export function formatTokenizerJson(json: TokenizerJson): string {
  const { model, ...rest } = json;
  const { vocab, merges, ...settings } = model;
  const indented = (value: unknown) => JSON.stringify(value, null, 2).replaceAll("\n", "\n    ");
  const lines = Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `    ${JSON.stringify(key)}: ${indented(value)}`);
  const byId = Object.entries((vocab ?? {}) as Record<string, number>).sort(([, a], [, b]) => a - b);
  const entries = byId.map(([token, id]) => `      ${JSON.stringify(token)}: ${id}`).join(",\n");
  lines.push(`    "vocab": ${Array.isArray(vocab) ? indented(vocab) : `{\n${entries}\n    }`}`);
  if (merges !== undefined) lines.push(`    "merges": ${indented(merges)}`);
  const head = JSON.stringify(rest, null, 2).slice(0, -2); // without "\n}"
  return `${head},\n  "model": {\n${lines.join(",\n")}\n  }\n}\n`;
}

/** One text for one content, whatever the order of keys or the spaces in the file: what the hash is taken of. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v ?? null)).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value ?? null);
  const keys = Object.keys(value).filter((key) => value[key] !== undefined);
  return `{${keys
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`)
    .join(",")}}`;
}

/**
 * The ids that the post-processor puts before and after one text, or why they cannot be told (words behind "the
 * post-processor"): a template that drops the text or repeats it, a type that is not known.
 */
export function textAround(json: TokenizerJson): { prefix: number[]; suffix: number[] } | string {
  const around = { prefix: [] as number[], suffix: [] as number[] };
  let before = false;
  // A second template gets what the first one made as two texts, and goes by its rule for pairs.
  const put = (prefix: number[], suffix: number[]) => {
    if (before) return "puts tokens beside the text twice, which is not supported";
    before = true;
    around.prefix = prefix;
    around.suffix = suffix;
    return null;
  };
  const visit = (processor: Component | null): string | null => {
    switch (processor?.type) {
      case undefined:
      case "ByteLevel": // trims offsets, which we do not give
        return null;
      case "Sequence":
        for (const member of processor!.processors as Component[]) {
          const wrong = visit(member);
          if (wrong !== null) return wrong;
        }
        return null;
      case "BertProcessing":
      case "RobertaProcessing":
        return put([(processor!.cls as [string, number])[1]], [(processor!.sep as [string, number])[1]]);
      case "TemplateProcessing": {
        const sides = templateSides(processor!, json);
        return typeof sides === "string" ? sides : put(sides.prefix, sides.suffix);
      }
      default:
        return `${JSON.stringify(processor!.type)} is not supported`;
    }
  };
  return visit(json.post_processor) ?? around;
}

/** Of a template for one text. The ids are those of the file's `special_tokens`; files of ours before 0.2 lean on the added tokens. */
function templateSides(template: Component, json: TokenizerJson): { prefix: number[]; suffix: number[] } | string {
  const named = isObject(template.special_tokens) ? template.special_tokens : {};
  let side: "prefix" | "suffix" | null = null;
  const sides = { prefix: [] as number[], suffix: [] as number[] };
  for (const item of template.single as Record<string, { id: string }>[]) {
    if (item.Sequence) {
      if (side !== null || item.Sequence.id !== "A") return "takes the text more than once, or another one";
      side = "suffix";
      continue;
    }
    const name = item.SpecialToken.id;
    const known = Object.hasOwn(named, name) ? named[name] : undefined;
    const ids =
      isObject(known) && Array.isArray(known.ids)
        ? (known.ids as number[])
        : json.added_tokens.filter((token) => token.content === name).map((token) => token.id);
    if (ids.length === 0) return `puts ${JSON.stringify(name)} beside the text, which is no token of the file`;
    sides[side ?? "prefix"].push(...ids);
  }
  return side === null ? "leaves the text out" : sides;
}
