/**
 * Records what replay.test.ts replays: every instruction set of this machine, or those named.
 *
 *   npm run replay:record
 *   npm run replay:record -- native-avx2 exports
 *
 * Only for a change that is meant to change results, or for an instruction set that has no record yet; on a commit whose
 * numbers are trusted. The change's message says which records changed and why.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Curve, curves, Replay, sets, threads } from "./cases.ts";
import { writeRecord } from "./records.ts";

async function record(names: readonly string[]): Promise<void> {
  const known = [...sets.map(({ name }) => name), "exports"];
  for (const name of names)
    if (!known.includes(name)) throw new Error(`${name}: unknown; there are: ${known.join(", ")}`);
  const wanted = (name: string) => names.length === 0 || names.includes(name);
  const folder = mkdtempSync(join(tmpdir(), "bitnet-record-"));
  try {
    const replay = new Replay(folder);
    for (const set of sets.filter(({ name }) => wanted(name))) {
      if (set.absent) {
        console.log(`${set.name}: left out (${set.absent})`);
        continue;
      }
      const recorded: Record<string, Curve | null> = {};
      for (const entry of curves) recorded[entry.name] = await replay.curve(set, entry);
      console.log(writeRecord(set.name, { threads, curves: recorded, texts: await replay.texts(set) }));
    }
    if (wanted("exports")) console.log(writeRecord("exports", await replay.exports()));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

await record(process.argv.slice(2));
