// Oracle: bench/results/tokenizer.json. The table is made from it, so no number in it was typed in.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { medianOf } from "../../bench/machine.ts";
import { type TokenizerResult, withSpeeds } from "../../scripts/tokenizer.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(resolve(root, "docs/tokenizers.md"), "utf8");
const result = JSON.parse(readFileSync(resolve(root, "bench/results/tokenizer.json"), "utf8")) as TokenizerResult;

test("docs/tokenizers.md has the table that the results make", () => {
  expect(page).toBe(withSpeeds(page, result));
});

test("each tokenizer encodes each text at 16 MB/s or more on two workers, by the results", () => {
  expect(result.rows.length).toBeGreaterThan(5);
  for (const { tokenizer, text, workers } of result.rows)
    expect(medianOf(workers), `${tokenizer}, ${text}`).toBeGreaterThanOrEqual(16);
});
