/**
 * Repositories of the Hugging Face hub, over its library: files listed with their sizes and checksums, downloads that go
 * on where they broke off and are compared with what the hub states. Models (checkpoint/) and data sets (data/) use it.
 */
import { FileError, FormatError, UnsupportedError, UsageError } from "./errors.ts";
import { hubCacheFolder, type RemoteFile, saveFile } from "./fetch-file.ts";
import { environmentVariable } from "./machine.ts";

export { hubCacheFolder } from "./fetch-file.ts";

export interface HubProgress {
  file: string;
  doneBytes: number;
  totalBytes: number;
}

export interface HubOptions {
  /** Where downloads are kept. Default: hubCacheFolder(). */
  cacheFolder?: string;
  /** Default: HF_ENDPOINT, or https://huggingface.co. */
  url?: string;
  /** For private and gated repositories. Default: HF_TOKEN. */
  token?: string;
  /** Ask nobody: use what is in the cache. Default: whether HF_HUB_OFFLINE is 1. */
  offline?: boolean;
  /** Bytes of all files, as they come in. */
  onProgress?: (progress: HubProgress) => void;
  /** Told what is done, for people. */
  onNote?: (text: string) => void;
  signal?: AbortSignal;
}

/** The options with what the environment says where they say nothing. */
export function resolveHubOptions(options: HubOptions) {
  return {
    ...options,
    cacheFolder: options.cacheFolder ?? hubCacheFolder(),
    url: options.url ?? environmentVariable("HF_ENDPOINT") ?? "https://huggingface.co",
    token: options.token ?? environmentVariable("HF_TOKEN"),
    offline: options.offline ?? /^(1|true|yes|on)$/i.test(environmentVariable("HF_HUB_OFFLINE") ?? ""),
  };
}

export interface HubRepository {
  /** The commit that a revision names. */
  commit(revision: string): Promise<string>;
  /** All files at a commit, or those below a folder of it. */
  list(commit: string, folder?: string): Promise<RemoteFile[]>;
  /** Brings one file of a commit to a path, going on from what a broken download left. */
  fetch(commit: string, file: RemoteFile, target: string, onBytes?: (bytes: number) => void): Promise<void>;
}

/** Connects to a repository. Its methods throw what describeHubFailure puts into words. */
export async function openHubRepository(
  type: "model" | "dataset",
  name: string,
  { url, token, signal }: { url: string; token?: string; signal?: AbortSignal },
): Promise<HubRepository> {
  const { datasetInfo, downloadFile, listFiles, modelInfo } = await import("@huggingface/hub");
  const common = {
    hubUrl: url.replace(/\/+$/, ""),
    ...(token ? { accessToken: token } : {}),
    fetch: ((input: string | URL | Request, init?: RequestInit) => fetch(input, { ...init, signal })) as typeof fetch,
  };
  const repo = { type, name } as const;
  return {
    async commit(revision) {
      const about = { ...common, name, revision, additionalFields: ["sha" as const] };
      const { sha } = type === "model" ? await modelInfo(about) : await datasetInfo(about);
      if (!/^[0-9a-f]{4,64}$/.test(sha))
        throw new FormatError(`${name}: the hub names ${JSON.stringify(sha)} as its commit`);
      return sha;
    },
    async list(commit, folder) {
      const files: RemoteFile[] = [];
      const where = folder === undefined ? {} : { path: folder };
      const recursive = type === "dataset";
      for await (const { type, path, size, oid, lfs } of listFiles({
        ...common,
        repo,
        revision: commit,
        recursive,
        ...where,
      }))
        if (type === "file") files.push({ path, sizeBytes: lfs?.size ?? size, sha256: lfs?.oid, gitId: oid });
      return files;
    },
    async fetch(commit, file, target, onBytes) {
      await saveFile(target, file, {
        signal,
        onBytes,
        async open(offset) {
          const blob = await downloadFile({ ...common, repo, path: file.path, revision: commit });
          if (!blob) throw new FileError(`${name}: ${file.path} is gone from the hub`);
          return (offset > 0 ? blob.slice(offset) : blob).stream() as ReadableStream<Uint8Array>;
        },
      });
    },
  };
}

/** @throws FormatError for a file whose size or checksum is none, or whose path leads out of its folder */
export function checkRemoteFile(repository: string, { path, sizeBytes, sha256 }: RemoteFile): void {
  const climbs = path.startsWith("/") || path.includes("\\") || path.split("/").includes("..");
  if (
    climbs ||
    !Number.isSafeInteger(sizeBytes) ||
    sizeBytes < 0 ||
    (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
  )
    throw new FormatError(`${repository}: the hub's list of files is wrong at ${path}`);
}

/** Words for describeHubFailure: what stands between the name and the reason, and what to do. */
export interface FailureWords {
  /** "model", "data set". */
  noun: string;
  /** Said before the reason: "there is no folder of this name here, and "; or nothing. */
  first: string;
  /** What to do without a network. */
  hint: string;
}

/** What went wrong, in words; unreachable: the network's doing, not the hub's. */
export function describeHubFailure(
  cause: unknown,
  name: string,
  { url, token }: { url: string; token?: string },
  { noun, first, hint }: FailureWords,
): { unreachable: boolean; error: Error } {
  const known = [FileError, FormatError, UnsupportedError, UsageError].find((kind) => cause instanceof kind);
  if (known) {
    const { message } = cause as Error;
    return {
      unreachable: false,
      error: message.startsWith(name) ? (cause as Error) : new known(`${name}: ${message}`, { cause }),
    };
  }
  const failed = (message: string) => ({ unreachable: false, error: new FileError(message, { cause }) });
  const status = (cause as { statusCode?: number }).statusCode;
  if (status === 404) return failed(`${name}: ${first}no such ${noun} on ${url}`);
  if (status === 401 || status === 403)
    return failed(
      `${name}: ${first}${url} refuses it (${status}): there is no such ${noun}, or it is private or gated${token ? ", and HF_TOKEN may not read it" : "; set HF_TOKEN to a token that may read it"}`,
    );
  if (status !== undefined) return failed(`${name}: ${url} answered with status ${status}; try again later`);
  const reason = ((cause as Error).cause as { code?: string } | undefined)?.code ?? (cause as Error).message;
  return {
    unreachable: true,
    error: new FileError(`${name}: ${first}${url} cannot be reached (${reason}); ${hint}`, { cause }),
  };
}
