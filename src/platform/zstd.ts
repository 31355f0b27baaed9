/** Zstandard (RFC 8878) as a stream: chunks in, chunks out, bounded by the frame's window. Node's own comes with version 22.15. */
import { FormatError } from "./errors.ts";

/**
 * The largest window that is taken, 128 MiB: what the zstd program takes without being told to (`--long=27`). The window
 * is held in memory, and a frame's header may claim anything.
 */
const maxZstdWindowBytes = 2 ** 27;

/**
 * Bytes that the library takes in one go. It gives out all blocks that are whole in them at once, and a block of four bytes
 * may stand for 128 KiB of one byte repeated: so these hold 8 MiB at most.
 */
const pushBytes = 256;

/**
 * Decompressed chunks of a .zst file: one frame or several behind one another.
 *
 * @param path  for errors
 * @throws FormatError for bytes that are not Zstandard, or cut short, saying how far it came
 */
export async function* decompressZstd(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  let out: Uint8Array[] = [];
  let bytes = 0;
  let started = false;
  const { Decompress } = await import("fzstd");
  const stream = new Decompress((chunk) => {
    if (chunk.length > 0) out.push(chunk.slice());
  });
  const push = (chunk: Uint8Array, last: boolean) => {
    try {
      stream.push(chunk, last);
    } catch (cause) {
      const { message } = cause as Error;
      const reason = /unexpected EOF/i.test(message) ? "the zstd stream is cut short" : `zstd: ${message}`;
      throw new FormatError(
        `${path}: ${reason}, after ${bytes + out.reduce((sum, part) => sum + part.length, 0)} decompressed bytes; fetch or compress the file again`,
        { cause },
      );
    }
  };
  let head: Uint8Array = new Uint8Array(0);
  for await (let chunk of chunks) {
    if (!started) {
      // The library reads frame headers from at least 18 bytes, and a window is claimed in the first six.
      if (head.length > 0) chunk = join(head, chunk);
      if (chunk.length < 18) {
        head = chunk.slice();
        continue;
      }
      started = true;
      refuseWindow(chunk, path);
    }
    // The first piece holds the frame's header.
    for (let at = 0; at < chunk.length; at += pushBytes) {
      let damage: unknown = null;
      try {
        push(chunk.subarray(at, at + pushBytes), false);
      } catch (error) {
        damage = error;
      }
      for (const part of out) {
        bytes += part.length;
        yield part;
      }
      out = [];
      if (damage !== null) throw damage;
    }
  }
  push(started ? new Uint8Array(0) : head, true);
  yield* out;
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/**
 * RFC 8878, 3.1.1.1.2: the window's exponent in the upper five bits, its mantissa in the lower three; of a single-segment frame
 * it is the content's size.
 */
function refuseWindow(chunk: Uint8Array, path: string): void {
  const isFrame = chunk[0] === 0x28 && chunk[1] === 0xb5 && chunk[2] === 0x2f && chunk[3] === 0xfd;
  if (!isFrame) return;
  const base = 2 ** (10 + (chunk[5] >> 3));
  const windowBytes = (chunk[4] & 0x20) === 0 ? base + (base / 8) * (chunk[5] & 7) : (claimedSize(chunk) ?? 0);
  if (windowBytes > maxZstdWindowBytes)
    throw new FormatError(
      `${path}: was compressed with a window of ${windowBytes} bytes, over the limit of ${maxZstdWindowBytes}; compress it again without --long or --ultra`,
    );
}

let library: typeof import("fzstd") | undefined;

/** Before decompressZstdWhole, which cannot wait for it. */
export async function loadZstd(): Promise<void> {
  library ??= await import("fzstd");
}

/**
 * One frame in memory.
 *
 * @throws FormatError for bytes that are not Zstandard, are cut short, or claim more than `maxBytes`
 */
export function decompressZstdWhole(bytes: Uint8Array, maxBytes: number): Uint8Array {
  if (!library) throw new Error("decompressZstdWhole before loadZstd");
  const size = claimedSize(bytes);
  if (size !== null && size > maxBytes)
    throw new FormatError(`the zstd frame claims ${size} bytes; at most ${maxBytes} are taken`);
  try {
    // The header may claim nothing, or less than there is: what comes is counted as it comes.
    const parts: Uint8Array[] = [];
    let length = 0;
    const stream = new library.Decompress((chunk) => {
      if (chunk.length === 0) return;
      length += chunk.length;
      if (length > maxBytes) throw new Error(`holds more than the ${maxBytes} bytes that are taken`);
      parts.push(chunk.slice());
    });
    for (let at = 0; at < bytes.length; at += pushBytes)
      stream.push(bytes.subarray(at, at + pushBytes), at + pushBytes >= bytes.length);
    const whole = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  } catch (cause) {
    throw new FormatError(`zstd: ${(cause as Error).message}`, { cause });
  }
}

/** RFC 8878, 3.1.1.1: the size of the content as the frame's header has it; null where it has none. */
function claimedSize(bytes: Uint8Array): number | null {
  if (bytes.length < 18) return null;
  const descriptor = bytes[4];
  const single = (descriptor & 0x20) !== 0;
  const width = [single ? 1 : 0, 2, 4, 8][descriptor >> 6];
  if (width === 0) return null;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3];
  let size = width === 2 ? 256 : 0;
  for (let i = 0; i < width; i++) size += bytes[at + i] * 256 ** i;
  return size;
}
