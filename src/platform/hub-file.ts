/** One file of a model repository on the Hugging Face hub (`hf://org/name@revision/path`): a tokenizer, say. */
import { FileError, UsageError } from "./errors.ts";
import { describePath, exists, joinPath, listFolder } from "./files.ts";
import { checkRemoteFile, describeHubFailure, type HubOptions, openHubRepository, resolveHubOptions } from "./hub.ts";

const pattern = /^hf:\/\/([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w.%-]{0,199}))?\/([^@]+)$/;

/** Does a path mean a file of a model repository? */
export const isHubFile = (path: string): boolean => path.startsWith("hf://") && !path.startsWith("hf://datasets/");

/**
 * Brings a file into the cache, or finds it there, and gives its path.
 *
 * @param hint  what to do where it cannot be had
 * @throws UsageError for a path that is none; FileError where the hub cannot be reached or has no such file
 */
export async function fetchHubFile(address: string, options: HubOptions, hint: string): Promise<string> {
  const match = pattern.exec(address);
  if (!match || match[3].split("/").includes(".."))
    throw new UsageError(
      `${address}: is no file of a model repository; expected hf://org/name/path, perhaps with @revision`,
    );
  const [, repo, encoded = "main", path] = match;
  const revision = decodeURIComponent(encoded);
  const resolved = resolveHubOptions(options);
  const home = joinPath(resolved.cacheFolder, `files--${repo.replace("/", "--")}`);
  const kept = exists(home)
    ? listFolder(home).find(
        (commit) => exists(joinPath(home, commit, path)) && (commit === revision || encoded === "main"),
      )
    : undefined;
  if (resolved.offline) {
    if (kept !== undefined) return joinPath(home, kept, path);
    throw new FileError(`${address}: is not in the cache (${home}), and HF_HUB_OFFLINE forbids downloads; ${hint}`);
  }
  try {
    const hub = await openHubRepository("model", repo, resolved);
    const commit = await hub.commit(revision);
    const target = joinPath(home, commit, path);
    const folder = path.split("/").slice(0, -1).join("/");
    const file = (await hub.list(commit, folder === "" ? undefined : folder)).find((one) => one.path === path);
    if (!file) throw new FileError(`${address}: ${repo} has no file ${path}`);
    checkRemoteFile(repo, file);
    if (!exists(target) || describePath(target).sizeBytes !== file.sizeBytes)
      await hub.fetch(commit, file, target, (doneBytes) =>
        resolved.onProgress?.({ file: address, doneBytes, totalBytes: file.sizeBytes }),
      );
    return target;
  } catch (error) {
    resolved.signal?.throwIfAborted();
    const failure = describeHubFailure(error, address, resolved, { noun: "model", first: "", hint });
    if (!failure.unreachable || kept === undefined) throw failure.error;
    resolved.onNote?.(`${resolved.url} cannot be reached; taking ${path} from the cache`);
    return joinPath(home, kept, path);
  }
}
