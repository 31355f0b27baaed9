/**
 * The real data that stands beside the checkout for its founders and for CI: real text, tokenizers, small real weights. Others
 * do not have it: a test that needs it says so by name and is skipped, with its reason, where it is absent. Values that
 * PyTorch computed are not among it: they are committed (fixtures.ts), so that every parity test of a kernel runs everywhere.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type TestContext, test } from "vitest";

const root = resolve(import.meta.dirname, "../../../shared");

/** Path of a file under shared/, whether it exists or not. */
export function sharedPath(path: string): string {
  return resolve(root, path);
}

/** A test that needs files under shared/; skipped with its reason where one is absent. */
export function testShared(
  title: string,
  paths: readonly string[],
  body: (context: TestContext) => Promise<void> | void,
  timeoutMs?: number,
): void {
  const absent = paths.find((path) => !existsSync(sharedPath(path)));
  if (absent) test.skip(`${title} (skipped: ../shared/${absent} is absent)`, () => {});
  else test(title, body, timeoutMs);
}
