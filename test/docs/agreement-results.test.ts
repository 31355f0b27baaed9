// Oracle: bench/results/agreement.json. The table is made from it, so no number in it was typed in.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { type AgreementResults, withAgreement } from "../../scripts/agreement.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(resolve(root, "docs/formats.md"), "utf8");
const results = JSON.parse(readFileSync(resolve(root, "bench/results/agreement.json"), "utf8")) as AgreementResults;

test("docs/formats.md has the table that the results make", () => {
  expect(page).toBe(withAgreement(page, results));
});

test("every shape agrees on all of 100 x 100 greedy tokens, by the results", () => {
  expect(results.models.length).toBeGreaterThan(1);
  for (const { model, exact } of results.models)
    for (const { name, same, of } of exact)
      expect({ model, name, same, of }).toEqual({ model, name, same: 10_000, of: 10_000 });
});
