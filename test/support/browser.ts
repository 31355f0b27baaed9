/** Chromium, by playwright-core, for pages written to a file: what it lays out, logs and asks the network for. */
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { expect } from "vitest";
import { layout } from "./page-layout.ts";

const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const named = process.env.BITNET_BROWSER;
const executablePath = (named ? [named] : places).find((path) => existsSync(path));

export const noBrowser = executablePath === undefined;
/** To put behind a title. */
export const browserReason = executablePath
  ? ""
  : ` (skipped: no browser at ${named ?? places.join(", ")}; BITNET_BROWSER names one)`;

/** How long a page may take to show something: against a deadlock alone, as the tests' own limit. */
export const browserTimeoutMs = 600_000;

export const launchBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"], timeout: browserTimeoutMs });

/**
 * Opens the file, expects a page that logs nothing, asks for nothing, has no text over text or outside, fits the width and
 * is painted in the scheme's colour, and hands it on.
 *
 * @param look  is told how many drawings were seen
 */
export async function expectGoodPage(
  browser: Browser,
  path: string,
  { width, scheme }: { width: number; scheme: "light" | "dark" },
  look: (page: Page, drawings: number) => Promise<void>,
): Promise<void> {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  context.setDefaultTimeout(browserTimeoutMs);
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
    expect(overlapping).toEqual([]);
    expect(outside).toEqual([]);
    expect(scrollWidth).toBeLessThanOrEqual(width);
    expect(paper).toBe(scheme === "dark" ? "rgb(20, 23, 26)" : "rgb(255, 255, 255)");
    await look(page, seen);
  } finally {
    await context.close();
  }
}
