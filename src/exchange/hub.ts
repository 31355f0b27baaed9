/**
 * Models by their name on the Hugging Face hub ("org/name", or "org/name@revision"): downloaded once into a folder of the
 * user's cache, resumed where a download broke off, checked against the sizes and SHA-256 that the hub states. Only what
 * a model needs is fetched: config, tokenizer and safetensors. Called by loadModel, and by `bitnet import`.
 *
 *   <cache>/models--org--name/refs/<revision>.json     commit and files of the last whole download
 *   <cache>/models--org--name/<commit>/                the folder; a file under way ends in .part
 */
import { FileError, UnsupportedError, UsageError } from "../platform/errors.ts";
import type { RemoteFile } from "../platform/fetch-file.ts";
import { describePath, exists, joinPath, makeFolder, readWhole, writeAtomically } from "../platform/files.ts";
import {
  checkRemoteFile,
  describeHubFailure,
  type FailureWords,
  type HubOptions,
  openHubRepository,
  resolveHubOptions,
} from "../platform/hub.ts";
import { jsonText } from "../checkpoint/json-file.ts";

export { type HubOptions, type HubProgress, hubCacheFolder } from "../platform/hub.ts";

const namePattern = /^([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w./-]{0,199}))?$/;

/**
 * Does a path mean a model on the hub? Only where there is nothing of that name here, nor of its first part: a folder's
 * name with a slip of the pen in it is not asked of a server.
 */
export function isHubName(path: string): boolean {
  const match = namePattern.exec(path);
  return match !== null && !path.includes("..") && !exists(path) && !exists(path.split("/")[0]);
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
  const resolved = resolveHubOptions(options);
  const { cacheFolder, url, offline, onNote = () => {}, signal } = resolved;
  const home = joinPath(cacheFolder, `models--${repo.replace("/", "--")}`);
  const refFile = joinPath(home, "refs", `${revision.replaceAll("/", "--")}.json`);
  const cached = wholeCopy(home, refFile);
  if (offline) {
    if (cached) return cached;
    throw new FileError(
      `${name}: is neither a folder here nor in the cache (${home}), and HF_HUB_OFFLINE forbids downloads; ${localHint}`,
    );
  }
  const hub = await openHubRepository("model", repo, resolved);
  let remote: SavedRef;
  try {
    const commit = await hub.commit(revision);
    remote = { commit, files: chooseFiles(repo, await hub.list(commit)) };
  } catch (error) {
    signal?.throwIfAborted();
    const failure = describeHubFailure(error, name, resolved, words);
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
      await hub.fetch(remote.commit, file, joinPath(folder, file.path), (bytes) =>
        options.onProgress?.({ file: file.path, doneBytes: before + bytes, totalBytes }),
      );
    } catch (error) {
      signal?.throwIfAborted();
      throw describeHubFailure(error, `${name}: ${file.path}`, resolved, words).error;
    }
    before += file.sizeBytes;
  }
  writeAtomically(refFile, jsonText(remote));
  return folder;
}

const localHint = "give the path of a local folder with config.json and model.safetensors, or run it online";
const words: FailureWords = { noun: "model", first: "there is no folder of this name here, and ", hint: localHint };

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
  for (const file of chosen) checkRemoteFile(repo, file);
  return chosen;
}
