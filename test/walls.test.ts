// The house's walls (ARCHITECTURE.md), read off the sources: imports go one way, node: lives in platform/, definitions
// know no backend, formats know no model, models know no backend, and only cli/ prints or exits.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const source = resolve(import.meta.dirname, "../src");

/** Rooms from the ground up; those on one floor do not import each other. */
const floors: readonly (readonly string[])[] = [
  ["platform", "quant"],
  ["backends"],
  ["ops"],
  ["tensor"],
  ["nn"],
  ["model", "tokenizer", "data", "formats"],
  ["checkpoint", "corpus"],
  ["exchange"],
  ["train", "infer"],
  ["eval", "analysis"],
  ["serve", "report"],
  ["cli", "entry"],
];
const floorOf = new Map(floors.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)));

interface Import {
  file: string;
  room: string;
  specifier: string;
  /** Room of a relative import. */
  target: string | null;
  typeOnly: boolean;
}

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.replaceAll("\\", "/"));
const isSupport = (file: string) => /\.(test|bench)\.ts$|\/cases\.ts$/.test(file);
const textOf = (file: string) => readFileSync(join(source, file), "utf8");

function importsOf(file: string): Import[] {
  const found: Import[] = [];
  for (const match of textOf(file).matchAll(
    /(?:^|\n)\s*(?:import|export)\s+(type\s+)?[^;"']*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s*"([^"]+)"/g,
  )) {
    const specifier = match[2] ?? match[3] ?? match[4];
    const target = specifier.startsWith(".")
      ? relative(source, resolve(source, dirname(file), specifier))
          .replaceAll("\\", "/")
          .split("/")[0]
      : null;
    found.push({ file, room: file.split("/")[0], specifier, target, typeOnly: match[1] !== undefined });
  }
  return found;
}

const imports = files.filter((file) => !isSupport(file) && file.includes("/")).flatMap(importsOf);
const names = (list: Import[]) => list.map((i) => `${i.file} imports ${i.specifier}`);

test("there are imports to judge, and every room has a floor", () => {
  expect(imports.length).toBeGreaterThan(50);
  expect([...new Set(imports.map((i) => i.room))].filter((room) => !floorOf.has(room))).toEqual([]);
});

test("imports go one way: no file climbs, and neighbours do not import each other", () => {
  const climbing = imports.filter((i) => {
    if (!i.target || i.target === i.room) return false;
    const from = floorOf.get(i.room);
    const to = floorOf.get(i.target);
    return from === undefined || to === undefined || to >= from;
  });
  expect(names(climbing)).toEqual([]);
});

test("only platform/ touches node: and the process", () => {
  expect(names(imports.filter((i) => i.specifier.startsWith("node:") && i.room !== "platform"))).toEqual([]);
  const touching = files.filter(
    (file) =>
      !isSupport(file) && !/^(platform|cli)\//.test(file) && /\bprocess\.|\bconsole\./.test(withoutComments(file)),
  );
  expect(touching).toEqual([]);
});

test("only cli/ exits the process", () => {
  const exiting = files.filter(
    (file) => !isSupport(file) && !file.startsWith("cli/") && /process\.exit|exitCode\s*=/.test(withoutComments(file)),
  );
  expect(exiting).toEqual([]);
});

test("reference.ts imports no backend", () => {
  expect(
    names(imports.filter((i) => i.file.endsWith("/reference.ts") && i.room === "ops" && i.target === "backends")),
  ).toEqual([]);
});

test("model/ and nn/ do not know their backend", () => {
  expect(names(imports.filter((i) => (i.room === "model" || i.room === "nn") && i.target === "backends"))).toEqual([]);
});

test("formats/ knows bytes, number formats and names, not models", () => {
  const allowed = [null, "formats", "platform", "quant"];
  expect(names(imports.filter((i) => i.room === "formats" && !allowed.includes(i.target)))).toEqual([]);
});

test("library code takes clock and randomness from outside", () => {
  const guilty = files.filter(
    (file) =>
      !isSupport(file) &&
      !/^(platform|cli)\//.test(file) &&
      /Math\.random|Date\.now|new Date\(\)|performance\.now/.test(withoutComments(file)),
  );
  expect(guilty).toEqual([]);
});

function withoutComments(file: string): string {
  return textOf(file)
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^\s*\/\/.*$/gm, "");
}
