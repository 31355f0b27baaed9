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

/** Whether a range such as "^20.19 || >=22" takes major.0.0; ranges of other shapes are told. */
function takes(range: string, major: number): boolean {
  return range.split("||").some((part) => {
    const match = /^\s*(>=|\^|>)?\s*v?(\d+)(?:\.(\d+|x))?(?:\.(\d+|x))?\s*$/.exec(part);
    if (!match) {
      if (part.trim() === "*") return true;
      throw new Error(`cannot read the range "${range}"`);
    }
    const [, sign, first, ...rest] = match;
    if (sign === ">=" && Number(first) < major) return true;
    if (sign === ">" && Number(first) < major) return true;
    return Number(first) === major && sign !== ">" && rest.every((part) => part === undefined || Number(part) === 0);
  });
}

test("engines says what the dependencies want: none is for a later Node", () => {
  const major = Number(/^>=(\d+)$/.exec(json("package.json").engines.node)![1]);
  const packages = Object.entries(
    json("package-lock.json").packages as Record<
      string,
      { dev?: boolean; optional?: boolean; engines?: { node?: string } }
    >,
  ).filter(([name, { dev, optional }]) => name !== "" && !dev && !optional);
  expect(packages.length).toBeGreaterThan(30);
  const later = packages.filter(([, { engines }]) => engines?.node !== undefined && !takes(engines.node, major));
  expect(later.map(([name, { engines }]) => `${name} ${engines!.node}`)).toEqual([]);
  // And it is no higher than it must be.
  const before = packages.filter(([, { engines }]) => engines?.node !== undefined && !takes(engines.node, major - 2));
  expect(before.map(([name]) => name)).not.toEqual([]);
});
