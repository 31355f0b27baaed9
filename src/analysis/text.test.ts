// Oracle: eval/loss.ts, which sums the losses of the model's own cross-entropy kernel (this file computes them from logits);
// numpy for the standard errors (values worked out outside, in the comments); calibration by hand.
import { expect, test } from "vitest";
import { createSmallEngine } from "../../test/support/small-model.ts";
import { streamOfTokens } from "../data/index.ts";
import { evaluateLoss } from "../eval/index.ts";
import { DataError } from "../platform/errors.ts";
import { createCalibration, measureText, pairedStandardError, ratioStandardError, summarize } from "./text.ts";

const stream = (count: number) =>
  streamOfTokens(
    Array.from({ length: count }, (_, i) => (i % 50 === 49 ? 256 : (i * 31) % 200)),
    { vocabSize: 257, endOfText: 256, textBytes: 3 * count },
  );

test.for(["bitnet", "full"] as const)("loss and bits per byte of a %s model are those of eval", async (variant) => {
  const { model } = createSmallEngine({ variant });
  const tokens = stream(200);
  const measured = await measureText(model, tokens);
  const judged = await evaluateLoss(model, tokens, { batch: 2 });
  expect(measured.tokens).toBe(judged.tokens);
  expect(measured.lossNats).toBeCloseTo(judged.lossNats, 5);
  expect(measured.bitsPerByte).toBeCloseTo(judged.bitsPerByte!, 5);
  expect(measured.windows).toHaveLength(Math.ceil(200 / 48));
  expect(measured.whole).toBe(true);
  const counted = measured.calibration.bins.reduce((sum, { count }) => sum + count, 0);
  expect(counted).toBe(measured.tokens);
  model.dispose();
});

test("a part of a text is scored as one, and its bytes are what the caller counted, or unknown", async () => {
  const { model } = createSmallEngine();
  const measured = await measureText(model, stream(200), { maxTokens: 60 });
  expect(measured).toMatchObject({ tokens: 60, whole: false, bytes: null, bitsPerByte: null });
  expect((await measureText(model, stream(200), { maxTokens: 60, textBytes: 90 })).bytes).toBe(90);
  model.dispose();
});

test("a text of another vocabulary is refused, and so is an empty one", async () => {
  const { model } = createSmallEngine();
  const other = streamOfTokens([1, 2, 299], { vocabSize: 300, endOfText: 299 });
  await expect(measureText(model, other)).rejects.toThrow(/vocabulary of 300/);
  model.dispose();
  expect(() => summarize([], 10)).toThrow(DataError);
});

test("weights that are no numbers are refused with the token that showed it", async () => {
  const { model, runtime } = createSmallEngine();
  const [embedding] = model.parameters;
  runtime.backend.upload(embedding.tensor.buffer, new Float32Array(embedding.size).fill(Number.NaN));
  await expect(measureText(model, stream(60))).rejects.toThrow(/damaged or its training diverged/);
  model.dispose();
});

test("standard errors are those of a ratio estimator, and paired ones see only what differs", () => {
  const windows = [20, 26, 23, 9].map((nats, i) => ({ nats, tokens: i === 3 ? 4 : 10 }));
  // numpy: L = 78/34; r = nats - L * tokens; sqrt(sum(r**2) * 4/3) / 34 = 0.144254
  expect(ratioStandardError(windows)).toBeCloseTo(0.144254, 6);
  expect(ratioStandardError(windows.slice(0, 1))).toBeNull();
  const shifted = windows.map(({ nats, tokens }) => ({ nats: nats + tokens / 10, tokens }));
  expect(pairedStandardError(shifted, windows)).toBeCloseTo(0, 12);
  expect(pairedStandardError(shifted, windows.slice(1))).toBeNull();
  expect(
    pairedStandardError(
      windows.map((w) => ({ ...w, tokens: 10 })),
      windows,
    ),
  ).toBeNull();
});

test("calibration: bins, their means and the expected error are as counted by hand", () => {
  const calibration = createCalibration(2);
  calibration.add(0.2, false);
  calibration.add(0.4, true);
  calibration.add(0.9, true);
  calibration.add(1, true);
  const { bins, expectedCalibrationError, accuracy } = calibration.result();
  expect(bins[0]).toMatchObject({ count: 2, accuracy: 0.5 });
  expect(bins[0].meanProbability).toBeCloseTo(0.3, 12);
  expect(bins[1]).toMatchObject({ count: 2, accuracy: 1 });
  // (2/4) |0.3 - 0.5| + (2/4) |0.95 - 1|
  expect(expectedCalibrationError).toBeCloseTo(0.125, 12);
  expect(accuracy).toBe(0.75);
  expect(createCalibration(2).result().bins[0]).toMatchObject({ count: 0, accuracy: null, meanProbability: null });
});
