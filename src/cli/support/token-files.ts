/** Reading texts and ids from a file or the standard input, and writing ids or text to a file or the standard output. */
import { decodePiece } from "../../corpus/pieces.ts";
import { DataError } from "../../platform/errors.ts";
import { type AtomicFile, createAtomicFile, readWhole } from "../../platform/files.ts";

/** How ids are written: as decimal numbers, or little-endian with so many bits. */
export const tokenFormats = ["text", "u16", "u32"] as const;
export type TokenFormat = (typeof tokenFormats)[number];

/** One text or list of ids must fit in memory, and a string of V8 ends at 512 MiB; a corpus goes through --data. */
const maxInputBytes = 256 * 2 ** 20;

export interface Input {
  /** @throws DataError naming the byte, where it is not UTF-8 */
  text(): string;
  /** @throws DataError for something that is no id */
  ids(format: TokenFormat): ArrayLike<number>;
}

/** A file, or without a path the standard input. */
export async function readInput(path: string | undefined): Promise<Input> {
  const name = path ?? "standard input";
  const bytes = path === undefined ? await readStandardInput() : readWhole(path, maxInputBytes);
  const text = () => decodePiece({ bytes, offset: 0, index: 0 }, name, "text");
  return {
    text,
    ids(format) {
      if (format === "text") return parseIds(text(), name);
      const width = format === "u16" ? 2 : 4;
      if (bytes.length % width !== 0)
        throw new DataError(`${name}: has ${bytes.length} bytes, not a multiple of ${width}; is the format ${format}?`);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      return Float64Array.from({ length: bytes.length / width }, (_, i) =>
        width === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true),
      );
    },
  };
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Uint8Array);
    length += (chunk as Uint8Array).length;
    if (length > maxInputBytes)
      throw new DataError(`standard input: over ${maxInputBytes} bytes; put the text in a file and use --data`);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Decimal ids between white space, commas or brackets (so a JSON list will do). @throws DataError */
export function parseIds(text: string, where: string): number[] {
  const words = text.split(/[\s,[\]]+/).filter((word) => word !== "");
  return words.map((word, i) => {
    if (!/^\d{1,9}$/.test(word))
      throw new DataError(
        `${where}: ${JSON.stringify(word.slice(0, 40))} (number ${i + 1}) is no token id; expected whole numbers`,
      );
    return Number(word);
  });
}

export interface Output {
  /** Bytes written so far. */
  readonly sizeBytes: number;
  text(text: string): void;
  bytes(bytes: Uint8Array): void;
  /** One line of ids, or their bytes. */
  ids(ids: ArrayLike<number>, format: TokenFormat): void;
  /** Waits until the standard output has taken what was written; a file has at once. */
  drained(): Promise<void>;
  /** A file gets its name now. */
  finish(): Promise<void>;
  /** Removes what was written of a file. */
  abort(): void;
}

/** A file, written whole or not at all; or without a path the standard output. */
export function openOutput(path: string | undefined): Output {
  const file: AtomicFile | undefined = path === undefined ? undefined : createAtomicFile(path);
  let sizeBytes = 0;
  let full = false;
  const utf8 = new TextEncoder();
  const write = (bytes: Uint8Array) => {
    sizeBytes += bytes.length;
    if (file) file.append(bytes);
    else if (!process.stdout.write(bytes)) full = true;
  };
  return {
    get sizeBytes() {
      return sizeBytes;
    },
    text: (text) => write(utf8.encode(text)),
    bytes: write,
    ids(ids, format) {
      if (format === "text") {
        write(utf8.encode(`${Array.prototype.join.call(ids, " ")}\n`));
        return;
      }
      const width = format === "u16" ? 2 : 4;
      const bytes = new Uint8Array(width * ids.length);
      const view = new DataView(bytes.buffer);
      for (let i = 0; i < ids.length; i++)
        if (width === 2) view.setUint16(2 * i, ids[i], true);
        else view.setUint32(4 * i, ids[i], true);
      write(bytes);
    },
    async drained() {
      if (!full) return;
      await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
      full = false;
    },
    async finish() {
      file?.commit();
    },
    abort: () => file?.abort(),
  };
}
