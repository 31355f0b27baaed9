// The package as npm packs it. Oracle: npm itself for the list of files, package-lock.json for what the dependencies want.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const json = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"));

test("what is packed has the program and its types, and no maps to sources that are not in it", () => {
  const out = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const packed: unknown = JSON.parse(out);
  // An array up to npm 11; by name afterwards.
  const [{ files }] = Object.values(packed as Record<string, { files: { path: string }[] }>);
  const names = files.map(({ path }) => path);
  expect(names).toEqual(expect.arrayContaining(["dist/cli/main.js", "dist/index.d.ts", "README.md", "LICENSE"]));
  expect(names.filter((name) => name.endsWith(".map"))).toEqual([]);
});

test("the build points to no maps", () => {
  expect(json("tsconfig.build.json").compilerOptions.sourceMap).toBe(false);
});

/** Whether a range such as "^20.19 || >=22" takes a version; ranges of other shapes are told. */
function takes(range: string, version: readonly number[]): boolean {
  const compare = (a: readonly number[], b: readonly number[]) =>
    a.map((part, k) => part - b[k]).find((difference) => difference !== 0) ?? 0;
  return range.split("||").some((part) => {
    if (part.trim() === "*") return true;
    const match = /^\s*(>=|\^|>)?\s*v?(\d+)(?:\.(\d+|x))?(?:\.(\d+|x))?\s*$/.exec(part);
    if (!match) throw new Error(`cannot read the range "${range}"`);
    const [, sign, ...said] = match;
    const least = [0, 1, 2].map((k) => Number(said[k]) || 0);
    if (sign === ">") return compare(version, least) > 0;
    if (sign === ">=") return compare(version, least) >= 0;
    // ^20.19 and 20.x: of that major version, from there on.
    return version[0] === least[0] && compare(version, least) >= 0;
  });
}

test.for([
  [">=20.19", [20, 19, 0], true],
  [">=20.19", [20, 18, 9], false],
  ["^18.0 || >=20", [19, 5, 0], false],
  ["^20.19 || >=22", [20, 19, 0], true],
  [">=22", [20, 19, 0], false],
] as const)("the range %s", ([range, version, taken]) => {
  expect(takes(range, version)).toBe(taken);
});

test("engines says what the dependencies want: none is for a later Node", () => {
  const least = /^>=(\d+)\.(\d+)$/.exec(json("package.json").engines.node)!.slice(1).map(Number);
  const packages = Object.entries(
    json("package-lock.json").packages as Record<
      string,
      { dev?: boolean; optional?: boolean; engines?: { node?: string } }
    >,
  ).filter(([name, { dev, optional }]) => name !== "" && !dev && !optional);
  expect(packages.length).toBeGreaterThan(30);
  const later = packages.filter(
    ([, { engines }]) => engines?.node !== undefined && !takes(engines.node, [...least, 0]),
  );
  expect(later.map(([name, { engines }]) => `${name} ${engines!.node}`)).toEqual([]);
});
