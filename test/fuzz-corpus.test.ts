// Every finding of the fuzzer so far (test/fixtures/fuzz/FORMAT/), read again: each ends in time, with a value or a clear
// refusal. Oracle: test/fuzz/judge.ts. A file that hangs is stopped by the test's limit. `npm run fuzz` finds new ones.
import { copyFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { FormatError } from "../src/platform/errors.ts";
import { formats } from "./fuzz/formats.ts";
import { unclear } from "./fuzz/judge.ts";
import { mutate, randomOf } from "./fuzz/mutate.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const root = resolve(import.meta.dirname, "fixtures/fuzz");
const found = readdirSync(root).flatMap((format) => readdirSync(join(root, format)).map((file) => [format, file]));

test.for(found)("%s: %s", { timeout: 60_000 }, async ([format, file]) => {
  expect(Object.keys(formats)).toContain(format);
  const folder = temporaryFolder();
  const path = join(folder, file);
  copyFileSync(join(root, format, file), path);
  try {
    await formats[format].read(path, folder);
  } catch (error) {
    expect(unclear(error)).toBeNull();
  }
});

test("damage is the same for the same seed, and another for another", () => {
  const bytes = Uint8Array.from({ length: 500 }, (_, i) => (i * 7) % 256);
  const damaged = (seed: number) => Buffer.from(mutate(bytes, randomOf(seed), true)).toString("hex");
  expect(damaged(5)).toBe(damaged(5));
  expect(new Set([1, 2, 3, 4, 5].map(damaged)).size).toBe(5);
});

test("an unclear error is told from a clear one", () => {
  expect(unclear(new FormatError("a.gguf: byte 8: is 3; expected 0 or 1"))).toBeNull();
  for (const error of [
    new TypeError("a.gguf: byte 8"),
    new FormatError("a.gguf: Maximum call stack size exceeded"),
    new FormatError("a.gguf: received undefined"),
    new FormatError("two\nlines"),
    new FormatError("x".repeat(1000)),
    "a text",
  ])
    expect(unclear(error)).not.toBeNull();
});
