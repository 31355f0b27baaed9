// Oracle: bench/results/. The page is made from them, so no number in it was typed in.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { resultsPage } from "../../scripts/results.ts";

test("docs/results.md is what the results in bench/results/ make", () => {
  expect(readFileSync(resolve(import.meta.dirname, "../../docs/results.md"), "utf8")).toBe(resultsPage());
});
