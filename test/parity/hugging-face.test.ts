// Folders that transformers wrote, with the logits that it computes from them (test/fixtures/hugging-face/README.md).
// Bound: both sides compute in float32 in another order; logits are up to about 5, and differ by float32 rounding. The
// int8 codes of activations agree: none lies at a .5 boundary here.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { loadModel } from "../../src/exchange/index.ts";
import { packModel } from "../../src/infer/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { expectClose } from "../support/expect-close.ts";

const folder = resolve(import.meta.dirname, "../fixtures/hugging-face");
const { tokens, logits } = JSON.parse(readFileSync(resolve(folder, "logits.json"), "utf8")) as {
  tokens: number[];
  logits: Record<string, number[][]>;
};

test.for(Object.entries(logits))("%s gives transformers' logits", async ([name, expected]) => {
  const { model } = await loadModel(resolve(folder, name), new Runtime(createReferenceBackend()));
  const batch = { tokens: Int32Array.from(tokens), batch: 1, length: tokens.length };
  const found = await model.runtime.readFloats(model.logits(batch));
  expect(expected).toHaveLength(tokens.length);
  expectClose(found, expected.flat(), { abs: 2e-5 }, name);
  const packed = await packModel(model);
  const work = { sequence: packed.createSequence(), tokens, logits: "all" } as const;
  expectClose((await packed.forward([work]))[0], expected.flat(), { abs: 2e-5 }, `${name}, packed`);
  packed.dispose();
});
