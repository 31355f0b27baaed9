/**
 * The models of a tokenizer.json, as the Rust library `tokenizers` runs them: a pre-token to ids. BPE and Unigram are in
 * files of their own. Called by general.ts.
 */
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import type { TokenizerModel } from "../tokenizer-json.ts";
import { createBpe } from "./bpe.ts";
import { type Model, UnknownText } from "./model.ts";
import { createUnigram } from "./unigram.ts";

/** The model's kind; files of early versions leave the name out. */
function kindOf({ type, vocab, merges, continuing_subword_prefix: prefix }: TokenizerModel): string {
  if (typeof type === "string") return type;
  if (merges !== undefined) return "BPE";
  if (Array.isArray(vocab)) return "Unigram";
  return prefix !== undefined ? "WordPiece" : "WordLevel";
}

/** @param where named in errors */
export function createModel(model: TokenizerModel, where: string): Model {
  const kind = kindOf(model);
  const ids = Array.isArray(model.vocab) ? new Map<string, number>() : new Map(Object.entries(model.vocab ?? {}));
  switch (kind) {
    case "BPE":
      if (typeof model.dropout === "number" && model.dropout > 0)
        throw new UnsupportedError(
          `${where}: "model.dropout" is ${model.dropout}: merges left out by chance are not supported; set it to null`,
        );
      return cached(createBpe(model, ids, where));
    case "Unigram":
      return cached(createUnigram(model));
    case "WordPiece":
      return cached(createWordPiece(model, ids, where));
    case "WordLevel":
      return createWordLevel(model, ids);
    default:
      throw new FormatError(
        `${where}: the model ${JSON.stringify(kind)} is not supported; expected BPE, Unigram, WordPiece or WordLevel`,
      );
  }
}

/** Words are met again and again; longer pre-tokens seldom. When it is full it starts again. */
const maxCachedLength = 64;
const maxCached = 1 << 16;

function cached(model: Model): Model {
  const known = new Map<string, Int32Array>();
  return (text, out) => {
    if (text.length > maxCachedLength) {
      model(text, out);
      return;
    }
    const before = known.get(text);
    if (before) {
      out.reserve(before.length);
      out.ids.set(before, out.length);
      out.length += before.length;
      return;
    }
    const from = out.length;
    model(text, out);
    if (known.size === maxCached) known.clear();
    known.set(text, out.ids.slice(from, out.length));
  };
}

function createWordLevel({ unk_token: unknown }: TokenizerModel, ids: ReadonlyMap<string, number>): Model {
  const unknownId = typeof unknown === "string" ? ids.get(unknown) : undefined;
  return (text, out) => {
    const id = ids.get(text) ?? unknownId;
    if (id === undefined) throw new UnknownText(text);
    out.push(id);
  };
}

/** The longest token first, again and again; a word with a part that is none is unknown as a whole. */
function createWordPiece(model: TokenizerModel, ids: ReadonlyMap<string, number>, where: string): Model {
  const unknownId = ids.get(model.unk_token as string);
  if (unknownId === undefined)
    throw new FormatError(
      `${where}: the unknown token ${JSON.stringify(model.unk_token)} of "model.unk_token" is not in the vocabulary`,
    );
  const prefix = model.continuing_subword_prefix as string;
  const most = (model.max_input_chars_per_word as number | null | undefined) ?? 100;
  let longest = 0;
  for (const token of ids.keys()) longest = Math.max(longest, token.length);
  return (text, out) => {
    if (text.length > most && [...text].length > most) {
      out.push(unknownId);
      return;
    }
    const began = out.length;
    for (let start = 0; start < text.length; ) {
      const lead = start === 0 ? "" : prefix;
      let end = Math.min(text.length, start + longest);
      let id: number | undefined;
      for (; end > start; end--) {
        id = ids.get(lead + text.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) {
        out.length = began;
        out.push(unknownId);
        return;
      }
      out.push(id);
      start = end;
    }
  };
}
