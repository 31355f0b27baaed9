/**
 * Measurements kept on disk part by part, each under a key of what it was made from: a report that is interrupted, or made
 * again, takes up what is there; a part whose model, text or options changed is measured anew.
 */
import { exists, joinPath, makeFolder, readWhole, sha256Of, writeAtomically } from "../platform/files.ts";

export interface MeasurementStore {
  /** The part as it was kept, or else as `measure` makes it, kept. */
  part<T>(model: string, part: string, key: unknown, measure: () => Promise<T>): Promise<T>;
}

/** Raised when a part's shape changes. */
const version = 3;

/** @param folder  null: nothing is kept; `fresh`: what is there is not taken up */
export function createStore(folder: string | null, { fresh = false } = {}): MeasurementStore {
  return {
    async part<T>(model: string, part: string, key: unknown, measure: () => Promise<T>): Promise<T> {
      if (folder === null) return measure();
      const path = joinPath(folder, `${model.replace(/[^\w.-]/g, "_")}.${part}.json`);
      const hash = sha256Of(JSON.stringify({ version, key }));
      if (!fresh && exists(path)) {
        const kept = parse(new TextDecoder().decode(readWhole(path)));
        if (kept?.key === hash) return kept.value as T;
      }
      const value = await measure();
      makeFolder(folder);
      writeAtomically(path, `${JSON.stringify({ key: hash, value })}\n`);
      return value;
    },
  };
}

/** null for what is no JSON of ours: it is then measured again. */
function parse(text: string): { key: string; value: unknown } | null {
  try {
    const value = JSON.parse(text);
    return typeof value?.key === "string" && "value" in value ? value : null;
  } catch {
    return null;
  }
}
