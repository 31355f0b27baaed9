// Oracle: bench/results/data.json itself, and what is asked of a preparation: bounded memory, every document accounted for.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { type DataResult, dataPart } from "../../scripts/results-data.ts";

const path = resolve(import.meta.dirname, "../../bench/results/data.json");

test.skipIf(!existsSync(path))(
  "a whole preparation with one thread and two: under 2 GB, the same tokens, all documents, and a second thread helps",
  () => {
    const result = JSON.parse(readFileSync(path, "utf8")) as DataResult;
    expect(result.runs.map(({ threads }) => threads)).toEqual([1, 2]);
    const [one, two] = result.runs;
    for (const { peakBytes, documents, stages, wallMs, tokens, keptBytes, shards } of result.runs) {
      expect(peakBytes).toBeLessThan(2e9);
      const { read, filtered, duplicates, train, valid } = documents;
      expect(filtered + duplicates + train + valid).toBe(read);
      expect(read).toBe(result.corpus.documents);
      expect(stages.map(({ stage }) => stage)).toEqual(one.stages.map(({ stage }) => stage));
      expect(stages.reduce((sum, stage) => sum + stage.wallMs, 0)).toBeLessThan(1.01 * wallMs);
      expect([tokens, keptBytes, shards]).toEqual([one.tokens, one.keptBytes, one.shards]);
    }
    expect(two.wallMs).toBeLessThan(one.wallMs);
    const page = dataPart(result);
    for (const { stages, wallMs } of result.runs)
      for (const ms of [wallMs, ...stages.map((stage) => stage.wallMs)])
        expect(page).toContain(` ${(ms / 1000).toFixed(1)} |`);
  },
);
