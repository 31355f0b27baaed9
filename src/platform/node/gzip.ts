/**
 * A gzip file as a stream. Of a damaged one everything that can be decompressed comes first, as gunzip has it: Node's own
 * stream drops what it holds when it meets an error. Called by files.ts.
 */
import fs from "node:fs";
import { createGunzip, createInflateRaw } from "node:zlib";
import { FormatError } from "../errors.ts";

/** An archive with damage, after all that came out of it. */
export class DamagedArchive extends FormatError {
  /** The compressed text itself came to its end: what is wrong stands behind it (checksum, length, other bytes). */
  readonly textIsWhole: boolean;

  constructor(message: string, { textIsWhole, cause }: { textIsWhole: boolean; cause: unknown }) {
    super(message, { cause });
    this.textIsWhole = textIsWhole;
  }
}

/** @throws DamagedArchive; what the disk throws */
export async function* decompressGzip(
  path: string,
  { chunkBytes, onChunk }: { chunkBytes: number; onChunk?: (chunk: Uint8Array) => void },
): AsyncGenerator<Uint8Array> {
  const source = fs.createReadStream(path, { highWaterMark: chunkBytes });
  if (onChunk) source.on("data", (chunk) => onChunk(chunk as Uint8Array));
  const inflate = createGunzip({ chunkSize: chunkBytes });
  source.on("error", (cause) => inflate.destroy(cause));
  source.pipe(inflate);
  let bytes = 0;
  try {
    for await (const chunk of inflate) {
      bytes += (chunk as Uint8Array).length;
      yield chunk as Uint8Array;
    }
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    if (!code.startsWith("Z_")) throw cause;
    const salvaged = new Salvage(path);
    try {
      for await (const chunk of salvaged.chunks(bytes)) yield chunk;
    } finally {
      salvaged.close();
    }
    const { total, textIsWhole } = salvaged;
    const reason =
      code === "Z_BUF_ERROR" && !textIsWhole
        ? "the gzip stream is cut short"
        : textIsWhole && salvaged.hasOtherBytes
          ? "other bytes stand behind the end of the gzip stream"
          : (cause as Error).message;
    throw new DamagedArchive(
      `${path}: ${reason}, after ${Math.max(bytes, total)} decompressed bytes; fetch or compress the file again`,
      { textIsWhole, cause },
    );
  } finally {
    source.destroy();
    inflate.destroy();
  }
}

/** Compressed bytes given in at once: what is in one with damage is lost, so they are small where new text comes. */
const coarseBytes = 1 << 14;
const fineBytes = 64;
/** A member's header with its name and comment. */
const maxHeaderBytes = 1 << 16;

/** Reads a damaged gzip again, member by member, without asking for checksums. */
class Salvage {
  total = 0;
  textIsWhole = false;
  hasOtherBytes = false;
  private readonly file: number;
  private readonly size: number;

  constructor(path: string) {
    this.file = fs.openSync(path, "r");
    this.size = fs.fstatSync(this.file).size;
  }

  close(): void {
    fs.closeSync(this.file);
  }

  /** The decompressed bytes behind the first `known`. */
  async *chunks(known: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < this.size; ) {
      const body = this.bodyOf(at);
      if (body === null) {
        this.hasOtherBytes = at > 0;
        return;
      }
      this.textIsWhole = false;
      const inflate = createInflateRaw();
      let ended = false;
      let failed = false;
      let out: Uint8Array[] = [];
      let wake = () => {};
      inflate.on("data", (chunk: Uint8Array) => out.push(chunk));
      inflate.on("end", () => {
        ended = true;
        wake();
      });
      inflate.on("error", () => {
        failed = true;
        wake();
      });
      let position = body;
      while (!ended && !failed && position < this.size) {
        const piece = this.read(position, this.total < known ? coarseBytes : fineBytes);
        position += piece.length;
        await new Promise<void>((resolve) => {
          wake = resolve;
          inflate.write(piece, () => resolve());
        });
        // "end" comes a turn behind the bytes.
        await new Promise((resolve) => setImmediate(resolve));
        for (const chunk of out) {
          const fresh = chunk.subarray(Math.min(chunk.length, Math.max(0, known - this.total)));
          this.total += chunk.length;
          if (fresh.length > 0) yield fresh;
        }
        out = [];
      }
      const consumed = inflate.bytesWritten;
      inflate.destroy();
      if (failed || !ended) return;
      this.textIsWhole = true;
      at = body + consumed + 8;
    }
  }

  /** Where the compressed data of the member at `at` begins; null where there is no member. */
  private bodyOf(at: number): number | null {
    const head = this.read(at, maxHeaderBytes);
    if (head.length < 10 || head[0] !== 0x1f || head[1] !== 0x8b || head[2] !== 8) return null;
    const flags = head[3];
    let i = 10;
    if (flags & 4) i += 2 + head[i] + 256 * head[i + 1];
    for (const flag of [8, 16]) if (flags & flag) i = head.indexOf(0, i) + 1;
    if (flags & 2) i += 2;
    return i > 0 && i <= head.length ? at + i : null;
  }

  private read(at: number, length: number): Uint8Array {
    const piece = new Uint8Array(Math.min(length, this.size - at));
    return piece.subarray(0, fs.readSync(this.file, piece, 0, piece.length, at));
  }
}
