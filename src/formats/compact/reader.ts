/**
 * Reading a compact model file: tensor by tensor, in pieces of bounded size, each tensor's hash checked as its bytes go
 * by. The caller knows which tensors a model wants.
 */
import { inflateExactly } from "../../platform/compress.ts";
import { FormatError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";
import { createHasher, openFile, type ReadableFile, sha256Of } from "../../platform/files.ts";
import { blockBytesOf, blockCodes, blockHeadBytes, decodeBlock, mostBlockBytes } from "../../quant/entropy.ts";
import { rowTypes } from "../../quant/row-types.ts";
import { tritBytes, tritsPerByte, unpackTrits } from "../../quant/trits.ts";
import {
  type CompactEntry,
  type CompactHeader,
  isTernary,
  parseHeader,
  parsePrefix,
  prefixBytes,
  rowsOf,
  sizeOf,
  startsCompact,
} from "./header.ts";

/** A file open for reading, its header checked. The caller closes it. */
export interface CompactFile extends CompactHeader {
  readonly path: string;
  readonly sizeBytes: number;
  /** The tokenizer's JSON text; null where the file has none. @throws FormatError where it is damaged */
  readTokenizer(): string | null;
  /**
   * A ternary matrix's codes (weight + 1) in order, piece by piece: at most 65536 at once, in memory that the next piece
   * reuses. The hash is compared after the last piece: what throws then was damaged.
   *
   * @throws FormatError naming the tensor and the byte
   */
  ternaryPieces(name: string): Generator<Uint8Array>;
  /** The whole of a ternary matrix: its codes and gamma. @throws FormatError */
  readTernary(name: string): { codes: Uint8Array; scale: number };
  /** The values of a tensor of a row type. @throws FormatError */
  readFloats(name: string): Float32Array;
  close(): void;
}

/** True if the file at `path` begins as a compact model does. */
export function isCompactFile(path: string): boolean {
  const file = openFile(path);
  try {
    const first = new Uint8Array(Math.min(8, file.sizeBytes));
    file.read(0, first);
    return startsCompact(first);
  } finally {
    file.close();
  }
}

/** Opens a file and checks its header. @throws FileError; FormatError naming field and byte; UnsupportedError */
export function openCompact(path: string): CompactFile {
  const file = openFile(path);
  try {
    const prefix = new Uint8Array(Math.min(prefixBytes, file.sizeBytes));
    file.read(0, prefix);
    const { headerBytes, headerSha256 } = parsePrefix(prefix, file.sizeBytes, path);
    const bytes = new Uint8Array(headerBytes);
    file.read(prefixBytes, bytes);
    return fileOf(file, parseHeader(bytes, headerSha256, file.sizeBytes, path));
  } catch (error) {
    file.close();
    throw error;
  }
}

function fileOf(file: ReadableFile, header: CompactHeader): CompactFile {
  const { path } = file;
  const find = (name: string): CompactEntry => {
    const entry = header.tensors.get(name);
    if (!entry) throw new FormatError(`${path}: has no tensor ${show(name)}`);
    return entry;
  };
  const findTernary = (name: string): CompactEntry => {
    const entry = find(name);
    if (!isTernary(entry.encoding))
      throw new FormatError(`${at(path, entry)}: is ${entry.encoding}; expected ternary weights`);
    return entry;
  };
  const ternaryPieces = (name: string) => {
    const entry = findTernary(name);
    return entry.encoding === "trits" ? tritPieces(file, entry) : entropyPieces(file, entry);
  };
  return {
    ...header,
    path,
    sizeBytes: file.sizeBytes,
    readTokenizer() {
      if (!header.tokenizer) return null;
      const { offset, bytes, jsonBytes, sha256 } = header.tokenizer;
      const where = `${path}: byte ${offset}: tokenizer`;
      const packed = new Uint8Array(bytes);
      file.read(offset, packed);
      checkHash(sha256Of(packed), sha256, where);
      try {
        return new TextDecoder("utf-8", { fatal: true }).decode(inflateExactly(packed, jsonBytes, where));
      } catch (cause) {
        if (cause instanceof TypeError) throw new FormatError(`${where}: is not UTF-8`, { cause });
        throw cause;
      }
    },
    ternaryPieces,
    readTernary(name) {
      const { shape, scale } = findTernary(name);
      const codes = new Uint8Array(sizeOf(shape));
      let done = 0;
      for (const piece of ternaryPieces(name)) {
        codes.set(piece, done);
        done += piece.length;
      }
      return { codes, scale: scale! };
    },
    readFloats(name) {
      const entry = find(name);
      if (isTernary(entry.encoding))
        throw new FormatError(`${at(path, entry)}: is ternary (${entry.encoding}); expected floats`);
      return readRows(file, entry);
    },
    close: () => file.close(),
  };
}

const at = (path: string, { offset, name }: CompactEntry): string => `${path}: byte ${offset}: tensor ${show(name)}`;

function checkHash(found: string, wanted: string, where: string): void {
  if (found !== wanted)
    throw new FormatError(
      `${where}: its SHA-256 is ${found.slice(0, 12)}..., but the header says ${wanted.slice(0, 12)}...; the file was changed or damaged`,
    );
}

/** Bytes of a piece of trits: 65535 codes. */
const tritPieceBytes = Math.floor(blockCodes / tritsPerByte);

function* tritPieces(file: ReadableFile, entry: CompactEntry): Generator<Uint8Array> {
  const hasher = createHasher();
  const size = sizeOf(entry.shape);
  const bytes = new Uint8Array(Math.min(tritPieceBytes, entry.bytes));
  const codes = new Uint8Array(Math.min(tritPieceBytes * tritsPerByte, size));
  for (let done = 0; done < size; ) {
    const offset = entry.offset + done / tritsPerByte;
    const here = codes.subarray(0, Math.min(codes.length, size - done));
    const part = bytes.subarray(0, tritBytes(here.length));
    file.read(offset, part);
    hasher.update(part);
    const wrong = unpackTrits(part, here);
    if (wrong >= 0)
      throw new FormatError(
        `${at(file.path, entry)}: byte ${offset + wrong} is ${part[wrong]}, which is no five ternary weights`,
      );
    yield here;
    done += here.length;
  }
  checkHash(hasher.hex(), entry.sha256, at(file.path, entry));
}

function* entropyPieces(file: ReadableFile, entry: CompactEntry): Generator<Uint8Array> {
  const hasher = createHasher();
  const size = sizeOf(entry.shape);
  const end = entry.offset + entry.bytes;
  const buffer = new Uint8Array(Math.min(mostBlockBytes, entry.bytes));
  const codes = new Uint8Array(Math.min(blockCodes, size));
  let offset = entry.offset;
  for (let done = 0, block = 0; done < size; block++) {
    const where = `${at(file.path, entry)}: block ${block} at byte ${offset}`;
    if (offset + blockHeadBytes > end) throw new FormatError(`${where}: the tensor ends at byte ${end}`);
    const head = buffer.subarray(0, blockHeadBytes);
    file.read(offset, head);
    const bytes = blockBytesOf(head);
    if (bytes > buffer.length || offset + bytes > end)
      throw new FormatError(`${where}: would take ${bytes} bytes, but the tensor ends at byte ${end}`);
    const whole = buffer.subarray(0, bytes);
    file.read(offset, whole);
    hasher.update(whole);
    const here = codes.subarray(0, Math.min(codes.length, size - done));
    const problem = decodeBlock(whole, entry.frequencies!, here);
    if (problem) throw new FormatError(`${where}: ${problem}; the file was changed or damaged`);
    yield here;
    done += here.length;
    offset += bytes;
  }
  if (offset !== end)
    throw new FormatError(`${at(file.path, entry)}: its last block ends at byte ${offset}, the tensor at byte ${end}`);
  checkHash(hasher.hex(), entry.sha256, at(file.path, entry));
}

/** Bytes of rows read at once, at least one row. */
const rowPieceBytes = 2 ** 20;

function readRows(file: ReadableFile, entry: CompactEntry): Float32Array {
  const { rows, width } = rowsOf(entry.shape);
  const type = rowTypes[entry.encoding as keyof typeof rowTypes];
  const rowBytes = type.rowBytes(width);
  const hasher = createHasher();
  const values = new Float32Array(rows * width);
  const atOnce = Math.min(rows, Math.max(1, Math.floor(rowPieceBytes / rowBytes)));
  const bytes = new Uint8Array(atOnce * rowBytes);
  for (let row = 0; row < rows; row += atOnce) {
    const part = bytes.subarray(0, Math.min(atOnce, rows - row) * rowBytes);
    file.read(entry.offset + row * rowBytes, part);
    hasher.update(part);
    for (let r = 0; r * rowBytes < part.length; r++)
      type.decodeRow(
        part.subarray(r * rowBytes, (r + 1) * rowBytes),
        values.subarray((row + r) * width, (row + r + 1) * width),
      );
  }
  checkHash(hasher.hex(), entry.sha256, at(file.path, entry));
  return values;
}
