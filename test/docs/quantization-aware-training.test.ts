// Oracle: bench/results/qat-*.json, and for a made-up study numbers worked out by hand. The page is made from the files, so no
// number in it was typed in.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readQatResults, studyPart, withQatResults } from "../../scripts/quantization-aware-training.ts";
import { studyPage } from "../../src/report/study-page.ts";
import { studyMarkdown } from "../../src/report/study-table.ts";
import { type SavedStudy, studyResults, summarizeStudy, type TrialRecord } from "../../src/study/index.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-qat-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const page = readFileSync(resolve(import.meta.dirname, "../../docs/quantization-aware-training.md"), "utf8");

const machine = { system: "linux", processor: "a <fast> processor", processors: 2, memoryBytes: 2 ** 33, node: "v20" };
const trial = (arm: string, seed: number, bitsPerByte: number): TrialRecord => ({
  ...{ format: "bitnet.ts trial", version: 1, arm, seed, status: "finished", reason: "finished", steps: 10 },
  ...{ tokens: 1000, final: { lossNats: 2, bitsPerByte }, best: null, trainingMs: 61_000, tokensPerSecond: 500 },
  curve: [0, 500, 1000].map((tokens) => ({ step: tokens / 100, tokens, lossNats: 3, bitsPerByte: 3 - tokens / 1000 })),
  ...{ peakTensorBytes: 2 ** 20, peakResidentBytes: null, exportedBytes: 2048, parameters: { total: 9, ternary: 8 } },
  ...{ configHash: arm, validationTokens: 50, machine, software: { version: "0.1.0", commit: "abcdef0123" } },
  backend: { name: "native", isa: "avx2", threads: 2, precision: "fp32" },
  ...{ sessions: 1, endedMs: Date.UTC(2026, 0, 31) },
});
const study: SavedStudy = {
  ...{ format: "bitnet.ts study", version: 1, name: "made-up", baseline: "ternary", seeds: [1, 2], unfinishedLines: 0 },
  file: { base: { preset: "tiny" }, baseline: "ternary", arms: { ternary: null }, seeds: [1, 2], about: "Two\n arms." },
  arms: [
    { name: "ternary", group: "ternary", config: { model: { variant: "bitnet" }, optimizer: { kind: "adamw" } } },
    { name: "full", group: "full", config: { model: { variant: "full" }, optimizer: { kind: "adamw" } } },
    { name: "wild", group: "ternary", config: { model: { variant: "bitnet" }, optimizer: { kind: "sgd" } } },
  ],
  data: {
    k: {
      identity: "i".repeat(64),
      validationIdentity: "v".repeat(64),
      tokenizer: "t",
      tokens: 5000,
      validationTokens: 60,
    },
  },
  createdMs: 0,
  commands: ["bitnet study made-up.yaml -o made-up"],
  trials: [
    ...[trial("ternary", 1, 1.6), trial("ternary", 2, 1.8), trial("full", 1, 1.5), trial("full", 2, 1.6)],
    { ...trial("wild", 1, 0), status: "diverged", final: null, reason: "training diverged | here", steps: 3 },
  ],
};

test("docs/quantization-aware-training.md has the tables that bench/results/qat-*.json make", () => {
  expect(page).toBe(withQatResults(page, readQatResults()));
});

test("without results the page says so, and without its markers it is refused", () => {
  expect(withQatResults(page, [])).toContain("No study has been run yet");
  expect(() => withQatResults("# A page", [])).toThrow("expected the lines");
});

test("a study's part has the numbers of its trials, where they come from, and the failures", () => {
  writeFileSync(join(folder, "qat-made-up.json"), JSON.stringify(studyResults(study)));
  writeFileSync(join(folder, "train.json"), "{}");
  const [results, ...more] = readQatResults(folder);
  expect(more).toEqual([]);
  // A summary that somebody changed by hand is not what the page shows.
  results.summary.arms[0].final!.mean = 0;
  const part = studyPart(results);
  // Means 1.7 and 1.55, errors 0.1 and 0.05; differences -0.1 and -0.2; gaps 1.6 / 1.5 and 1.8 / 1.6, less 1.
  expect(part).toContain(
    "| ternary (baseline) | ternary | 2 | 1.7000 ± 0.1000 | – | +9.58 % ± 2.92 to full | 1:01 min, 1.00x |",
  );
  expect(part).toContain(
    "| full | full | 2 | 1.5500 ± 0.0500 | -0.1500 ± 0.0500, within noise | – | 1:01 min, 1.00x |",
  );
  expect(part).toContain("| wild | ternary | 0, 1 diverged | – |");
  expect(part).toContain("Failures: wild, seed 1, after 3 steps (training diverged | here).");
  expect(part).toContain(
    "`bitnet study made-up.yaml -o made-up`; version 0.1.0, commit abcdef0; 2026-01-31; a <fast> processor",
  );
  expect(part).toContain("5 of 6 trials have ended");
});

test("a results file that is something else is refused by its name", () => {
  const other = mkdtempSync(join(tmpdir(), "bitnet-qat-bad-"));
  try {
    writeFileSync(join(other, "qat-bad.json"), '{"format":"bitnet.ts report"}');
    expect(() => readQatResults(other)).toThrow("qat-bad.json: is no results of a study: format");
    writeFileSync(join(other, "qat-bad.json"), "{");
    expect(() => readQatResults(other)).toThrow("qat-bad.json: is no JSON");
  } finally {
    rmSync(other, { recursive: true });
  }
});

test("the page of a study has table, curves of each arm, failures and what differs, with text escaped and no address", () => {
  const html = studyPage(study, { createdMs: 0 });
  for (const text of [
    "1.7000 ± 0.1000",
    "training diverged | here",
    "model.variant",
    "optimizer.kind",
    "a &lt;fast&gt; processor",
  ])
    expect(html).toContain(text);
  expect(html).not.toMatch(/<script|<link rel="stylesheet|src="http|href="http/);
  const curves = /<figure id="curves">.*?<\/figure>/s.exec(html)![0];
  for (const arm of ["ternary", "full", "wild"]) expect(curves).toContain(`${arm}, 1000 tokens: 2.0000`);
  expect(/<figure id="results">.*?<\/figure>/s.exec(html)![0]).toContain("ternary, seed 2: 1.8000");
  // One seed and no trial at all are pages too.
  for (const trials of [study.trials.slice(0, 1), []])
    expect(studyPage({ ...study, trials }, { createdMs: 0 })).toContain("</html>");
});

test("the Markdown escapes what would end a cell", () => {
  expect(studyMarkdown(summarizeStudy(study))).toContain("training diverged \\| here");
});
