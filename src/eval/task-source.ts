/**
 * Where a task's rows come from: a file, a folder of files with telling names, or the Hugging Face hub, downloaded once
 * into a cache. Every way that fails says which option gives a file.
 */
import { listFiles, downloadFile, type RepoDesignation } from "@huggingface/hub";
import { DataError, FileError, UsageError } from "../platform/errors.ts";
import {
  baseName,
  describePath,
  exists,
  folderOf,
  joinPath,
  listFolder,
  sha256Of,
  sha256OfFile,
  writeAtomically,
} from "../platform/files.ts";
import { isPrepared, readLabels, readTaskRows, readText, type TaskRow, taskFileEnding } from "./task-rows.ts";
import type { HubDataset } from "./tasks/task.ts";

export interface TaskFiles {
  /**
   * A file (for one task), or a folder with a file for each, or several of these, of which one has the task by a file's name;
   * without it the hub is asked.
   */
  path?: string | readonly string[];
  /** A file of few-shot examples; else the folder's training file, or the hub's split. */
  fewshotPath?: string;
  /** Where downloads are kept. */
  cacheDir: string;
  hub?: HubOptions;
}

export interface HubOptions {
  /** Default https://huggingface.co. */
  url?: string;
  accessToken?: string;
  fetch?: typeof fetch;
  signal?: AbortSignal;
  /** Hears of each file before it is fetched. */
  onDownload?: (file: { repo: string; path: string; sizeBytes: number }) => void;
}

/** What is looked for: what tasks/ says of a task's files. */
export interface WantedTask {
  name: string;
  dataset: HubDataset | null;
  fileNames: readonly string[];
  labelFile?: RegExp;
}

export interface TaskData {
  rows: TaskRow[];
  /** What few-shot examples are drawn from; null: the rows themselves, since there is no training split. */
  fewshotRows: TaskRow[] | null;
  /** For the result: paths, or the hub's repository and split. */
  source: string;
  /** Of the file that the rows are from; of several, of their hashes, a line each. */
  sha256: string;
}

/** One training file of the tasks here has under 50 MiB; more is a wrong address. */
const maxDownloadBytes = 2 ** 30;

/**
 * @throws UsageError or FileError naming the option that gives a file; FormatError, DataError for a bad one
 */
export async function openTaskData(task: WantedTask, files: TaskFiles, withFewshot: boolean): Promise<TaskData> {
  const { path, fewshotPath } = files;
  const fewshot = async (found: () => Promise<TaskRow[] | null>) => {
    if (!withFewshot) return null;
    return fewshotPath === undefined ? found() : readTaskRows(fewshotPath);
  };
  if (path !== undefined) {
    const places = typeof path === "string" ? [path] : path;
    const paths = findTaskFiles(task, places);
    if (paths.length === 0)
      throw new UsageError(
        `${places.join(", ")}: has no file for ${task.name}; wanted one of ${describeNames(task)}, or give the file itself with --task-data`,
      );
    const rows = await withLabels(task, paths[0], await readAll(paths));
    const fewshotRows = await fewshot(async () => {
      const training = places.flatMap((place) => (isFolder(place) ? findFiles(task, place, "training") : []));
      return training.length > 0 ? withLabels(task, training[0], await readAll(training)) : null;
    });
    return { rows, fewshotRows, source: paths.join(", "), sha256: hashOf(paths) };
  }
  const { dataset } = task;
  if (!dataset)
    throw new UsageError(
      `${task.name}: its licence lets nobody pass the data on; get the file from its authors and give it with --task-data FILE`,
    );
  const paths = await downloadSplit(task.name, dataset, dataset.split, files);
  const rows = await readAll(paths);
  const { fewshotSplit } = dataset;
  const fewshotRows = await fewshot(async () =>
    fewshotSplit === null ? null : readAll(await downloadSplit(task.name, dataset, fewshotSplit, files)),
  );
  const source = `${dataset.repo} ${dataset.config} ${dataset.split}`;
  return { rows, fewshotRows, source, sha256: hashOf(paths) };
}

const isFolder = (path: string): boolean => describePath(path).kind === "folder";

const hashOf = (paths: readonly string[]): string =>
  paths.length === 1 ? sha256OfFile(paths[0]) : sha256Of(paths.map(sha256OfFile).join("\n"));

/** A single place that is a file is the task's, whatever its name. */
const findTaskFiles = (task: WantedTask, places: readonly string[]): string[] =>
  places.length === 1 && !isFolder(places[0]) ? [places[0]] : filesByName(task, places);

/**
 * Files of what is scored, by their names or a folder's; none where no place has any.
 *
 * @throws UsageError where two places have the task; FileError for a place that is not there
 */
export function filesByName(task: WantedTask, places: readonly string[]): string[] {
  const found = places
    .map((place) => {
      if (isFolder(place)) return findFiles(task, place, "evaluated");
      return fileNamePattern(task, "evaluated").test(baseName(place)) ? [place] : [];
    })
    .filter((paths) => paths.length > 0);
  if (found.length > 1)
    throw new UsageError(
      `--task-data: ${found.map(([first]) => first).join(" and ")} are both of ${task.name}; give one`,
    );
  return found[0] ?? [];
}

async function readAll(paths: readonly string[]): Promise<TaskRow[]> {
  const rows: TaskRow[] = [];
  for (const path of paths) for (const row of await readTaskRows(path)) rows.push(row);
  return rows;
}

const splitWords = { evaluated: "test|val|valid|validation|dev", training: "train|training" };

/**
 * Files in a folder: NAME.jsonl, NAME.SPLIT.jsonl and the like, or the hub's folders CONFIG/SPLIT/*.parquet. A file that
 * names no split is what is scored.
 */
function findFiles(task: WantedTask, folder: string, part: keyof typeof splitWords): string[] {
  const { dataset } = task;
  const wanted = fileNamePattern(task, part);
  const found = listFolder(folder).filter((name) => wanted.test(name));
  if (found.length > 1)
    throw new UsageError(
      `${folder}: has ${found.join(" and ")}; give one of them with --task-data, or remove the other`,
    );
  if (found.length === 1) return [joinPath(folder, found[0])];
  if (!dataset) return [];
  const hubSplit = part === "training" ? dataset.fewshotSplit : dataset.split;
  const hubFolder = hubSplit === null ? "" : joinPath(folder, dataset.config, hubSplit);
  if (!hubFolder || !exists(hubFolder)) return [];
  return listFolder(hubFolder)
    .filter((name) => name.endsWith(".parquet"))
    .map((name) => joinPath(hubFolder, name));
}

function fileNamePattern({ fileNames }: Pick<WantedTask, "fileNames">, part: keyof typeof splitWords): RegExp {
  const names = fileNames.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  const split = part === "training" ? `[._-](${splitWords.training})` : `([._-](${splitWords.evaluated}))?`;
  return new RegExp(`^(${names})${split}${taskFileEnding.source}`, "i");
}

const describeNames = ({ fileNames, dataset }: WantedTask) =>
  [
    ...fileNames.map((name) => `${name}.jsonl`),
    ...(dataset ? [`${dataset.config}/${dataset.split}/*.parquet`] : []),
  ].join(", ");

/** Labels beside the rows, where the task has them so: piqa.valid-labels.lst beside piqa.valid.jsonl. */
async function withLabels({ labelFile }: WantedTask, path: string, rows: TaskRow[]): Promise<TaskRow[]> {
  if (!labelFile || "label" in rows[0].value || isPrepared(rows[0])) return rows;
  const folder = folderOf(path);
  const stem = baseName(path).replace(taskFileEnding, "");
  const name = listFolder(folder).find((file) => {
    const match = labelFile.exec(file);
    return match?.groups?.rows === stem;
  });
  if (!name)
    throw new DataError(`${path}: its rows have no label, and ${stem}-labels.lst is not beside it; put it there`);
  return readLabels(joinPath(folder, name), rows);
}

/** The hub turns every data set into Parquet on this branch, one folder for each configuration and split. */
const revision = "refs/convert/parquet";

async function downloadSplit(
  taskName: string,
  dataset: HubDataset,
  split: string,
  { cacheDir, hub = {} }: TaskFiles,
): Promise<string[]> {
  const { repo, config } = dataset;
  const folder = joinPath(cacheDir, "datasets", repo.replaceAll("/", "--"), config, split);
  const marker = joinPath(folder, "files.json");
  if (exists(marker)) return (await readMarker(marker)).map((name) => joinPath(folder, name));

  const designation: RepoDesignation = { type: "dataset", name: repo };
  const { url, accessToken, signal } = hub;
  const ask = hub.fetch ?? fetch;
  const request: typeof fetch = (input, init) => ask(input, { ...init, signal });
  const from = { repo: designation, revision, hubUrl: url, accessToken, fetch: request };
  const names: string[] = [];
  try {
    for await (const entry of listFiles({ ...from, path: `${config}/${split}` })) {
      if (entry.type !== "file" || !entry.path.endsWith(".parquet")) continue;
      if (entry.size > maxDownloadBytes) throw new Error(`${entry.path} has ${entry.size} bytes`);
      hub.onDownload?.({ repo, path: entry.path, sizeBytes: entry.size });
      const blob = await downloadFile({ ...from, path: entry.path, xet: false });
      if (!blob) throw new Error(`${entry.path} is not there`);
      const bytes = new Uint8Array(await blob.arrayBuffer());
      if (bytes.length !== entry.size)
        throw new Error(`${entry.path} came with ${bytes.length} of ${entry.size} bytes`);
      const name = baseName(entry.path);
      writeAtomically(joinPath(folder, name), bytes);
      names.push(name);
    }
    if (names.length === 0) throw new Error(`${config}/${split} has no .parquet file there`);
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof FileError) throw cause;
    const reason =
      cause instanceof Error ? [cause.message, (cause.cause as Error)?.message].filter(Boolean).join(": ") : cause;
    throw new DataError(
      `${taskName}: cannot download ${repo} (${config}, ${split}) from ${url ?? "the Hugging Face hub"}: ${reason}; give a file or folder with --task-data PATH${split === dataset.split ? "" : ", or the examples with --fewshot-data FILE"}`,
      { cause },
    );
  }
  // Written last: a download that was cut short is not taken for whole.
  writeAtomically(marker, `${JSON.stringify({ files: names })}\n`);
  return names.map((name) => joinPath(folder, name));
}

async function readMarker(path: string): Promise<string[]> {
  const { files } = JSON.parse(await readText(path)) as { files: string[] };
  return files;
}
