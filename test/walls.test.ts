// The house's walls (ARCHITECTURE.md), read off the sources: imports go one way and never in a circle, node: lives in
// platform/node/, definitions know no backend, formats know no model, models know no backend, and only cli/ prints or exits. The
// pages name every room, and no path that is not there. Oracle for the functions that judge: small made-up houses with faults.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import {
  absent,
  circles,
  climbing,
  floorsIn,
  type Import,
  importsOf,
  pathsIn,
  pictureIn,
  withoutComments,
  wrongInPicture,
} from "./support/walls.ts";

const root = resolve(import.meta.dirname, "..");
const source = join(root, "src");
const listed = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => name.replaceAll("\\", "/"));

const files = listed(source).filter((name) => name.endsWith(".ts"));
const isSupport = (file: string) => /\.(test|bench)\.ts$|\/cases\.ts$/.test(file);
const textOf = (file: string) => readFileSync(join(source, file), "utf8");
const page = (name: string) => readFileSync(join(root, name), "utf8");

/** Rooms from the ground up; those on one floor do not import each other. */
const floorOf = floorsIn(page("ARCHITECTURE.md"));
const all = files.filter((file) => !isSupport(file)).flatMap((file) => importsOf(file, textOf(file)));
const imports = all.filter(({ file }) => file.includes("/"));
const names = (list: Import[]) => list.map((i) => `${i.file} imports ${i.specifier}`);

test("there are imports to judge, and ARCHITECTURE.md has a floor for every room, and no room that is not there", () => {
  expect(imports.length).toBeGreaterThan(50);
  const rooms = files.filter((file) => file.includes("/")).map((file) => file.split("/")[0]);
  expect([...floorOf.keys()].sort()).toEqual([...new Set(rooms)].sort());
});

test("imports go one way: no file climbs, and neighbours do not import each other", () => {
  expect(names(climbing(imports, floorOf))).toEqual([]);
});

test("no files import each other in a circle, types included", () => {
  expect(circles(all)).toEqual([]);
});

test("every path that CONTRIBUTING.md and ARCHITECTURE.md name is there", () => {
  const there = ["src", "test", "bench", "docs", "scripts", "native", "wasm", "web", "examples", "recipes"].flatMap(
    (folder) => listed(join(root, folder)).map((name) => `${folder}/${name}`),
  );
  // ARCHITECTURE.md names rooms without src/, files without .ts, and folders of a room in the room's own line.
  const short = files.flatMap((file) => [file.replace(/\.ts$/, ""), file.replace(/^[^/]+\//, "")]);
  for (const name of ["CONTRIBUTING.md", "ARCHITECTURE.md"]) {
    const paths = pathsIn(page(name));
    expect(paths.length, name).toBeGreaterThan(5);
    expect(absent(paths, [...there, ...files, ...short]), name).toEqual([]);
  }
});

test("the picture of a training step shows files and rooms that are there, and arrows that are imports", () => {
  const { boxes, arrows } = pictureIn(page("ARCHITECTURE.md"));
  expect(boxes.length).toBeGreaterThan(10);
  expect(wrongInPicture(boxes, arrows, files, all)).toEqual([]);
});

test("only platform/node/ touches node:, and it and cli/ the process", () => {
  const atHome = ({ file }: Import) => file.startsWith("platform/node/");
  expect(names(imports.filter((i) => i.specifier.startsWith("node:") && !atHome(i)))).toEqual([]);
  const touching = files.filter(
    (file) =>
      !isSupport(file) &&
      !/^(platform\/node|cli)\//.test(file) &&
      /\bprocess\.|\bconsole\./.test(withoutComments(textOf(file))),
  );
  expect(touching).toEqual([]);
});

test("only cli/ exits the process, and a child its own", () => {
  const exiting = files.filter(
    (file) =>
      !isSupport(file) &&
      !file.startsWith("cli/") &&
      file !== "platform/node/child-entry.ts" &&
      /process\.exit|exitCode\s*=/.test(withoutComments(textOf(file))),
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
      /Math\.random|Date\.now|new Date\(\)|performance\.now/.test(withoutComments(textOf(file))),
  );
  expect(guilty).toEqual([]);
});

describe("the walls can fall", () => {
  const house = (texts: Record<string, string>) =>
    Object.entries(texts).flatMap(([file, text]) => importsOf(file, text));
  const floors = floorsIn(
    "| floor | room |\n| ----- | ---- |\n| 1 | `low/` | a |\n| 2     | `mid/<x>/`    | b |\n| 2 | `by/` | c |\n",
  );

  test("the table gives rooms and floors", () => {
    expect([...floors]).toEqual([
      ["low", 1],
      ["mid", 2],
      ["by", 2],
    ]);
  });

  test("an import is found in each form that it has, and not in a comment", () => {
    const text = [
      'import { a } from "../low/a.ts";',
      'import type {\n  B,\n} from "./b.ts";',
      'export * from "./c.ts";',
      'import "./d.ts";',
      'const e = await import("./e.ts");',
      'import { f } from "zod";',
      '// import { g } from "./g.ts";',
      '/* import { h } from "./h.ts"; */',
    ].join("\n");
    expect(importsOf("mid/x.ts", text).map(({ path, target, typeOnly }) => [path, target, typeOnly])).toEqual([
      ["low/a.ts", "low", false],
      ["mid/b.ts", "mid", true],
      ["mid/c.ts", "mid", false],
      ["mid/d.ts", "mid", false],
      ["mid/e.ts", "mid", false],
      [null, null, false],
    ]);
  });

  test("a file that climbs, one that looks in next door, and a room without a floor are told", () => {
    const told = climbing(
      house({
        "low/a.ts": 'import type { B } from "../mid/b.ts";',
        "mid/b.ts":
          'import { a } from "../low/a.ts";\nimport { c } from "../by/c.ts";\nimport { n } from "../new/n.ts";',
      }),
      floors,
    );
    expect(told.map(({ file, target }) => [file, target])).toEqual([
      ["low/a.ts", "mid"],
      ["mid/b.ts", "by"],
      ["mid/b.ts", "new"],
    ]);
  });

  test("a circle of values, one of types over three files, and a file that imports itself are told; a chain is none", () => {
    const told = circles(
      house({
        "a/1.ts": 'import { x } from "./2.ts";',
        "a/2.ts": 'import { y } from "./1.ts";\nimport { z } from "../b/3.ts";',
        "b/3.ts": 'import type { T } from "./4.ts";',
        "b/4.ts": 'export type { T } from "./5.ts";',
        "b/5.ts": 'type S = import("./3.ts").T;',
        "c/6.ts": 'import { x } from "../a/1.ts";\nimport { q } from "./7.ts";',
        "c/7.ts": 'import { q } from "./7.ts";',
      }),
    );
    expect(told.sort()).toEqual([["a/1.ts", "a/2.ts"], ["b/3.ts", "b/4.ts", "b/5.ts"], ["c/7.ts"]]);
  });

  test("a box without a file, an arrow that no import has, and one without its box are told", () => {
    const { boxes, arrows } = pictureIn(
      '```mermaid\nflowchart TD\n  a["a/1.ts"] --> b["b/"]\n  b -->|calls| a\n  a --> c["c/"]\n  a --> d\n```\n',
    );
    const made = house({ "a/1.ts": 'import { x } from "../b/2.ts";', "b/2.ts": "" });
    expect(wrongInPicture(boxes, arrows, ["a/1.ts", "b/2.ts"], made)).toEqual([
      "c/: no such file or room",
      "b/ does not import a/1.ts",
      "a/1.ts does not import c/",
      "a --> d: no such box",
    ]);
  });

  test("a path that a page names and nobody has is told", () => {
    const text =
      "See `src/ops/<op>/reference.ts`, `src/gone.ts`, `docs/`, `src/<any>/none.ts`, `npm run x`, `main.ts`, `old/`.";
    const files = ["src/ops/add/reference.ts", "src/ops/add/index.ts", "docs/log.md"];
    expect(absent(pathsIn(text), files)).toEqual(["src/gone.ts", "src/<any>/none.ts", "old/"]);
  });
});
