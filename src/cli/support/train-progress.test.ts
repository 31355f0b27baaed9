// What training shows where there is no terminal. Oracle: e to the next-token loss, by hand.
import { expect, test, vi } from "vitest";
import type { StepEvent, Training } from "../../train/index.ts";
import { createTrainProgress } from "./train-progress.ts";

const step = (loss: number, parts?: StepEvent["parts"]): StepEvent => ({
  ...{ type: "step", step: 1, loss, parts, gradNorm: 1, learningRate: 1, weightDecay: 0, tokens: 8, totalTokens: 8 },
  ...{ epoch: 0, skipped: false, skippedSteps: 0, elapsedMs: 10, dataWaitMs: 0 },
});

async function shown(event: StepEvent): Promise<string> {
  let text = "";
  vi.stubGlobal("performance", { now: () => 0 });
  const spy = vi.spyOn(process.stderr, "write").mockImplementation(((chunk: string) => {
    text += chunk;
    return true;
  }) as never);
  const terminal = process.stderr.isTTY;
  process.stderr.isTTY = false;
  try {
    await createTrainProgress(1).callback.on(event, {} as Training);
  } finally {
    process.stderr.isTTY = terminal;
    spy.mockRestore();
    vi.unstubAllGlobals();
  }
  return text;
}

test("the perplexity is of the next-token loss, whatever else is in the loss, and absent where no objective has one", async () => {
  expect(await shown(step(2))).toMatch(/ loss 2\.0000 {2}perplexity 7\.389 {2}/);
  expect(await shown(step(5, { "next-token": 2, "z-loss": 30 }))).toMatch(/ loss 5\.0000 {2}perplexity 7\.389 {2}/);
  expect(await shown(step(5, { "late-tokens": 5, "late-tokens.next-token": 2 }))).toMatch(/perplexity 7\.389/);
  const without = await shown(step(5, { "z-loss": 30 }));
  expect(without).toMatch(/ loss 5\.0000 {2}800 tokens\/s/);
  expect(without).not.toContain("perplexity");
});
