/**
 * Byte-pair encoding as the Rust library `tokenizers` runs it, with all settings of a file: prefixes of what continues a
 * word, suffixes of its end, unknown characters (fused or not), byte tokens, whole tokens before merges. Called by
 * models.ts; byte-level-encoder.ts and code-point-encoder.ts are the fast paths for the usual kinds.
 */
import { FormatError } from "../../platform/errors.ts";
import { MAX_MERGES, MergeTable, mergeTables } from "../merge-table.ts";
import { mergeSides, type TokenizerModel } from "../tokenizer-json.ts";
import { type Model, UnknownText } from "./model.ts";

const utf8 = new TextEncoder();

export function createBpe(model: TokenizerModel, ids: ReadonlyMap<string, number>, where: string): Model {
  const prefix = (model.continuing_subword_prefix as string | null | undefined) ?? "";
  const suffix = (model.end_of_word_suffix as string | null | undefined) ?? "";
  const merges = new MergeTable(tablesOf(model.merges ?? [], ids, prefix, where));
  const { unk_token: unknown, fuse_unk: fuse, byte_fallback: byBytes, ignore_merges: whole } = model;
  const unknownId = typeof unknown === "string" ? ids.get(unknown) : undefined;
  if (typeof unknown === "string" && unknownId === undefined)
    throw new FormatError(
      `${where}: the unknown token ${JSON.stringify(unknown)} of "model.unk_token" is not in the vocabulary`,
    );
  const idOfByte = Array.from({ length: 256 }, (_, byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  let scratch = new Int32Array(256);
  return (text, out) => {
    if (whole === true) {
      const id = ids.get(text);
      if (id !== undefined) {
        out.push(id);
        return;
      }
    }
    // A character gives at most four byte tokens, and one unknown token may be pending.
    if (text.length * 4 + 1 > scratch.length) scratch = new Int32Array(text.length * 4 + 1);
    let count = 0;
    let pending = false;
    for (let i = 0; i < text.length; ) {
      const end = i + (text.codePointAt(i)! > 0xffff ? 2 : 1);
      const char = text.slice(i, end);
      const symbol = (i > 0 ? prefix : "") + char + (end === text.length ? suffix : "");
      i = end;
      const id = ids.get(symbol);
      if (id !== undefined) {
        if (pending) scratch[count++] = unknownId!;
        pending = false;
        scratch[count++] = id;
        continue;
      }
      if (byBytes === true) {
        const bytes = utf8.encode(symbol);
        if (bytes.every((byte) => idOfByte[byte] !== undefined)) {
          if (count + bytes.length + (text.length - i) * 4 + 1 > scratch.length) {
            const larger = new Int32Array(2 * scratch.length + bytes.length);
            larger.set(scratch);
            scratch = larger;
          }
          // A pending unknown token comes behind the bytes: the library's order.
          for (const byte of bytes) scratch[count++] = idOfByte[byte]!;
          continue;
        }
      }
      if (unknownId === undefined) throw new UnknownText(char);
      if (pending && fuse !== true) scratch[count++] = unknownId;
      pending = true;
    }
    if (pending) scratch[count++] = unknownId!;
    count = merges.size > 0 ? merges.apply(scratch, count) : count;
    out.reserve(count);
    out.ids.set(scratch.subarray(0, count), out.length);
    out.length += count;
  };
}

/** The merges by ids: of a pair whose right side continues a word the prefix is left out where the two become one. */
function tablesOf(
  merges: readonly (string | [string, string])[],
  ids: ReadonlyMap<string, number>,
  prefix: string,
  where: string,
) {
  if (merges.length > MAX_MERGES)
    throw new FormatError(`${where}: has ${merges.length} merges; at most ${MAX_MERGES} are expected`);
  const [left, right, merged] = [0, 0, 0].map(() => new Int32Array(merges.length));
  for (const [rank, merge] of merges.entries()) {
    const sides = mergeSides(merge, where);
    for (const [table, token] of [
      [left, sides[0]],
      [right, sides[1]],
      [merged, sides[0] + sides[1].slice(prefix.length)],
    ] as const) {
      const id = ids.get(token);
      if (id === undefined)
        throw new FormatError(
          `${where}: merge ${rank} (${JSON.stringify(merge)}) needs the token ${JSON.stringify(token)}, which the vocabulary lacks`,
        );
      table[rank] = id;
    }
  }
  return mergeTables(left, right, merged);
}
