// Oracle: a results file as lm-evaluation-harness 0.4 writes it, by hand.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { scoresOfFile } from "./tasks.ts";

test("scores that were read are noted as read, and as a part where not all items were scored", () => {
  const path = join(temporaryFolder(), "results.json");
  const results = {
    results: {
      hellaswag: { "acc,none": 0.28, "acc_stderr,none": 0.01, "acc_norm,none": 0.29, "acc_norm_stderr,none": 0.01 },
      copa: { "acc,none": 0.6, "acc_stderr,none": 0.05 },
    },
    "n-samples": { hellaswag: { original: 10_042, effective: 3000 }, copa: { original: 100, effective: 100 } },
  };
  writeFileSync(path, JSON.stringify(results));
  const { scores, notes } = scoresOfFile(path);
  expect(scores.map(({ task, metric, items }) => [task, metric, items])).toEqual([
    ["hellaswag", "acc", 3000],
    ["hellaswag", "acc_norm", 3000],
    ["copa", "acc", 100],
  ]);
  expect(notes).toEqual([
    "hellaswag: only 3,000 of 10,042 items",
    `${path}: scores were read from there; nothing was run for them here`,
  ]);
});
