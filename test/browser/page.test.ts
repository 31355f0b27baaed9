// The chat page in a real browser: the system's Chromium, driven by playwright-core. Oracle: the browser; the alphabet, which
// the scripted engine writes. Skipped by name where there is no browser; BITNET_BROWSER names one elsewhere.
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { browserReason, browserTimeoutMs, launchBrowser, noBrowser } from "../support/browser.ts";
import { serveAlphabet, until } from "../support/serving.ts";

describe.skipIf(noBrowser)(`the chat page${browserReason}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  async function open(
    serving: Awaited<ReturnType<typeof serveAlphabet>>,
    options: object = {},
  ): Promise<{ page: Page; wrong: string[] }> {
    const url = await serving.url();
    const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
    context.setDefaultTimeout(browserTimeoutMs);
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const wrong: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error") wrong.push(message.text());
    });
    page.on("pageerror", (error) => wrong.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(url)) wrong.push(`asked elsewhere: ${request.url()}`);
    });
    await page.goto(url);
    return { page, wrong };
  }

  const texts = (page: Page) => page.locator(".message p").allTextContents();

  test("talks: an answer comes piece by piece, can be stopped, and the next question knows what was said", async () => {
    const serving = await serveAlphabet({ context: 4000 });
    const { page, wrong } = await open(serving);
    await page.getByText("alphabet · context of 4,000 tokens").waitFor();
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Temperature").fill("0");
    await page.getByLabel("Message").fill("first <b>question</b>");
    await page.getByLabel("Message").press("Enter");
    await page.getByText("27 tokens in").waitFor();
    expect(await texts(page)).toEqual(["first <b>question</b>", "abcdefghijklmnopqrstuvwxyz"]);

    serving.gate.shut();
    await page.getByLabel("Message").fill("second");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByRole("button", { name: "Stop" }).click();
    serving.gate.open();
    await page.getByText("stopped").waitFor();
    // [user]...>[assistant]... of the first, then the second.
    const said = "[user]first <b>question</b>[assistant]abcdefghijklmnopqrstuvwxyz[user]second>";
    const lastPrompt = () => String.fromCharCode(...serving.engine.fed.findLast(({ length }) => length > 1)!);
    await until(() => lastPrompt().includes("second"));
    expect(lastPrompt()).toBe(said);
    await page.getByRole("button", { name: "New" }).click();
    expect(await texts(page)).toEqual([]);
    expect(wrong).toEqual([]);
  });

  test("of a model without a template continues texts", async () => {
    const { page, wrong } = await open(await serveAlphabet({ chatTemplate: null }));
    await page.getByText("This model continues texts").waitFor();
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Temperature").fill("0");
    await page.getByLabel("Message").fill("w");
    await page.getByLabel("Message").press("Enter");
    await page.getByText("4 tokens in").waitFor();
    expect(await texts(page)).toEqual(["wxyz"]);
    expect(wrong).toEqual([]);
  });

  test("asks for the key, and says in the server's words what is wrong", async () => {
    const { page } = await open(await serveAlphabet({ apiKeys: ["open-sesame"] }));
    await page.getByText("this server wants a key").waitFor();
    await page.getByLabel("API key").fill("open-sesame");
    await page.getByLabel("API key").press("Tab");
    await page.getByText("alphabet · context of").waitFor();
    await page.getByLabel("Tokens at most").fill("0");
    await page.getByLabel("Top-p").fill("7");
    await page.getByLabel("Message").fill("a");
    await page.getByLabel("Message").press("Enter");
    await page.locator(".message.wrong").waitFor();
    expect(await page.locator(".message.wrong").textContent()).toMatch(/top_p/);
  });

  test.for([
    ["a desktop, light", { colorScheme: "light" }, true],
    ["a desktop, dark", { colorScheme: "dark" }, false],
    ["a phone", { colorScheme: "light", viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true }, true],
  ] as const)("on %s: fits its width, can be read, and the composer is in sight", async ([, options, light]) => {
    const { page, wrong } = await open(await serveAlphabet(), options);
    await page.getByText("alphabet · context of").waitFor();
    await page.getByLabel("Message").fill("x".repeat(300));
    await page.getByLabel("Message").press("Enter");
    await page.getByText("tokens in").waitFor();
    const facts = (await page.evaluate(`(() => {
      const lightness = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((x) => (x > 1 ? x / 255 : x)).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (selector) => {
        const style = getComputedStyle(document.querySelector(selector));
        let box = document.querySelector(selector);
        while (getComputedStyle(box).backgroundColor === "rgba(0, 0, 0, 0)") box = box.parentElement;
        const [a, b] = [lightness(style.color), lightness(getComputedStyle(box).backgroundColor)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      };
      const send = document.querySelector("#send").getBoundingClientRect();
      return {
        overflows: document.documentElement.scrollWidth > innerWidth,
        sendInSight: send.bottom <= innerHeight && send.right <= innerWidth,
        contrasts: ["#model", "#input", "#send", ".message.assistant p", ".message.user p", ".message footer"].map(contrast),
        background: lightness(getComputedStyle(document.body).backgroundColor),
      };
    })()`)) as { overflows: boolean; sendInSight: boolean; contrasts: number[]; background: number };
    expect(facts).toMatchObject({ overflows: false, sendInSight: true });
    // WCAG 2.2, 1.4.3: 4.5 to 1 for text.
    expect(Math.min(...facts.contrasts)).toBeGreaterThanOrEqual(4.5);
    expect(facts.background > 0.5).toBe(light);
    expect(wrong).toEqual([]);
    if (process.env.BITNET_SCREENSHOTS)
      await page.screenshot({ path: `${process.env.BITNET_SCREENSHOTS}/page-${JSON.stringify(options).length}.png` });
  });
});
