// Oracle: Chromium, by playwright-core: what a browser lays out, logs and asks the network for. Skipped, saying so, where
// there is no Chromium at the usual places (BITNET_BROWSER names another).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defineFilter, type Inspection, inspectSources } from "../../src/corpus/index.ts";
import { withTemporaryFolder } from "../../src/platform/temporary.ts";
import { inspectionPage } from "../../src/report/index.ts";
import { browserReason, expectGoodPage, launchBrowser, noBrowser } from "../support/browser.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** Text that would be a script, were it not escaped; duplicates that differ in case; long names without a space. */
async function hostile(folder: string): Promise<Inspection> {
  const files = ["a", "b"].map((name) => join(folder, `${name.repeat(70)}.jsonl`));
  const words = Array.from({ length: 60 }, (_, i) => `word${i}`).join(" ");
  const texts = [
    `<script>alert(1)</script> ${words}`,
    `<script>ALERT(1)</script> ${words}`,
    "x".repeat(3000),
    "</style>",
  ];
  for (const file of files) writeFileSync(file, texts.map((text) => JSON.stringify({ text })).join("\n"));
  return inspectSources({
    sources: files,
    stages: [
      defineFilter("a filter", {}, (document) =>
        document.text.length > 2000 ? { drop: "y".repeat(80), detail: "<b>" } : document,
      ),
    ],
    tokenizer: { vocabSize: 2, endOfText: 0, hash: "ones", encode: (text) => new Array(text.length).fill(1) },
    duplicates: { near: false, threads: 0 },
  });
}

describe.skipIf(noBrowser)(`the page of an inspection in a browser${browserReason}`, () => {
  let browser: Browser;
  let html: string;
  beforeAll(async () => {
    html = inspectionPage(await withTemporaryFolder(hostile), { createdMs: 1.7e12, facts: [["key", "0".repeat(64)]] });
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  test.for([
    ["desktop", 1280, "light"],
    ["phone", 390, "dark"],
  ] as const)(
    "%s at %d pixels, %s: nothing is logged or asked for, nothing overlaps or sticks out",
    async ([, width, scheme]) => {
      const path = join(temporaryFolder(), "page.html");
      writeFileSync(path, html);
      await expectGoodPage(browser, path, { width, scheme }, async (page, drawings) => {
        // Lengths in characters and in tokens, documents, tokens per byte, reasons, clusters.
        expect(drawings).toBe(6);
        expect(await page.locator("mark").allTextContents()).toEqual(
          expect.arrayContaining(["<script>alert(1)</script>", "<script>ALERT(1)</script>"]),
        );
        expect(await page.locator("script").count()).toBe(0);
      });
    },
  );
});
