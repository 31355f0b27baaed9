// Oracle: Chromium, by playwright-core: what a browser lays out, logs and asks the network for. Skipped, saying so, where
// there is no Chromium at the usual places (BITNET_BROWSER names another).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { measureSensitivity, planBudget } from "../../src/analysis/index.ts";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { Transformer } from "../../src/model/index.ts";
import { sensitivityPage } from "../../src/report/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { browserReason, expectGoodPage, launchBrowser, noBrowser } from "../support/browser.ts";
import { smallModel, smallText } from "../support/small-run.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const sizes = { maxTokens: 24, batch: 8 };
const model = () =>
  new Transformer(
    new Runtime(createReferenceBackend()),
    { ...smallModel, width: 32, hiddenWidth: 64, layers: 3, initStd: 0.3, variant: "full" },
    3,
  );

describe.skipIf(noBrowser)(`the page of a sensitivity in a browser${browserReason}`, () => {
  let browser: Browser;
  let html: string;
  beforeAll(async () => {
    const result = await measureSensitivity(model(), smallText(), sizes);
    const budget = await planBudget(model(), smallText(), { ...sizes, bytes: 20_000 });
    html = sensitivityPage(result, { createdMs: 1.7e12, budget, facts: [["model", "<script>alert(1)</script>"]] });
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
        // Rise, fall, the map.
        expect(drawings).toBe(3);
        expect(await page.locator("table.comparison tbody tr").count()).toBe(21);
        expect(await page.locator("script").count()).toBe(0);
      });
    },
  );
});
