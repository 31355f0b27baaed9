// Oracle: Chromium, by playwright-core: what a browser lays out, logs and asks the network for. Skipped, saying so, where
// there is no Chromium at the usual places (CHROMIUM names another).
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildReport, writeReport } from "../src/report/index.ts";
import { madeUpMeasurement } from "./support/measurements.ts";
import { layout } from "./support/page-layout.ts";
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
