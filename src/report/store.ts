/**
 * Measurements kept on disk part by part, each under a key of what it was made from, and with when, where and beside what it
 * was made: a report that is interrupted, or made again, takes up what is there; a part whose model, text or options changed
 * is measured anew.
 */
import { exists, joinPath, makeFolder, readWhole, sha256Of, writeAtomically } from "../platform/files.ts";
import { type Clock, describeMachine, type MachineFacts, packageVersion, processorTimes } from "../platform/system.ts";

/** How a part was measured, which may have been before the report was made, and elsewhere. */
export interface Made {
  startedMs: number;
  elapsedMs: number;
  machine: MachineFacts;
  backend: { name: string; isa: string; threads: number };
  software: { version: string; commit: string | null };
  /** Share of the machine's processors that other programs took meanwhile, 0 to 1; null: the time was too short to tell. */
  othersShare: number | null;
}

export interface Kept<T> {
  value: T;
  made: Made;
}

/** Which part of which model, by what it was made from. */
export interface PartKey {
  model: string;
  part: string;
  key: unknown;
  backend: Made["backend"];
}

export interface MeasurementStore {
  /** The part as it was kept, or else as `measure` makes it, kept. */
  part<T>(of: PartKey, measure: () => Promise<T>): Promise<Kept<T>>;
}

/** Raised when a part's shape changes. */
const version = 4;

export interface StoreOptions {
  clock: Clock;
  /** What is there is not taken up: of all parts, or of those named. */
  fresh?: boolean | readonly string[];
}

/** @param folder  null: nothing is kept */
export function createStore(folder: string | null, { clock, fresh = false }: StoreOptions): MeasurementStore {
  return {
    async part<T>({ model, part, key, backend }: PartKey, measure: () => Promise<T>): Promise<Kept<T>> {
      if (folder === null) return observe(backend, clock, measure);
      const path = joinPath(folder, `${model.replace(/[^\w.-]/g, "_")}.${part}.json`);
      const hash = sha256Of(JSON.stringify({ version, key }));
      const again = typeof fresh === "boolean" ? fresh : fresh.includes(part);
      if (!again && exists(path)) {
        const kept = parse(new TextDecoder().decode(readWhole(path)));
        if (kept?.key === hash) return { value: kept.value as T, made: kept.made };
      }
      const kept = await observe(backend, clock, measure);
      makeFolder(folder);
      writeAtomically(path, `${JSON.stringify({ key: hash, made: kept.made, value: kept.value })}\n`);
      return kept;
    },
  };
}

async function observe<T>(backend: Made["backend"], clock: Clock, measure: () => Promise<T>): Promise<Kept<T>> {
  const [startedMs, from, before] = [clock.epochMs(), clock.monotonicMs(), processorTimes()];
  const value = await measure();
  const [elapsedMs, after] = [clock.monotonicMs() - from, processorTimes()];
  const { name, isa, threads } = backend;
  const made = { startedMs, elapsedMs, machine: describeMachine(), backend: { name, isa, threads } };
  return { value, made: { ...made, software: packageVersion(), othersShare: othersShare(before, after) } };
}

/** Systems count in ticks of some 10 ms: less than this many of all processors tell nothing. */
const leastMs = 500;

/** What the machine did beside this process, of all that its processors could do. */
export function othersShare(
  before: ReturnType<typeof processorTimes>,
  after: ReturnType<typeof processorTimes>,
): number | null {
  const all = after.allMs - before.allMs;
  if (!(all >= leastMs)) return null;
  const others = after.busyMs - before.busyMs - (after.ownMs - before.ownMs);
  return Math.min(1, Math.max(0, others / all));
}

/** null for what is no JSON of ours: it is then measured again. */
function parse(text: string): { key: string; made: Made; value: unknown } | null {
  try {
    const value = JSON.parse(text);
    return typeof value?.key === "string" && typeof value.made === "object" && "value" in value ? value : null;
  } catch {
    return null;
  }
}
