// docs/extending.md: its code is that of the examples, which test/examples/ runs, and it has every kind of part.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import type { Extension } from "../../src/extensions/index.ts";

const root = resolve(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/extending.md"), "utf8");
const blocks = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => code);

test("every block of code but the list of kinds is in an example, word for word", () => {
  const examples = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".mjs"));
  const texts = examples.map((name) => readFileSync(join(root, "examples", name), "utf8"));
  const [kinds, ...code] = blocks;
  expect(code.length).toBeGreaterThan(6);
  for (const block of code)
    expect(
      texts.some((text) => text.includes(block)),
      block,
    ).toBe(true);
  const all: Record<keyof Extension, true> = {
    weightQuantizers: true,
    activationQuantizers: true,
    estimators: true,
    objectives: true,
    optimizers: true,
    schedules: true,
    progressives: true,
    callbacks: true,
    tasks: true,
    filters: true,
  };
  expect([...kinds.matchAll(/^ {2}(\w+): /gm)].map(([, kind]) => kind)).toEqual(Object.keys(all));
});
