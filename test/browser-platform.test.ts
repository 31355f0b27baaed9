// What a browser could run: parts of the program that reach no node: import, and the twins of platform/. Oracle: the sources'
// own imports; platform/README.md's rules.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { type Import, importsOf } from "./support/walls.ts";

const root = resolve(import.meta.dirname, "..");
const source = join(root, "src");
const cache = new Map<string, Import[]>();
function importsIn(file: string): Import[] {
  const known = cache.get(file) ?? importsOf(file, readFileSync(join(source, file), "utf8"));
  cache.set(file, known);
  return known;
}

/** Ways from an entry to a node: import, over what is loaded when it runs: also what it loads later. Types are not. */
function waysToNode(entry: string): string[] {
  const cameFrom = new Map<string, string | null>([[entry, null]]);
  const found: string[] = [];
  const wayOf = (file: string | null): string =>
    file === null ? "" : `${wayOf(cameFrom.get(file) ?? null)}${file} > `;
  for (const file of cameFrom.keys())
    for (const { specifier, path, typeOnly } of importsIn(file)) {
      if (typeOnly) continue;
      if (specifier.startsWith("node:")) found.push(wayOf(file) + specifier);
      if (path !== null && !cameFrom.has(path)) cameFrom.set(path, file);
    }
  return found;
}

/** Training and generating, but for what holds files: with a backend these are a program. */
const entries = [
  "model/index.ts",
  "nn/index.ts",
  "tensor/index.ts",
  ...readdirSync(join(source, "ops"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `ops/${name}/index.ts`),
  "train/optimizers.ts",
  "train/trainer.ts",
  "train/schedules.ts",
  "train/callbacks/metrics.ts",
  "infer/generate.ts",
  "infer/beam.ts",
  "infer/scheduler.ts",
  "infer/transformer-engine.ts",
  "infer/packed/engine.ts",
  "data/batches.ts",
  "data/token-stream.ts",
  "backends/reference.ts",
  "backends/dry.ts",
];

describe("parts that reach no node: import", () => {
  test.for(entries)("%s", (entry) => {
    expect(waysToNode(entry)).toEqual([]);
  });

  test("are found out where they do: the way is named", () => {
    expect(waysToNode("tokenizer/tokenizer.ts")).toEqual([
      "tokenizer/tokenizer.ts > platform/hash.ts > platform/node/hash.ts > node:crypto",
    ]);
    expect(waysToNode("backends/registry.ts").some((way) => way.includes("backends/native.ts > "))).toBe(true);
  });
});

const namesIn = (folder: string) =>
  readdirSync(join(source, "platform", folder))
    .filter((name) => /^[\w-]+\.ts$/.test(name))
    .map((name) => name.replace(/\.ts$/, ""));
/** Modules that worker threads and child processes begin with, which nobody imports. */
const threadEntries = ["child-entry", "service-entry", "worker-entry"];
/** Parts of another file of node/, which alone imports them: python-sandbox.ts has two. */
const parts = ["python-process", "wasi-guest"];

describe("platform/", () => {
  const neutral = namesIn("").filter((name) => !name.endsWith(".test"));

  test("imports node: in node/ alone, and passes each of its files on by its own name", () => {
    for (const name of neutral)
      expect(importsIn(`platform/${name}.ts`).filter(({ specifier }) => specifier.startsWith("node:"))).toEqual([]);
    for (const name of namesIn("node").filter((one) => ![...threadEntries, ...parts].includes(one)))
      expect(
        importsIn(`platform/${name}.ts`).map(({ specifier }) => specifier),
        name,
      ).toContain(`./node/${name}.ts`);
  });

  test("nobody else imports a file of node/ or browser/ directly", () => {
    const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
    const direct = files
      .map((name) => name.replaceAll("\\", "/"))
      .filter((file) => !file.startsWith("platform/"))
      .flatMap(importsIn)
      .filter(({ path }) => path !== null && /^platform\/(node|browser)\//.test(path));
    expect(direct.map(({ file, specifier }) => `${file} imports ${specifier}`)).toEqual([]);
  });

  test("every twin stands in package.json's browser, and has what its original has", async () => {
    const { browser } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const twins = namesIn("browser");
    expect(twins.length).toBeGreaterThan(0);
    expect(browser).toEqual(
      Object.fromEntries(
        twins.map((name) => [`./dist/platform/node/${name}.js`, `./dist/platform/browser/${name}.js`]),
      ),
    );
    for (const name of twins) {
      const [original, twin] = await Promise.all(
        ["node", "browser"].map((side) => import(`../src/platform/${side}/${name}.ts`)),
      );
      expect(Object.keys(twin).sort(), name).toEqual(Object.keys(original).sort());
      expect(
        importsIn(`platform/browser/${name}.ts`).filter(({ specifier }) => specifier.startsWith("node:")),
        name,
      ).toEqual([]);
    }
  });
});
