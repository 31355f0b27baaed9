// Oracle: bench/results/dedup.json itself, and what is asked of deduplication: these limits are not ours to move.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { type DedupResult, dedupPart } from "../../scripts/results-dedup.ts";

const path = resolve(import.meta.dirname, "../../bench/results/dedup.json");

test.skipIf(!existsSync(path))(
  "a million documents: recall, precision and memory are what is asked; doubling doubles",
  () => {
    const result = JSON.parse(readFileSync(path, "utf8")) as DedupResult;
    expect(result.rows.map(({ documents }) => documents)).toEqual([125_000, 250_000, 500_000, 1_000_000]);
    for (const [i, { score, peakBytes, documents, kept, dropped, wallMs }] of result.rows.entries()) {
      expect(score.found / score.pairs).toBeGreaterThanOrEqual(0.98);
      expect(score.rightlyDropped / score.dropped).toBeGreaterThanOrEqual(0.99);
      expect(peakBytes).toBeLessThan(2e9);
      expect(kept + Object.values(dropped).reduce((sum, n) => sum + n, 0)).toBe(documents);
      if (i > 0) expect(wallMs / result.rows[i - 1].wallMs).toBeLessThan(2.5);
    }
    const page = dedupPart(result);
    for (const { documents, wallMs } of result.rows) {
      expect(page).toContain(documents.toLocaleString("en-US"));
      expect(page).toContain((wallMs / 1000).toFixed(1));
    }
  },
);
