/**
 * The folder of an unfinished deduplication, so that a killed run goes on: what was asked (run.json), finished parts, and
 * a marker for each finished source of a stage. Parts get their names when they are whole.
 *
 *   OUT.work/run.json  markers/  signatures/*.parquet  shingles/*.parquet  tables/*.parquet  result/  spill/
 */
import { DataError, UsageError } from "../../platform/errors.ts";
import {
  createHasher,
  exists,
  joinPath,
  listFolder,
  makeFolder,
  readWhole,
  removePath,
  writeAtomically,
} from "../../platform/files.ts";
import type { ResolvedDedup } from "./options.ts";
import type { DedupSource } from "./sources.ts";

/** Another number: other signatures or decisions from the same text. */
export const dedupVersion = 2;

export interface RunDescription {
  format: "bitnet-dedup-run";
  version: number;
  key: string;
  options: ResolvedDedup;
  sources: { name: string; identity: string }[];
  heldOut: { name: string; identity: string }[];
  /** Whether documents that stay are written. */
  documents: boolean;
}

export interface WorkFolder {
  readonly path: string;
  readonly run: RunDescription;
  folder(name: "signatures" | "shingles" | "tables" | "spill"): string;
  /** What a finished part of a stage left; null if it is not finished. */
  marker<T>(name: string): T | null;
  mark(name: string, content: unknown): void;
  /** Removes the folder if no part of any stage is finished: then there is nothing to go on with. */
  removeIfUnused(): void;
}

export function describeRun(
  options: ResolvedDedup,
  sources: readonly DedupSource[],
  heldOut: readonly DedupSource[],
  documents: boolean,
): RunDescription {
  const names = (list: readonly DedupSource[]) => list.map(({ name, identity }) => ({ name, identity }));
  const content = { version: dedupVersion, options, sources: names(sources), heldOut: names(heldOut), documents };
  const key = createHasher().update(JSON.stringify(content)).hex();
  return { format: "bitnet-dedup-run", key, ...content };
}

/**
 * Opens the work folder of a run, and makes it if need be.
 *
 * @param restart  an unfinished run of other sources or options there is removed
 * @throws UsageError if there is one and it may not be removed
 */
export function openWorkFolder(path: string, run: RunDescription, restart: boolean): WorkFolder {
  const file = joinPath(path, "run.json");
  if (exists(path)) {
    const before = exists(file) ? (readJson(file) as Partial<RunDescription>) : null;
    if (before?.format !== "bitnet-dedup-run")
      throw new UsageError(`${path}: is there and holds no unfinished deduplication; move it away`);
    if (restart) removePath(path);
    else if (before.key !== run.key)
      throw new UsageError(
        `${path}: holds an unfinished deduplication with other ${differences(before, run)}; finish that one, or start anew with --restart`,
      );
  }
  if (!exists(file)) writeAtomically(file, `${JSON.stringify(run, null, 2)}\n`);
  const markerPath = (name: string) => joinPath(path, "markers", `${name}.json`);
  return {
    path,
    run,
    folder(name) {
      const folder = joinPath(path, name);
      makeFolder(folder);
      return folder;
    },
    marker: <T>(name: string) => (exists(markerPath(name)) ? (readJson(markerPath(name)) as T) : null),
    mark: (name, content) => writeAtomically(markerPath(name), `${JSON.stringify(content)}\n`),
    removeIfUnused() {
      const parts = ["markers", "signatures", "shingles", "tables"].map((name) => joinPath(path, name));
      if (!parts.some((folder) => exists(folder) && listFolder(folder).length > 0)) removePath(path);
    },
  };
}

export function readJson(path: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(readWhole(path, 2 ** 28)));
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new DataError(`${path}: is not JSON (${cause.message})`, { cause });
    throw cause;
  }
}

function differences(before: Partial<RunDescription>, now: RunDescription): string {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const changed = [
    ...(same(before.sources, now.sources) ? [] : ["sources"]),
    ...(same(before.heldOut, now.heldOut) ? [] : ["held-out texts"]),
    ...(before.documents === now.documents ? [] : ["output (documents, or only what is dropped)"]),
    ...Object.keys(now.options).filter(
      (key) => !same(before.options?.[key as keyof ResolvedDedup], now.options[key as keyof ResolvedDedup]),
    ),
  ];
  return changed.join(", ") || "software";
}
