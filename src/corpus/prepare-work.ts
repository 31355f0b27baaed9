/**
 * The folder of an unfinished preparation, so that a killed one goes on: what was asked (run.json), finished parts under
 * their final names, and a marker for each. Nothing in it is half-written: a part that has its name is whole.
 *
 *   OUT.work/run.json  files.json  markers/  text/*.jsonl.gz  dedup/  deduplicated/  tokenizer/  runs/*.run  result/
 */
import { FormatError, UsageError } from "../platform/errors.ts";
import {
  createHasher,
  exists,
  joinPath,
  listFolder,
  makeFolder,
  readWhole,
  removePath,
  sweepFolder,
  writeAtomically,
} from "../platform/files.ts";
import type { KnownFiles } from "./prepare-inputs.ts";

/** Another number: other shards, or other parts, from the same text. */
export const prepareVersion = 1;

export interface PrepareRun {
  format: "bitnet-prepare-run";
  version: number;
  /** SHA-256 over all below: what decides the content. */
  key: string;
  settings: Record<string, unknown>;
  /** In their order: how each is used, and its content. */
  files: { split: string; identity: string }[];
}

const folders = ["markers", "text", "tokenizer", "runs", "result"] as const;

export interface PrepareWork {
  readonly path: string;
  /** Another process may take it up. */
  readonly durable: boolean;
  folder(name: (typeof folders)[number]): string;
  /** What a finished part left; null if it is not finished. */
  marker<T>(name: string): T | null;
  mark(name: string, content: unknown): void;
  /** Removes the folder if no part in it is finished: nothing is lost, and nothing stands in the way of other settings. */
  removeIfEmpty(): void;
}

export function describeRun(settings: PrepareRun["settings"], files: PrepareRun["files"]): PrepareRun {
  const content = { version: prepareVersion, settings, files };
  const key = createHasher().update(JSON.stringify(content)).hex();
  return { format: "bitnet-prepare-run", key, ...content };
}

/** Identities of files that an unfinished run has already hashed. */
export function readKnownFiles(path: string): KnownFiles {
  const file = joinPath(path, "files.json");
  return exists(file) ? (readJson(file) as KnownFiles) : {};
}

/**
 * Opens the work folder of a run, and makes it if need be. What a killed process left half-written is removed.
 *
 * @param restart  an unfinished run of other sources or settings there is removed
 * @param shared   other machines are at work in it now: what looks half-written is theirs
 * @throws UsageError if there is one and it may not be removed, saying what differs
 */
export function openPrepareWork(
  path: string,
  run: PrepareRun,
  { restart, known, shared }: { restart: boolean; known: KnownFiles; shared: boolean },
): PrepareWork {
  const file = joinPath(path, "run.json");
  // A name of another machine's process says nothing here.
  const sweep = shared ? () => {} : sweepFolder;
  if (exists(path)) {
    sweep(path);
    const before = exists(file) ? (readJson(file) as Partial<PrepareRun>) : null;
    if (before ? before.format !== "bitnet-prepare-run" : listFolder(path).length > 0)
      throw new UsageError(`${path}: is there and holds no unfinished preparation; move it away`);
    const other = before?.key !== run.key;
    if (restart || (other && !anyMarker(path))) removePath(path);
    else if (other)
      throw new UsageError(
        `${path}: holds an unfinished preparation with other ${differences(before ?? {}, run)}; finish that one with what it was begun with, or start anew with --restart`,
      );
  }
  if (!exists(file)) writeAtomically(file, `${JSON.stringify(run, null, 2)}\n`);
  writeAtomically(joinPath(path, "files.json"), `${JSON.stringify(known)}\n`);
  for (const name of folders) {
    makeFolder(joinPath(path, name));
    sweep(joinPath(path, name));
  }
  const markerPath = (name: string) => joinPath(path, "markers", `${name}.json`);
  return {
    path,
    durable: true,
    folder: (name) => joinPath(path, name),
    marker: <T>(name: string) => (exists(markerPath(name)) ? (readJson(markerPath(name)) as T) : null),
    mark: (name, content) => writeAtomically(markerPath(name), `${JSON.stringify(content)}\n`),
    removeIfEmpty() {
      if (!shared && !anyMarker(path)) removePath(path);
    },
  };
}

/** The work folder of a preparation that is not taken up again: markers are in memory, and nothing is flushed to the disk. */
export function openPassingWork(path: string): PrepareWork {
  for (const name of folders) makeFolder(joinPath(path, name));
  const markers = new Map<string, unknown>();
  return {
    path,
    durable: false,
    folder: (name) => joinPath(path, name),
    marker: <T>(name: string) => (markers.get(name) ?? null) as T | null,
    mark: (name, content) => void markers.set(name, content),
    removeIfEmpty() {},
  };
}

const anyMarker = (path: string): boolean => {
  const markers = joinPath(path, "markers");
  return exists(markers) && listFolder(markers).some((name) => name.endsWith(".json"));
};

/** Removes the work folder of a run that is finished: it was ended just before it would have done so itself. */
export function removeFinishedWork(path: string, key: string): void {
  const file = joinPath(path, "run.json");
  if (exists(file) && (readJson(file) as Partial<PrepareRun>).key === key) removePath(path);
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(readWhole(path, 2 ** 30)));
  } catch (cause) {
    if (cause instanceof SyntaxError)
      throw new FormatError(`${path}: is not JSON (${cause.message}); start anew with --restart`, { cause });
    throw cause;
  }
}

function differences(before: Partial<PrepareRun>, now: PrepareRun): string {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const names = [...new Set([...Object.keys(before.settings ?? {}), ...Object.keys(now.settings)])];
  const settings = names.filter((name) => !same(before.settings?.[name], now.settings[name]));
  const show = (value: unknown) => {
    const text = JSON.stringify(value) ?? "none";
    return text.length > 60 ? "" : text;
  };
  const shown = settings.map((name) => {
    const [old, fresh] = [show(before.settings?.[name]), show(now.settings[name])];
    return old && fresh ? `${name} (${old}, now ${fresh})` : name;
  });
  return [...(same(before.files, now.files) ? [] : ["sources"]), ...shown].join(", ") || "software";
}
