// The page of a study, in Chromium, wide and on a phone, light and dark. Oracle: the page's layout as the browser measures it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { studyPage } from "../../src/report/index.ts";
import type { SavedStudy, TrialRecord } from "../../src/study/index.ts";
import { browserReason, expectGoodPage, launchBrowser, noBrowser } from "../support/browser.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-study-page-"));
const machine = { system: "linux", processor: "a processor", processors: 2, memoryBytes: 2 ** 33, node: "v20" };
const trial = (arm: string, seed: number, bits: number): TrialRecord => ({
  ...{ format: "bitnet.ts trial", version: 1, arm, seed, status: "finished", reason: "finished", steps: 700 },
  ...{
    tokens: 3_000_000,
    final: { lossNats: 2, bitsPerByte: bits },
    best: null,
    trainingMs: 610_000,
    tokensPerSecond: 500,
  },
  curve: [0, 5, 10].map((n) => ({
    step: 70 * n,
    tokens: 300_000 * n,
    lossNats: 3,
    bitsPerByte: 3 - (n * (3 - bits)) / 10,
  })),
  ...{
    peakTensorBytes: 2 ** 27,
    peakResidentBytes: null,
    exportedBytes: 2 ** 20,
    parameters: { total: 9, ternary: 8 },
  },
  ...{ configHash: arm, validationTokens: 50, machine, software: { version: "0.1.0", commit: "abcdef0123" } },
  backend: { name: "native", isa: "avx2", threads: 2, precision: "fp32" },
  ...{ sessions: 1, endedMs: 0 },
});
const arms = ["ternary-1.5e-3", "ternary-3e-3", "full-1.5e-3", "full-3e-3", "full-6e-3", "twn-3e-3", "muon-2e-2"];
const study: SavedStudy = {
  ...{
    format: "bitnet.ts study",
    version: 1,
    name: "seven-arms",
    baseline: arms[0],
    seeds: [1, 2],
    unfinishedLines: 0,
  },
  file: { base: { preset: "tiny" }, baseline: arms[0], arms: { [arms[0]]: null }, seeds: [1, 2] },
  arms: arms.map((name, i) => ({
    name,
    group: name.startsWith("full") ? "full" : "ternary",
    config: { optimizer: { kind: "adamw", learningRate: 1e-3 * (i + 1) } },
  })),
  ...{ data: {}, createdMs: 0, commands: ["bitnet study seven-arms.yaml --data stories.txt -o seven-arms"] },
  trials: [1, 2].flatMap((seed) => arms.map((arm, i) => trial(arm, seed, 1.2 + 0.02 * i + 0.01 * seed))),
};

describe.skipIf(noBrowser)(`the page of a study${browserReason}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  for (const width of [1100, 360])
    for (const scheme of ["light", "dark"] as const)
      test(`fits ${width} pixels, ${scheme}, and shows both charts`, async () => {
        const path = join(folder, "study.html");
        writeFileSync(path, studyPage(study, { createdMs: 0 }));
        await expectGoodPage(browser, path, { width, scheme }, async (_page, drawings) => {
          expect(drawings).toBe(2);
        });
      });
});
