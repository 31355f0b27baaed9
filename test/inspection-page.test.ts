// Oracle: Chromium, by playwright-core: what a browser lays out, logs and asks the network for. Skipped, saying so, where
// there is no Chromium at the usual places (CHROMIUM names another).
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defineFilter, type Inspection, inspectSources } from "../src/data/index.ts";
import { withTemporaryFolder } from "../src/platform/temporary.ts";
import { inspectionPage } from "../src/report/index.ts";
import { layout } from "./support/page-layout.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const found = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);

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

const reasons = found ? "" : " (skipped: no Chromium here; CHROMIUM names one)";
describe.skipIf(!found)(`the page of an inspection in a browser${reasons}`, () => {
  let browser: Browser;
  let html: string;
  beforeAll(async () => {
    html = inspectionPage(await withTemporaryFolder(hostile), { createdMs: 1.7e12, facts: [["key", "0".repeat(64)]] });
    browser = await chromium.launch({ executablePath: found, args: ["--no-sandbox"] });
  }, 60_000);
  afterAll(() => browser?.close());

  test.for([
    ["desktop", 1280, "light"],
    ["phone", 390, "dark"],
  ] as const)(
    "%s at %d pixels, %s: nothing is logged or asked for, nothing overlaps or sticks out",
    async ([, width, scheme]) => {
      const path = join(temporaryFolder(), "page.html");
      writeFileSync(path, html);
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
      try {
        const page = await context.newPage();
        const said: string[] = [];
        page.on("console", (message) => said.push(message.text()));
        page.on("pageerror", (error) => said.push(error.message));
        page.on("dialog", (dialog) => said.push(dialog.message()));
        page.on("request", (request) => {
          if (!/^(file|data):/.test(request.url())) said.push(`asked for ${request.url()}`);
        });
        await page.goto(pathToFileURL(path).href);
        const { seen, overlapping, outside, scrollWidth, paper } = await page.evaluate(layout);
        expect(said).toEqual([]);
        // Lengths in characters and in tokens, documents, tokens per byte, reasons, clusters.
        expect(seen).toBe(6);
        expect(overlapping).toEqual([]);
        expect(outside).toEqual([]);
        expect(scrollWidth).toBeLessThanOrEqual(width);
        expect(paper).toBe(scheme === "dark" ? "rgb(20, 23, 26)" : "rgb(255, 255, 255)");
        expect(await page.locator("mark").allTextContents()).toEqual(
          expect.arrayContaining(["<script>alert(1)</script>", "<script>ALERT(1)</script>"]),
        );
        expect(await page.locator("script").count()).toBe(0);
      } finally {
        await context.close();
      }
    },
  );
});
