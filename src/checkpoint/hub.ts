/**
 * Models by their name on the Hugging Face hub ("org/name", or "org/name@revision"): downloaded once into a folder of the
 * user's cache, resumed where a download broke off, checked against the sizes and SHA-256 that the hub states. Only what
 * a model needs is fetched: config, tokenizer and safetensors. Called by loadModel, and by `bitnet import`.
 *
 *   <cache>/models--org--name/refs/<revision>.json     commit and files of the last whole download
 *   <cache>/models--org--name/<commit>/                the folder; a file under way ends in .part
 */
import { FileError, FormatError, UnsupportedError, UsageError } from "../platform/errors.ts";
import { openAppend } from "../platform/append-file.ts";
import {
  absolutePath,
  describePath,
  exists,
  homeFolder,
  joinPath,
  makeFolder,
  movePath,
  readWhole,
  removePath,
  sha256OfFile,
  writeAtomically,
} from "../platform/files.ts";
import { environmentVariable } from "../platform/machine.ts";
import { jsonText } from "./json-file.ts";

export interface HubOptions {
  /** Where downloads are kept. Default: hubCacheFolder(). */
  cacheFolder?: string;
  /** Default: HF_ENDPOINT, or https://huggingface.co. */
  url?: string;
  /** For private and gated models. Default: HF_TOKEN. */
  token?: string;
  /** Ask nobody: use what is in the cache. Default: whether HF_HUB_OFFLINE is 1. */
  offline?: boolean;
  /** Bytes of all files, as they come in. */
  onProgress?: (progress: HubProgress) => void;
  /** Told what is done, for people. */
  onNote?: (text: string) => void;
  signal?: AbortSignal;
}

export interface HubProgress {
  file: string;
  doneBytes: number;
  totalBytes: number;
}

const namePattern = /^([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w./-]{0,199}))?$/;

/**
 * Does a path mean a model on the hub? Only where there is nothing of that name here, nor of its first part: a folder's
 * name with a slip of the pen in it is not asked of a server.
 */
export function isHubName(path: string): boolean {
  const match = namePattern.exec(path);
  return match !== null && !path.includes("..") && !exists(path) && !exists(path.split("/")[0]);
}

/** BITNET_CACHE, or bitnet.ts in the user's cache folder. */
export function hubCacheFolder(): string {
  const own = environmentVariable("BITNET_CACHE");
  if (own) return absolutePath(own);
  const base =
    environmentVariable("XDG_CACHE_HOME") ?? environmentVariable("LOCALAPPDATA") ?? joinPath(homeFolder(), ".cache");
  return joinPath(base, "bitnet.ts", "hub");
}

/** Files of a model's folder that are read here. Weights are chosen beside them. */
const wantedFiles = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
]);
const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";
/** A shard's name, as Hugging Face gives them. */
const shardPattern = /^model-\d{5}-of-\d{5}\.safetensors$/;

interface RemoteFile {
  path: string;
  sizeBytes: number;
  /** Of files kept outside git; the others have none. */
  sha256?: string;
}

interface SavedRef {
  commit: string;
  files: RemoteFile[];
}

/**
 * The folder of a model on the hub, downloaded if need be.
 *
 * @throws UsageError for a name that is none; FileError where the hub cannot be reached, refuses, or the disk does;
 *   FormatError for a file that is not what the hub says; UnsupportedError for a model without safetensors
 */
export async function downloadModel(name: string, options: HubOptions = {}): Promise<string> {
  const match = namePattern.exec(name);
  if (!match || name.includes("..")) throw new UsageError(`${name}: is no name on the hub; expected "org/name"`);
  const [, repo, revision = "main"] = match;
  const {
    cacheFolder = hubCacheFolder(),
    url = environmentVariable("HF_ENDPOINT") ?? "https://huggingface.co",
    token = environmentVariable("HF_TOKEN"),
    offline = /^(1|true|yes|on)$/i.test(environmentVariable("HF_HUB_OFFLINE") ?? ""),
    onNote = () => {},
    signal,
  } = options;
  const home = joinPath(cacheFolder, `models--${repo.replace("/", "--")}`);
  const refFile = joinPath(home, "refs", `${revision.replaceAll("/", "--")}.json`);
  const cached = wholeCopy(home, refFile);
  if (offline) {
    if (cached) return cached;
    throw new FileError(
      `${name}: is neither a folder here nor in the cache (${home}), and HF_HUB_OFFLINE forbids downloads; ${localHint}`,
    );
  }
  const hub = await connect(repo, { url, token, signal });
  let remote: SavedRef;
  try {
    remote = await hub.list(revision);
  } catch (error) {
    signal?.throwIfAborted();
    const failure = describeFailure(error, name, url, token);
    // What was downloaded before serves while the hub cannot be asked; a refusal is a refusal.
    if (!cached || !failure.unreachable) throw failure.error;
    onNote(`${url} cannot be reached; using the copy in ${cached}`);
    return cached;
  }
  const folder = joinPath(home, remote.commit);
  const totalBytes = remote.files.reduce((sum, file) => sum + file.sizeBytes, 0);
  makeFolder(folder);
  let before = 0;
  for (const file of remote.files) {
    try {
      await fetchFile(hub, remote.commit, file, folder, {
        signal,
        onBytes: (bytes) => options.onProgress?.({ file: file.path, doneBytes: before + bytes, totalBytes }),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw describeFailure(error, `${name}: ${file.path}`, url, token).error;
    }
    before += file.sizeBytes;
  }
  writeAtomically(refFile, jsonText(remote));
  return folder;
}

const localHint = "give the path of a local folder with config.json and model.safetensors, or run it online";

/** The folder of the last whole download, if all of it is still there. */
function wholeCopy(home: string, refFile: string): string | null {
  if (!exists(refFile)) return null;
  try {
    const { commit, files } = JSON.parse(new TextDecoder().decode(readWhole(refFile, 2 ** 20))) as SavedRef;
    const folder = joinPath(home, commit);
    const whole = files.every(({ path, sizeBytes }) => hasSize(joinPath(folder, path), sizeBytes));
    return whole ? folder : null;
  } catch {
    return null;
  }
}

const hasSize = (path: string, sizeBytes: number) => exists(path) && describePath(path).sizeBytes === sizeBytes;

interface Hub {
  /** The revision's commit, and the files of it that a model needs. */
  list(revision: string): Promise<SavedRef>;
  /** A file's bytes, from an offset on. */
  open(commit: string, path: string, offset: number): Promise<ReadableStream<Uint8Array>>;
}

async function connect(repo: string, { url, token, signal }: { url: string; token?: string; signal?: AbortSignal }) {
  const { downloadFile, listFiles, modelInfo } = await import("@huggingface/hub");
  const common = {
    hubUrl: url.replace(/\/+$/, ""),
    ...(token ? { accessToken: token } : {}),
    fetch: ((input: string | URL | Request, init?: RequestInit) => fetch(input, { ...init, signal })) as typeof fetch,
  };
  const hub: Hub = {
    async list(revision) {
      const { sha } = await modelInfo({ ...common, name: repo, revision, additionalFields: ["sha"] });
      if (!/^[0-9a-f]{4,64}$/.test(sha))
        throw new FormatError(`${repo}: the hub names ${JSON.stringify(sha)} as its commit`);
      const all: RemoteFile[] = [];
      for await (const { type, path, size, lfs } of listFiles({ ...common, repo, revision: sha }))
        if (type === "file") all.push({ path, sizeBytes: lfs?.size ?? size, sha256: lfs?.oid });
      return { commit: sha, files: chooseFiles(repo, all) };
    },
    async open(commit, path, offset) {
      const blob = await downloadFile({ ...common, repo, path, revision: commit });
      if (!blob) throw new FileError(`${repo}: ${path} is gone from the hub`);
      return (offset > 0 ? blob.slice(offset) : blob).stream() as ReadableStream<Uint8Array>;
    },
  };
  return hub;
}

function chooseFiles(repo: string, all: readonly RemoteFile[]): RemoteFile[] {
  const names = new Set(all.map(({ path }) => path));
  if (!names.has("config.json"))
    throw new UnsupportedError(`${repo}: has no config.json; it is no model that can be read here`);
  const single = names.has(singleFile);
  const isWeights = (path: string) => (single ? path === singleFile : path === indexFile || shardPattern.test(path));
  const chosen = all.filter(({ path }) => wantedFiles.has(path) || isWeights(path));
  if (!single && !names.has(indexFile))
    throw new UnsupportedError(
      `${repo}: has no safetensors (${singleFile} or ${indexFile}); it has ${[...names].slice(0, 8).join(", ")}`,
    );
  for (const { path, sizeBytes, sha256 } of chosen)
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)))
      throw new FormatError(`${repo}: the hub's list of files is wrong at ${path}`);
  return chosen;
}

/** Brings one file into the folder, going on from what a broken download left. */
async function fetchFile(
  hub: Hub,
  commit: string,
  file: RemoteFile,
  folder: string,
  { onBytes, signal }: { onBytes: (bytes: number) => void; signal?: AbortSignal },
): Promise<void> {
  const target = joinPath(folder, file.path);
  if (hasSize(target, file.sizeBytes)) return onBytes(file.sizeBytes);
  const partial = `${target}.part`;
  if (exists(partial) && describePath(partial).sizeBytes > file.sizeBytes) removePath(partial);
  const out = openAppend(partial, { lines: false });
  try {
    let done = out.sizeBytes;
    if (done < file.sizeBytes) {
      const reader = (await hub.open(commit, file.path, done)).getReader();
      for (;;) {
        const { done: ended, value } = await reader.read();
        if (ended) break;
        signal?.throwIfAborted();
        done += value.length;
        if (done > file.sizeBytes) {
          await reader.cancel();
          break;
        }
        out.append(value);
        onBytes(done);
      }
    }
    out.sync();
    if (done < file.sizeBytes)
      throw new FileError(`the connection ended after ${done} of ${file.sizeBytes} bytes; run it again to go on`);
    if (done > file.sizeBytes) throw new Mismatch(`more came than the ${file.sizeBytes} bytes that the hub states`);
    if (file.sha256 !== undefined && sha256OfFile(partial) !== file.sha256)
      throw new Mismatch("its SHA-256 is not the one that the hub states");
  } catch (error) {
    // Of wrong bytes nothing is kept: going on would never make them right.
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

/** Bytes that are not the hub's. */
class Mismatch extends FormatError {
  constructor(what: string) {
    super(`${what}; what was downloaded is removed, run it again`);
  }
}

/** What went wrong, in words; unreachable: the network's doing, not the hub's. */
function describeFailure(cause: unknown, name: string, url: string, token?: string) {
  const known = [FileError, FormatError, UnsupportedError, UsageError].find((kind) => cause instanceof kind);
  if (known) {
    const { message } = cause as Error;
    return {
      unreachable: false,
      error: message.startsWith(name) ? (cause as Error) : new known(`${name}: ${message}`, { cause }),
    };
  }
  const status = (cause as { statusCode?: number }).statusCode;
  if (status === 404) return failed(`${name}: there is no folder of this name here, and no such model on ${url}`);
  if (status === 401 || status === 403)
    return failed(
      `${name}: there is no folder of this name here, and ${url} refuses it (${status}): there is no such model, or it is private or gated${token ? ", and HF_TOKEN may not read it" : "; set HF_TOKEN to a token that may read it"}`,
    );
  if (status !== undefined) return failed(`${name}: ${url} answered with status ${status}; try again later`);
  const reason = ((cause as Error).cause as { code?: string } | undefined)?.code ?? (cause as Error).message;
  return {
    unreachable: true,
    error: new FileError(
      `${name}: there is no folder of this name here, and ${url} cannot be reached (${reason}); ${localHint}`,
      { cause },
    ),
  };

  function failed(message: string) {
    return { unreachable: false, error: new FileError(message, { cause }) };
  }
}
