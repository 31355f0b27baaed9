/**
 * metrics/scalars.jsonl: one JSON object a line, only ever appended to. Two kinds of line: scalars of a step (keys in
 * callbacks/metrics.ts), and {"resumed_from": n}, written when a run goes on from its checkpoint of step n: lines before
 * it with a greater step belong to the part that was lost, and the run writes them again (n = 0: all of them, since the
 * run began anew). A number that is not finite is
 * null. A line that a killed process left unfinished is no JSON, and readers pass over it.
 */
import { readWhole } from "../platform/files.ts";
import type { ScalarLine } from "./events.ts";

export const scalarsText = (line: ScalarLine): string => `${JSON.stringify(line)}\n`;

/** The lines of a run as it stands: what a later resume took back is left out. In order of writing. */
export const readScalars = (path: string): ScalarLine[] => readScalarsAndDamage(path).lines;

/** The same, and how many lines are no JSON: unfinished by a kill, or damaged. */
export function readScalarsAndDamage(path: string): { lines: ScalarLine[]; damaged: number } {
  let lines: ScalarLine[] = [];
  let damaged = 0;
  for (const text of new TextDecoder().decode(readWhole(path)).split("\n")) {
    let line: Record<string, unknown>;
    try {
      line = JSON.parse(text);
    } catch {
      if (text.trim() !== "") damaged++;
      continue;
    }
    const from = line.resumed_from;
    if (typeof from === "number") lines = from === 0 ? [] : lines.filter(({ step }) => step <= from);
    else if (typeof line.step === "number") lines.push(line as ScalarLine);
  }
  return { lines, damaged };
}
