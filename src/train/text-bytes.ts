/** UTF-8 bytes of the text behind a piece of a token stream: what bits per byte divides by. */
import type { TokenStream } from "../data/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

/** Read at once. */
const pieceTokens = 1 << 16;
/** Text of a piece is put together in memory up to here; beyond, and where tokens are not bytes, nothing is known. */
const maxDecodedTokens = 1 << 22;

/**
 * Bytes of the tokens [from, to), special tokens counting none; null where they cannot be told.
 *
 * In a byte-level vocabulary each character of a token stands for one byte. Elsewhere the tokens are decoded, and the
 * text's bytes are believed only if encoding gives the same tokens again.
 */
export function countTextBytes(
  tokenizer: Pick<Tokenizer, "engine" | "tokenOf" | "specialTokens" | "encode" | "decode">,
  stream: TokenStream,
  from: number,
  to: number,
): number | null {
  const special = new Set(tokenizer.specialTokens.values());
  if (tokenizer.engine === "byte-level") {
    let bytes = 0;
    for (let at = from; at < to; at += pieceTokens)
      for (const id of readPiece(stream, at, Math.min(to, at + pieceTokens)))
        if (!special.has(id)) bytes += tokenizer.tokenOf(id)?.length ?? 0;
    return bytes;
  }
  if (to - from > maxDecodedTokens) return null;
  const utf8 = new TextEncoder();
  let bytes = 0;
  for (const run of splitAt(readPiece(stream, from, to), special)) {
    const text = tokenizer.decode(run);
    const again = tokenizer.encode(text);
    if (again.length !== run.length || again.some((id, i) => id !== run[i])) return null;
    bytes += utf8.encode(text).length;
  }
  return bytes;
}

function readPiece(stream: TokenStream, from: number, to: number): Int32Array {
  const ids = new Int32Array(to - from);
  stream.read(from, ids);
  return ids;
}

/** The pieces between separators, empty ones left out. */
function* splitAt(ids: Int32Array, separators: ReadonlySet<number>): Generator<Int32Array> {
  let start = 0;
  for (let i = 0; i <= ids.length; i++) {
    if (i < ids.length && !separators.has(ids[i])) continue;
    if (i > start) yield ids.subarray(start, i);
    start = i + 1;
  }
}
