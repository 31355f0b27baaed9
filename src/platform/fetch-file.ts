/**
 * Files from elsewhere: a download goes on where it broke off, is compared with the size and SHA-256 that are known of it,
 * and takes its name only when whole. hub.ts uses it for repositories; addresses (http, https) are fetched here.
 */
import { openAppend } from "./append-file.ts";
import { FileError, FormatError } from "./errors.ts";
import {
  absolutePath,
  baseName,
  describePath,
  exists,
  folderOf,
  homeFolder,
  joinPath,
  makeFolder,
  movePath,
  readWhole,
  removePath,
  sha256Of,
  sha256OfFile,
  writeAtomically,
} from "./files.ts";
import { environmentVariable } from "./machine.ts";

export interface RemoteFile {
  path: string;
  sizeBytes: number;
  /** Of files kept outside git; the others have none. */
  sha256?: string;
  /** Git's name for the content. */
  gitId?: string;
}

/** BITNET_CACHE, or bitnet.ts in the user's cache folder. */
export function hubCacheFolder(): string {
  const own = environmentVariable("BITNET_CACHE");
  if (own) return absolutePath(own);
  const base =
    environmentVariable("XDG_CACHE_HOME") ?? environmentVariable("LOCALAPPDATA") ?? joinPath(homeFolder(), ".cache");
  return joinPath(base, "bitnet.ts", "hub");
}

export interface SaveOptions {
  /** The bytes from an offset on. */
  open(offset: number): Promise<ReadableStream<Uint8Array>>;
  /** How far it is. */
  onBytes?: (bytes: number) => void;
  signal?: AbortSignal;
}

const hasSize = (path: string, sizeBytes: number) => exists(path) && describePath(path).sizeBytes === sizeBytes;

/**
 * Brings a file to a path; what is under way is called `.part`. Nothing is done where a file of that size is there.
 *
 * @throws FileError when the connection ends early (what came stays, and the next call goes on), FormatError for bytes that
 *   are not those stated (they are removed: going on would never make them right)
 */
export async function saveFile(
  target: string,
  { sizeBytes, sha256 }: { sizeBytes: number; sha256?: string },
  { open, onBytes = () => {}, signal }: SaveOptions,
): Promise<void> {
  if (hasSize(target, sizeBytes)) return onBytes(sizeBytes);
  const partial = `${target}.part`;
  makeFolder(folderOf(target));
  if (exists(partial) && describePath(partial).sizeBytes > sizeBytes) removePath(partial);
  const out = openAppend(partial, { lines: false });
  try {
    let done = out.sizeBytes;
    if (done < sizeBytes) {
      const reader = (await open(done)).getReader();
      for (;;) {
        const { done: ended, value } = await reader.read();
        if (ended) break;
        signal?.throwIfAborted();
        done += value.length;
        if (done > sizeBytes) {
          await reader.cancel();
          break;
        }
        out.append(value);
        onBytes(done);
      }
    }
    out.sync();
    if (done < sizeBytes)
      throw new FileError(`the connection ended after ${done} of ${sizeBytes} bytes; run it again to go on`);
    if (done > sizeBytes) throw new Mismatch(`more came than the ${sizeBytes} bytes that were stated`);
    if (sha256 !== undefined && sha256OfFile(partial) !== sha256)
      throw new Mismatch("its SHA-256 is not the one that the hub states");
  } catch (error) {
    if (error instanceof Mismatch) {
      out.close();
      removePath(partial);
    }
    throw error;
  } finally {
    out.close();
  }
  movePath(partial, target);
}

/** Bytes that are not those stated. */
class Mismatch extends FormatError {
  constructor(what: string) {
    super(`${what}; what was downloaded is removed, run it again`);
  }
}

export interface FetchOptions {
  /** Where downloads are kept. Default: hubCacheFolder(). */
  cacheFolder?: string;
  /** Ask nobody: use what is in the cache. */
  offline?: boolean;
  onProgress?: (progress: { file: string; doneBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal;
}

const localHint = "fetch it elsewhere, and name the folder that it lies in with --local-copy";

/**
 * A file by its address (http, https): downloaded once, in a folder of the cache of its own, and asked for again only
 * where the server says that it changed (ETag, or else date and size).
 *
 * @returns its path, which ends as the address does
 * @throws FileError where the server cannot be reached or refuses, FormatError for another size than it states
 */
export async function fetchAddress(address: string, options: FetchOptions = {}): Promise<string> {
  const { cacheFolder = hubCacheFolder(), offline = false, onProgress, signal } = options;
  const folder = joinPath(cacheFolder, "web", sha256Of(address).slice(0, 24));
  const target = joinPath(folder, baseName(new URL(address).pathname));
  const stamp = `${target}.origin.json`;
  const known = exists(stamp) ? new TextDecoder().decode(readWhole(stamp, 2 ** 16)) : undefined;
  if (offline) {
    if (known !== undefined && exists(target)) return target;
    throw new FileError(`${address}: is not in the cache (${folder}), and downloads are forbidden; ${localHint}`);
  }
  const ask = async (method: string, offset: number) => {
    let response: Response;
    try {
      const headers: Record<string, string> = { "accept-encoding": "identity" };
      if (offset > 0) headers.range = `bytes=${offset}-`;
      response = await fetch(address, { method, headers, signal });
    } catch (cause) {
      signal?.throwIfAborted();
      const reason = ((cause as Error).cause as { code?: string } | undefined)?.code ?? (cause as Error).message;
      throw new FileError(`${address}: cannot be reached (${reason}); ${localHint}`, { cause });
    }
    if (!response.ok)
      throw new FileError(`${address}: the server answered with status ${response.status}; ${localHint}`);
    return response;
  };
  const { headers } = await ask("HEAD", 0);
  const length = headers.get("content-length");
  const sizeBytes = length === null ? Number.NaN : Number(length);
  if (!Number.isSafeInteger(sizeBytes))
    throw new FileError(`${address}: the server does not state the file's size; ${localHint}`);
  const origin = { address, sizeBytes, etag: headers.get("etag"), modified: headers.get("last-modified") };
  const text = `${JSON.stringify(origin)}\n`;
  // What was fetched, in part or whole, of another content is of no use.
  if (known !== text) {
    removePath(target);
    removePath(`${target}.part`);
    writeAtomically(stamp, text);
  }
  try {
    await saveFile(
      target,
      { sizeBytes },
      {
        signal,
        onBytes: (doneBytes) => onProgress?.({ file: address, doneBytes, totalBytes: sizeBytes }),
        async open(offset) {
          const response = await ask("GET", offset);
          if (offset > 0 && response.status !== 206) {
            await response.body?.cancel();
            removePath(`${target}.part`);
            throw new FileError("the server cannot go on from the middle of a file; run it again to begin anew");
          }
          return response.body as ReadableStream<Uint8Array>;
        },
      },
    );
  } catch (cause) {
    signal?.throwIfAborted();
    const message = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof FormatError) throw new FormatError(`${address}: ${message}`, { cause });
    if (cause instanceof FileError)
      throw new FileError(message.startsWith(address) ? message : `${address}: ${message}`, { cause });
    throw new FileError(`${address}: the connection broke (${message}); run it again to go on`, { cause });
  }
  return target;
}
