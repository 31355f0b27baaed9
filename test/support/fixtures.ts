/** Values that other people's programs computed, committed with the programs that wrote them: beside an op, or in test/fixtures/. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

/** fixtures.json of an op, by its folder's name. */
// biome-ignore lint/suspicious/noExplicitAny: JSON, whose shape is its test's to know
export function readFixtures(op: string): any {
  return JSON.parse(readFileSync(resolve(root, "src/ops", op, "fixtures.json"), "utf8"));
}

/** A file under test/fixtures/. */
export const fixturePath = (path: string): string => resolve(root, "test/fixtures", path);
