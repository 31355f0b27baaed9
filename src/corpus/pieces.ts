/**
 * Cuts a stream of bytes at a delimiter and turns the pieces into checked text: what .txt, .jsonl and WikiText readers
 * share. Works on bytes, so that an error can name the byte, and holds one piece and one chunk in memory.
 */
import { DataError, FormatError } from "../platform/errors.ts";
import { compressionOfName, readChunks } from "../platform/files.ts";

/** Bytes between two delimiters. `bytes` is a view that is valid until the next piece is asked for. */
export interface Piece {
  bytes: Uint8Array;
  /** Where it starts in the (decompressed) file. */
  offset: number;
  /** 0 for the first piece of the file. */
  index: number;
}

/** Who wants a file's bytes as they lie on the disk, beside its pieces: shared-text.ts, which hashes them in the same read. */
export interface Tap {
  onBytes(bytes: Uint8Array): void;
  /** Asked at each chunk. Once true: no more pieces are wanted, and the rest of the file is only read. */
  passOver(): boolean;
}

export interface PieceOptions {
  /** Absent: the whole file is one piece. */
  delimiter?: Uint8Array;
  /** What a piece is called in an error: "document", "line". */
  noun: string;
  maxPieceBytes: number;
  /** Added to the error for a piece over the limit. */
  hint: string;
  onRead?: (bytes: number) => void;
  tap?: Tap;
  /**
   * Told of a piece over the limit (which is then passed over, never held whole) and of an archive that is cut short
   * (what came before it is kept). Throws to end the reading; without it, that is what happens.
   */
  onBad?: (error: DataError) => void;
}

function indexOfBytes(haystack: Uint8Array, needle: Uint8Array | undefined, from: number, end: number): number {
  if (!needle) return -1;
  for (let at = haystack.indexOf(needle[0], from); at >= 0 && at + needle.length <= end; ) {
    let k = 1;
    while (k < needle.length && haystack[at + k] === needle[k]) k++;
    if (k === needle.length) return at;
    at = haystack.indexOf(needle[0], at + 1);
  }
  return -1;
}

/**
 * The pieces of a file between delimiters, in groups (all that one chunk completes). The last piece, after the last
 * delimiter, comes too, even when empty; a file without the delimiter is one piece. A byte order mark at the start is
 * left out.
 *
 * @throws DataError for an empty file, a damaged gzip, or a piece over the limit
 */
export async function* readPieces(path: string, options: PieceOptions): AsyncGenerator<Piece[]> {
  const { delimiter, noun, maxPieceBytes, hint } = options;
  const onBad =
    options.onBad ??
    ((error) => {
      throw error;
    });
  const compression = compressionOfName(path);
  const delimiterBytes = delimiter?.length ?? 0;
  let buffer = new Uint8Array(1 << 19);
  let length = 0;
  let scanned = 0;
  let offset = 0; // of buffer[0] in the file
  let index = 0;
  /** Inside a piece that is over the limit: its bytes are passed over. */
  let skipping = false;
  const overLimit = (from: number) =>
    new DataError(
      `${path}: ${noun} ${index + 1} (from byte ${from}) is over the limit of ${maxPieceBytes} bytes; ${hint}`,
    );
  try {
    const { onRead, tap } = options;
    const how = { gunzip: compression === "gzip", unzstd: compression === "zstd", onRead, onBytes: tap?.onBytes };
    for await (const chunk of readChunks(path, how)) {
      if (tap?.passOver()) continue;
      if (length + chunk.length > buffer.length) {
        const larger = new Uint8Array(Math.max(buffer.length * 2, length + chunk.length));
        larger.set(buffer.subarray(0, length));
        buffer = larger;
      }
      buffer.set(chunk, length);
      const first = offset === 0 && length < 3;
      length += chunk.length;
      let start = 0;
      if (first && index === 0 && length >= 3 && buffer[0] === 0xef && buffer[1] === 0xbb && buffer[2] === 0xbf) {
        start = 3;
        scanned = Math.max(scanned, 3);
      }
      const group: Piece[] = [];
      for (;;) {
        const at = indexOfBytes(buffer, delimiter, scanned, length);
        if (at < 0) break;
        if (skipping) skipping = false;
        else if (at - start > maxPieceBytes) onBad(overLimit(offset + start));
        else group.push({ bytes: buffer.subarray(start, at), offset: offset + start, index });
        index++;
        start = at + delimiter!.length;
        scanned = start;
      }
      if (group.length > 0) yield group;
      // A long piece grows by many chunks, and is not moved for each.
      if (start > 0) buffer.copyWithin(0, start, length);
      offset += start;
      length -= start;
      if (!skipping && length > maxPieceBytes + delimiterBytes) {
        onBad(overLimit(offset));
        skipping = true;
      }
      if (skipping) {
        const kept = Math.min(length, Math.max(0, delimiterBytes - 1));
        buffer.copyWithin(0, length - kept, length);
        offset += length - kept;
        length = kept;
      }
      scanned = Math.max(0, length - delimiterBytes + 1);
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    // The piece that was under way is not whole, and goes with the rest.
    return onBad(new DataError(error.message, { cause: error }));
  }
  if (options.tap?.passOver()) return;
  if (offset + length === 0) return onBad(new DataError(`${path}: is empty; expected text`));
  if (skipping) return;
  if (length > maxPieceBytes) return onBad(overLimit(offset));
  yield [{ bytes: buffer.subarray(0, length), offset, index }];
}

// ignoreBOM: a mark inside the text is a character of it; only the one at the start of a file is not (see above).
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of a piece. DataError naming the byte, if it is not UTF-8. */
export function decodePiece(piece: Piece, path: string, where: string): string {
  try {
    return decoder.decode(piece.bytes);
  } catch {
    const bad = firstInvalidByte(piece.bytes);
    const utf16 =
      piece.index === 0 && bad === 0 && (piece.bytes[0] & 0xfe) === 0xfe && (piece.bytes[1] & 0xfe) === 0xfe;
    const value = piece.bytes[bad].toString(16).padStart(2, "0");
    throw new DataError(
      `${path}: ${where}: byte ${piece.offset + bad} (0x${value}) is not valid UTF-8; ${utf16 ? "the file looks like UTF-16: " : ""}save the file as UTF-8`,
    );
  }
}

/** Position of the first byte that cannot be part of UTF-8 (RFC 3629: no overlong forms, no surrogates), or -1. */
export function firstInvalidByte(bytes: Uint8Array): number {
  const continues = (at: number, low = 0x80, high = 0xbf) => bytes[at] >= low && bytes[at] <= high;
  for (let i = 0; i < bytes.length; ) {
    const b = bytes[i];
    let size: number;
    if (b < 0x80) size = 1;
    else if (b >= 0xc2 && b <= 0xdf) size = continues(i + 1) ? 2 : 0;
    else if (b >= 0xe0 && b <= 0xef)
      size = continues(i + 1, b === 0xe0 ? 0xa0 : 0x80, b === 0xed ? 0x9f : 0xbf) && continues(i + 2) ? 3 : 0;
    else if (b >= 0xf0 && b <= 0xf4)
      size =
        continues(i + 1, b === 0xf0 ? 0x90 : 0x80, b === 0xf4 ? 0x8f : 0xbf) && continues(i + 2) && continues(i + 3)
          ? 4
          : 0;
    else size = 0;
    if (size === 0) return i;
    i += size;
  }
  return -1;
}
