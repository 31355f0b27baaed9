/**
 * Files: ranged reads, streams, hashes, and writes that are whole or absent.
 *
 * What is written goes to a temporary name beside its target, is flushed to the disk, and is renamed: a full disk, a
 * crash or a kill leaves nothing half-written under the final name. Every refusal of the file system becomes one
 * FileError that names the path and says what to do. Nothing here knows a format.
 */
import * as fs from "node:fs";
import { homedir } from "node:os";
import * as nodePath from "node:path";
import { FileError, FormatError } from "../errors.ts";
import { toFileError } from "../file-error.ts";
import { decompressGzip } from "./gzip.ts";
import { decompressZstd } from "../zstd.ts";
import { createHasher } from "./hash.ts";
import {
  isRunning,
  putInPlace,
  recoverReplaced,
  sweepFileLeftovers,
  sweepLeftovers,
  temporaryName,
} from "./leftovers.ts";

export { createHasher, type Hasher, sha256Of } from "./hash.ts";

function attempt<T>(doing: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw toFileError(doing, path, cause);
  }
}

// Node refuses to read or write 2 GiB at once; one tensor may have more.
const maxPieceBytes = 2 ** 30;

/** A file open for reading at any position. */
export interface ReadableFile {
  readonly path: string;
  /** Size when it was opened. */
  readonly sizeBytes: number;
  /** The system's number of it, good until it is closed: for an addon. */
  readonly descriptor: number;
  /** Fills the whole of `target` from `offset`; FormatError if the file ends before. */
  read(offset: number, target: Uint8Array): void;
  close(): void;
}

/** Opens a file for ranged reads. The caller closes it. */
export function openFile(path: string): ReadableFile {
  // Opening a pipe would wait for who writes it.
  const kind = attempt("open", path, () => fs.statSync(path));
  if (!kind.isFile() && !kind.isDirectory())
    throw new FileError(`${path}: cannot open: it is a pipe, a socket or a device; copy it to a file first`);
  const fd = attempt("open", path, () => fs.openSync(path, "r"));
  const stat = fs.fstatSync(fd);
  if (stat.isDirectory()) {
    fs.closeSync(fd);
    throw new FileError(`${path}: cannot open: it is a folder, not a file`);
  }
  let open = true;
  return {
    path,
    sizeBytes: stat.size,
    descriptor: fd,
    read(offset, target) {
      let done = 0;
      while (done < target.length) {
        const n = attempt("read", path, () =>
          fs.readSync(fd, target, done, Math.min(maxPieceBytes, target.length - done), offset + done),
        );
        if (n === 0)
          throw new FormatError(
            `${path}: wanted ${target.length} bytes at byte ${offset}, but the file ends at byte ${offset + done}; is it cut short?`,
          );
        done += n;
      }
    },
    close() {
      if (open) fs.closeSync(fd);
      open = false;
    },
  };
}

/** `length` bytes of a file from `offset`. */
export function readRange(path: string, offset: number, length: number): Uint8Array {
  const file = openFile(path);
  try {
    const bytes = new Uint8Array(length);
    file.read(offset, bytes);
    return bytes;
  } finally {
    file.close();
  }
}

/** A whole small file; FormatError when it is over `maxBytes`. */
export function readWhole(path: string, maxBytes = 2 ** 30): Uint8Array {
  const file = openFile(path);
  try {
    if (file.sizeBytes > maxBytes)
      throw new FormatError(`${path}: has ${file.sizeBytes} bytes; at most ${maxBytes} are expected of such a file`);
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(0, bytes);
    return bytes;
  } finally {
    file.close();
  }
}

/** What a file's name says it is compressed with: .gz, .zst. */
export const compressionOfName = (path: string): "gzip" | "zstd" | undefined =>
  /\.gz$/i.test(path) ? "gzip" : /\.zst$/i.test(path) ? "zstd" : undefined;

/**
 * A file's bytes in order, decompressed if `gunzip` or `unzstd`; one chunk in memory at a time.
 * `onRead` hears of the number of bytes taken from the disk, before decompression, and `onBytes` gets them. Of a
 * damaged gzip or zstd all that can be decompressed comes, and then a FormatError.
 */
export async function* readChunks(
  path: string,
  {
    gunzip = false,
    unzstd = false,
    chunkBytes = 1 << 18,
    onRead,
    onBytes,
  }: {
    gunzip?: boolean;
    unzstd?: boolean;
    chunkBytes?: number;
    onRead?: (bytes: number) => void;
    onBytes?: (bytes: Uint8Array) => void;
  } = {},
): AsyncGenerator<Uint8Array> {
  const hear = (chunk: Uint8Array) => {
    onRead?.(chunk.length);
    onBytes?.(chunk);
  };
  try {
    if (gunzip) {
      yield* decompressGzip(path, { chunkBytes, onChunk: onRead || onBytes ? hear : undefined });
      return;
    }
    const source = fs.createReadStream(path, { highWaterMark: chunkBytes });
    // Not a listener: it would set the stream going, and what came before the first look at it would be lost.
    const chunks = heardChunks(source, hear);
    if (unzstd) yield* decompressZstd(chunks, path);
    else yield* chunks;
  } catch (cause) {
    throw toFileError("read", path, cause);
  }
}

async function* heardChunks(source: fs.ReadStream, hear: (chunk: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hear(chunk as Uint8Array);
    yield chunk as Uint8Array;
  }
}

/** SHA-256 of a file, in hexadecimal; reads it in pieces. */
export function sha256OfFile(path: string): string {
  const file = openFile(path);
  try {
    const hasher = createHasher();
    const piece = new Uint8Array(Math.max(1, Math.min(1 << 20, file.sizeBytes)));
    for (let at = 0; at < file.sizeBytes; at += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, file.sizeBytes - at));
      file.read(at, part);
      hasher.update(part);
    }
    return hasher.hex();
  } finally {
    file.close();
  }
}

/** A file being written under a temporary name. Either `commit` or `abort` ends it. */
export interface AtomicFile {
  readonly path: string;
  /** Bytes appended so far. */
  readonly sizeBytes: number;
  append(bytes: Uint8Array): void;
  /** Overwrites bytes already appended (a header whose counts are known last). */
  overwrite(offset: number, bytes: Uint8Array): void;
  /** Flushes to the disk and gives the file its final name: its path, or another one in the same folder. */
  commit(name?: string): void;
  /** Removes what was written. Harmless after commit. */
  abort(): void;
}

/** Starts an atomic write of one file. Its folder is made if need be; what a killed process left of the same file goes. */
export function createAtomicFile(path: string, { durable = true }: { durable?: boolean } = {}): AtomicFile {
  makeFolder(nodePath.dirname(path));
  attempt("write", path, () => sweepFileLeftovers(path));
  const temporary = temporaryName(path);
  const fd = attempt("write", path, () => fs.openSync(temporary, "wx"));
  let sizeBytes = 0;
  let state: "open" | "done" = "open";
  const put = (bytes: Uint8Array, position: number) =>
    attempt("write", path, () => {
      for (let done = 0; done < bytes.length; )
        done += fs.writeSync(fd, bytes, done, Math.min(maxPieceBytes, bytes.length - done), position + done);
    });
  return {
    path,
    get sizeBytes() {
      return sizeBytes;
    },
    append(bytes) {
      put(bytes, sizeBytes);
      sizeBytes += bytes.length;
    },
    overwrite(offset, bytes) {
      if (offset + bytes.length > sizeBytes) throw new Error(`${path}: overwrite past the end`);
      put(bytes, offset);
    },
    commit(name = path) {
      attempt("write", name, () => {
        if (durable) fs.fsyncSync(fd);
        fs.closeSync(fd);
        state = "done";
        fs.renameSync(temporary, name);
        if (durable) flushFolder(nodePath.dirname(path));
      });
    },
    abort() {
      if (state === "open") fs.closeSync(fd);
      state = "done";
      fs.rmSync(temporary, { force: true });
    },
  };
}

/**
 * Writes one file, whole or not at all: bytes, a string (UTF-8), or what a function appends.
 *
 * @param options  `durable: false` for a file that this process alone reads, and removes: it is not flushed to the disk
 */
export function writeAtomically(
  path: string,
  content: Uint8Array | string | ((file: AtomicFile) => void),
  options: { durable?: boolean } = {},
): void {
  const file = createAtomicFile(path, options);
  try {
    if (typeof content === "function") content(file);
    else file.append(typeof content === "string" ? new TextEncoder().encode(content) : content);
    file.commit();
  } catch (error) {
    file.abort();
    throw error;
  }
}

/**
 * Writes a folder, whole or not at all: `fill` writes into a temporary folder, which then takes the name `path`. An
 * existing folder of that name is replaced only after the new one is complete, and only if `mayReplace` allows it (by
 * default an empty one). Unfinished folders that a killed process left beside it are removed; if it was killed while it
 * replaced the folder, the earlier content is put back first.
 */
export async function writeFolderAtomically<T>(
  path: string,
  fill: (temporary: string) => T | Promise<T>,
  { mayReplace }: { mayReplace?: (existing: string) => boolean } = {},
): Promise<T> {
  const refuse = () => {
    if (!exists(path) || (mayReplace ?? ((existing) => listFolder(existing).length === 0))(path)) return;
    const why = mayReplace ? "exists and was not written by this command" : "exists and is not empty";
    throw new FileError(`${path}: ${why}; name another folder or remove it`);
  };
  makeFolder(nodePath.dirname(nodePath.resolve(path)));
  attempt("write", path, () => sweepLeftovers(path));
  refuse();
  const temporary = temporaryName(path);
  makeFolder(temporary);
  try {
    const result = await fill(temporary);
    attempt("write", path, () => {
      flushFolder(temporary);
      refuse();
      putInPlace(temporary, path, flushFolder);
    });
    return result;
  } catch (error) {
    fs.rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Gives a finished folder another name on the same disk, in place of the folder that has it. The earlier content stands until
 * the new one is there, and comes back if the process is killed between (recoverFolder).
 */
export function replaceFolder(from: string, to: string): void {
  attempt("replace", to, () => {
    sweepLeftovers(to);
    putInPlace(from, to, flushFolder);
  });
}

/** Puts back a folder whose replacement a killed process did not finish. For whoever opens a folder by name. */
export function recoverFolder(path: string): void {
  if (exists(path)) return;
  attempt("put back", path, () => recoverReplaced(path));
}

/** Makes a rename durable. Windows cannot open a folder, and needs no such thing. */
function flushFolder(path: string): void {
  if (process.platform === "win32") return;
  const fd = fs.openSync(path, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes a folder, and those above it, where they are not there. */
export function makeFolder(path: string): void {
  attempt("make the folder", path, () => makeWithParents(absolutePath(path)));
}

// Not mkdirSync's `recursive`: Node 20 never comes back from it where the system says "no such folder" of a folder whose
// parent is there, as under /proc.
function makeWithParents(path: string): void {
  if (fs.existsSync(path) && fs.statSync(path).isDirectory()) return;
  const parent = absolutePath(joinPath(path, ".."));
  if (parent !== path) makeWithParents(parent);
  try {
    fs.mkdirSync(path);
  } catch (error) {
    // Another process may have made it meanwhile.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !fs.statSync(path).isDirectory()) throw error;
  }
}

/** Names in a folder, sorted by code unit (the same on every machine). */
export function listFolder(path: string): string[] {
  return attempt("list", path, () => fs.readdirSync(path)).sort();
}

export const exists = (path: string): boolean => fs.existsSync(path);

/** What a path is, its size, and when it was last written. FileError if there is nothing. */
export function describePath(path: string): { kind: "file" | "folder"; sizeBytes: number; modifiedMs: number } {
  const stat = attempt("read", path, () => fs.statSync(path));
  return { kind: stat.isDirectory() ? "folder" : "file", sizeBytes: stat.size, modifiedMs: stat.mtimeMs };
}

/** Removes what killed processes left half-written in a folder; what running ones write stays. */
export function sweepFolder(folder: string): void {
  for (const name of listFolder(folder)) {
    const pid = Number(/\.tmp-(\d+)-\d+$/.exec(name)?.[1] ?? Number.NaN);
    if (pid > 0 && (pid === process.pid || !isRunning(pid))) removePath(joinPath(folder, name));
  }
}

export function removePath(path: string): void {
  attempt("remove", path, () => fs.rmSync(path, { recursive: true, force: true }));
}

/** Gives a file or folder another name on the same disk; a file that has that name is replaced. */
export function movePath(from: string, to: string): void {
  attempt("rename", from, () => fs.renameSync(from, to));
}

/** The user's own folder. */
export const homeFolder = (): string => homedir();

export const joinPath = (...parts: string[]): string => nodePath.join(...parts);
export const absolutePath = (path: string): string => nodePath.resolve(path);
export const baseName = (path: string): string => nodePath.basename(path);
export const folderOf = (path: string): string => nodePath.dirname(path);
