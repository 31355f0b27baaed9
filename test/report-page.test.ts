// Oracle: Chromium, by playwright-core: what a browser lays out, logs and asks the network for. Skipped, saying so, where
// there is no Chromium at the usual places (CHROMIUM names another).
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildReport, writeReport } from "../src/report/index.ts";
import { madeUpMeasurement } from "./support/measurements.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const found = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);

const reasons = found ? "" : " (skipped: no Chromium here; CHROMIUM names one)";
describe.skipIf(!found)(`the report in a browser${reasons}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: found, args: ["--no-sandbox"] });
  });
  afterAll(() => browser?.close());

  test.for([
    ["desktop", 1280, "light"],
    ["desktop", 1280, "dark"],
    ["phone", 390, "light"],
    ["phone", 390, "dark"],
  ] as const)(
    "%s at %d pixels, %s: nothing is logged or asked for, nothing overlaps or sticks out",
    async ([, width, scheme]) => {
      const folder = temporaryFolder();
      const models = [
        madeUpMeasurement("bitnet"),
        madeUpMeasurement("full"),
        madeUpMeasurement("bitnet", { name: "a third model with a long name" }),
      ];
      const [path] = writeReport(
        folder,
        "report",
        buildReport(models, { createdMs: 1.7e12, command: "bitnet report" }),
      );
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
      try {
        const page = await context.newPage();
        const said: string[] = [];
        page.on("console", (message) => said.push(message.text()));
        page.on("pageerror", (error) => said.push(error.message));
        page.on("request", (request) => {
          if (!/^(file|data):/.test(request.url())) said.push(`asked for ${request.url()}`);
        });
        await page.goto(pathToFileURL(path).href);
        const { seen, overlapping, outside, scrollWidth, paper } = await page.evaluate(layout);
        expect(said).toEqual([]);
        expect(seen).toBeGreaterThan(7);
        expect(overlapping).toEqual([]);
        expect(outside).toEqual([]);
        expect(scrollWidth).toBeLessThanOrEqual(width);
        expect(paper).toBe(scheme === "dark" ? "rgb(20, 23, 26)" : "rgb(255, 255, 255)");
        if (process.env.SCREENSHOTS)
          await page.screenshot({
            path: join(process.env.SCREENSHOTS, `report-${width}-${scheme}.png`),
            fullPage: true,
          });
      } finally {
        await context.close();
      }
    },
  );
});

/** Runs in the page: of every chart that is shown, texts that lie on each other, or outside of it. */
function layout() {
  type Box = { left: number; right: number; top: number; bottom: number; width: number; text: string };
  // The page's own globals: this project's types are Node's.
  const { document, getComputedStyle } = globalThis as never as {
    document: {
      documentElement: { scrollWidth: number };
      body: object;
      querySelectorAll(query: string): Iterable<never>;
    };
    getComputedStyle(element: object): { backgroundColor: string };
  };
  const boxOf = (element: { getBoundingClientRect(): Box; textContent: string }): Box => {
    const { left, right, top, bottom, width } = element.getBoundingClientRect();
    return { left, right, top, bottom, width, text: element.textContent };
  };
  const overlapping: string[] = [];
  const outside: string[] = [];
  let seen = 0;
  for (const svg of document.querySelectorAll("svg") as Iterable<never>) {
    const frame = boxOf(svg);
    if (frame.width === 0) continue;
    seen++;
    const texts = [...(svg as { querySelectorAll(query: string): Iterable<never> }).querySelectorAll("text")].map(
      boxOf,
    );
    for (const [i, a] of texts.entries()) {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        outside.push(a.text);
      for (const b of texts.slice(i + 1))
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
          overlapping.push(`${a.text} / ${b.text}`);
    }
  }
  return {
    ...{ seen, overlapping, outside },
    scrollWidth: document.documentElement.scrollWidth,
    paper: getComputedStyle(document.body).backgroundColor,
  };
}
