// Oracle: Chromium, by playwright-core: what a browser lays out, logs and asks the network for. Skipped, saying so, where
// there is no Chromium at the usual places (BITNET_BROWSER names another).
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildReport, writeReport } from "../../src/report/index.ts";
import { browserReason, expectGoodPage, launchBrowser, noBrowser } from "../support/browser.ts";
import { madeUpMeasurement } from "../support/measurements.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

describe.skipIf(noBrowser)(`the report in a browser${browserReason}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
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
      await expectGoodPage(browser, path, { width, scheme }, async (page, drawings) => {
        expect(drawings).toBeGreaterThan(7);
        if (process.env.SCREENSHOTS)
          await page.screenshot({
            path: join(process.env.SCREENSHOTS, `report-${width}-${scheme}.png`),
            fullPage: true,
          });
      });
    },
  );
});
