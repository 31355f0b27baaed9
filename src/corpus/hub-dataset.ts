/**
 * Data sets on the Hugging Face hub as sources: `hf://datasets/org/name`, then `@revision`, then a folder, a file or a
 * pattern. Files are listed with the hub's sizes and checksums, so a corpus of terabytes has a name before a byte of it is
 * here; each is downloaded when it is opened, and goes on where a download broke off.
 *
 *   <cache>/datasets--org--name/refs/<hash>.json       commit and files of the last list
 *   <cache>/datasets--org--name/<commit>/<path>        the files; one under way ends in .part
 */
import { FileError, UsageError } from "../platform/errors.ts";
import type { RemoteFile } from "../platform/fetch-file.ts";
import { describePath, exists, joinPath, listFolder, readWhole, sha256Of, writeAtomically } from "../platform/files.ts";
import {
  checkRemoteFile,
  describeHubFailure,
  type FailureWords,
  type HubOptions,
  openHubRepository,
  resolveHubOptions,
} from "../platform/hub.ts";
import { globMatcher } from "./glob.ts";

const scheme = "hf://datasets/";
const pattern =
  /^hf:\/\/datasets\/([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w.%-]{0,199}))?(?:\/(.*))?$/;

export interface DatasetFilesOptions {
  /** Cache, address, token, offline; as for models. */
  hub?: HubOptions;
  /**
   * A folder that holds the repository's files, as a clone does, or `org/name/` with them: taken instead of a download.
   */
  localCopy?: string;
}

export interface DatasetFile {
  /** hf://datasets/org/name@commit/path */
  name: string;
  sizeBytes: number | null;
  identity: string | null;
  open(): Promise<string>;
}

const localHint =
  "fetch it elsewhere (git clone, or huggingface-cli download --repo-type dataset), and name the folder that it lies in with --local-copy";
const words: FailureWords = { noun: "data set, revision or folder", first: "", hint: localHint };

interface SavedList {
  commit: string;
  files: RemoteFile[];
}

/**
 * The files that a path means, by name, and of a folder or a whole repository those that `accepts` takes.
 *
 * @throws UsageError for a path that is none; FileError where the hub cannot be reached or refuses, or a local copy lacks
 *   the file; FormatError where the hub's list makes no sense
 */
export async function listDatasetFiles(
  path: string,
  options: DatasetFilesOptions & { accepts: (name: string) => boolean },
): Promise<DatasetFile[]> {
  const match = pattern.exec(path);
  if (!match || match[3]?.split("/").includes(".."))
    throw new UsageError(
      `${path}: is no address of a data set; expected ${scheme}org/name, perhaps with @revision and /path behind`,
    );
  const [, repo, encodedRevision = "main", inside = ""] = match;
  const revision = decodeURIComponent(encodedRevision);
  const wanted = inside.replace(/\/+$/, "");
  const chosen = (all: readonly RemoteFile[]) => {
    const matches = globMatcher(wanted);
    return all
      .filter(({ path }) => path === wanted || (accepts(path) && (isBelow(path, wanted) || matches(path))))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  };
  const { accepts } = options;
  if (options.localCopy !== undefined) return copiesIn(options.localCopy, repo, chosen);

  const resolved = resolveHubOptions(options.hub ?? {});
  const { cacheFolder, url, offline, onNote = () => {}, signal } = resolved;
  const home = joinPath(cacheFolder, `datasets--${repo.replace("/", "--")}`);
  // Only the folder above a file, or above a pattern's first sign, is asked for; a name without an ending is a folder.
  const parts = wanted.split("/");
  const sign = parts.findIndex((part) => /[*?[]/.test(part));
  const isFile = sign < 0 && accepts(wanted);
  const above = (sign >= 0 ? parts.slice(0, sign) : isFile ? parts.slice(0, -1) : parts).join("/");
  const refFile = joinPath(home, "refs", `${sha256Of(`${revision}\n${wanted}`).slice(0, 24)}.json`);
  const saved = readSaved(refFile);
  const hub = await openHubRepository("dataset", repo, resolved);
  let list: SavedList;
  if (offline) {
    if (!saved)
      throw new FileError(`${path}: is not in the cache (${home}), and HF_HUB_OFFLINE forbids downloads; ${localHint}`);
    list = saved;
  } else {
    try {
      const commit = await hub.commit(revision);
      list = { commit, files: chosen(await hub.list(commit, above === "" ? undefined : above)) };
      for (const file of list.files) checkRemoteFile(repo, file);
      writeAtomically(refFile, `${JSON.stringify(list)}\n`);
    } catch (error) {
      signal?.throwIfAborted();
      const failure = describeHubFailure(error, path, resolved, words);
      if (!saved || !failure.unreachable) throw failure.error;
      onNote(`${url} cannot be reached; going on with what it listed before`);
      list = saved;
    }
  }
  const { commit, files } = list;
  return files.map((file) => {
    const name = `${scheme}${repo}@${commit}/${file.path}`;
    const target = joinPath(home, commit, file.path);
    const git = file.gitId === undefined ? null : `git:${file.gitId}`;
    return {
      name,
      sizeBytes: file.sizeBytes,
      identity: file.sha256 ?? git,
      async open() {
        if (exists(target) && describePath(target).sizeBytes === file.sizeBytes) return target;
        if (offline)
          throw new FileError(`${name}: is not in the cache, and HF_HUB_OFFLINE forbids downloads; ${localHint}`);
        try {
          await hub.fetch(commit, file, target, (doneBytes) =>
            resolved.onProgress?.({ file: name, doneBytes, totalBytes: file.sizeBytes }),
          );
        } catch (error) {
          signal?.throwIfAborted();
          throw describeHubFailure(error, name, resolved, words).error;
        }
        return target;
      },
    };
  });
}

const isBelow = (path: string, folder: string) => folder === "" || path.startsWith(`${folder}/`);

function readSaved(refFile: string): SavedList | null {
  if (!exists(refFile)) return null;
  try {
    return JSON.parse(new TextDecoder().decode(readWhole(refFile, 2 ** 28))) as SavedList;
  } catch {
    return null;
  }
}

/** The files of a copy on this disk, in `<folder>/org/name` if that is there, else in the folder itself. */
function copiesIn(
  localCopy: string,
  repo: string,
  chosen: (files: readonly RemoteFile[]) => RemoteFile[],
): DatasetFile[] {
  const named = joinPath(localCopy, repo);
  const root = exists(named) ? named : localCopy;
  return chosen(filesIn(root, "")).map(({ path, sizeBytes }) => {
    const file = joinPath(root, path);
    return { name: file, sizeBytes, identity: null, open: async () => file };
  });
}

function filesIn(root: string, folder: string): RemoteFile[] {
  return listFolder(joinPath(root, folder)).flatMap((name) => {
    const path = folder === "" ? name : `${folder}/${name}`;
    const { kind, sizeBytes } = describePath(joinPath(root, path));
    return kind === "folder" ? filesIn(root, path) : [{ path, sizeBytes }];
  });
}
