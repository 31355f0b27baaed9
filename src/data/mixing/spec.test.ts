// Oracle: what was written in the YAML; the tables of RedPajama's and LLaMA's authors for the recipes.
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { UsageError } from "../../platform/errors.ts";
import { planMixture } from "./plan.ts";
import { partsOf } from "./shares.ts";
import { checkMixture, easiestFirst, parseMix, readMixture } from "./spec.ts";

const source = { name: "a", weight: 1, path: "x" };

test("a YAML file is read, and its paths are taken from where it lies", () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "deep"));
  const file = join(folder, "deep", "mix.yaml");
  writeFileSync(
    file,
    `sources:
  - { name: web, weight: 0.7, path: [one, /abs/two, "hf://datasets/o/n", "https://h/x.txt"] }
  - { name: books, weight: 0.3, path: ../books, curriculum: false }
curriculum: { by: length, pacing: root, start: 0.1, tokens: 1e6 }
`,
  );
  expect(readMixture(file)).toEqual({
    sources: [
      {
        name: "web",
        weight: 0.7,
        path: [join(folder, "deep", "one"), "/abs/two", "hf://datasets/o/n", "https://h/x.txt"],
      },
      { name: "books", weight: 0.3, path: join(folder, "books"), curriculum: false },
    ],
    curriculum: { by: "length", pacing: "root", start: 0.1, tokens: 1e6 },
  });
});

test("--mix names sources, weights and paths; a name that comes again adds a path", () => {
  expect(parseMix(["web=0.7:data/web,books=3e-1:b", "web=:more"])).toEqual({
    sources: [
      { name: "web", weight: 0.7, path: ["data/web", "more"] },
      { name: "books", weight: 0.3, path: ["b"] },
    ],
  });
  expect(parseMix(["far=1:hf://datasets/o/n@main/x"]).sources[0].path).toEqual(["hf://datasets/o/n@main/x"]);
});

test.for<[string, unknown, RegExp]>([
  ["nothing", null, /the mixture is null/],
  ["no sources", { sources: [] }, /sources is \[\]/],
  ["a weight of 0", { sources: [{ ...source, weight: 0 }] }, /source "a", weight is 0; expected a number above 0/],
  ["a negative weight", { sources: [{ ...source, weight: -2 }] }, /source "a", weight is -2; expected/],
  ["NaN", { sources: [{ ...source, weight: Number.NaN }] }, /source "a", weight is NaN; expected/],
  ["a word", { sources: [{ ...source, weight: "much" }] }, /source "a", weight is "much"/],
  ["no path", { sources: [{ name: "a", weight: 1 }] }, /source "a", path is missing/],
  ["no name", { sources: [{ weight: 1, path: "x" }] }, /source 1, name is missing/],
  ["a name that is a path", { sources: [{ ...source, name: "a/b" }] }, /name is "a\/b"; .*letters, digits/],
  ["two of one name", { sources: [source, source] }, /two sources are called "a"/],
  ["an unknown key", { sources: [{ ...source, wieght: 2 }] }, /source "a": unknown key "wieght"; a mixture has/],
  ["a run's config", { preset: "tiny" }, /sources is missing/],
  [
    "a pacing that is none",
    { sources: [source], curriculum: { by: "length", pacing: "fast", start: 0.1, tokens: 1 } },
    /curriculum.pacing is "fast"/,
  ],
  [
    "a start over 1",
    { sources: [source], curriculum: { by: "length", pacing: "linear", start: 2, tokens: 1 } },
    /curriculum.start is 2/,
  ],
])("%s is refused, saying where", ([, value, message]) => {
  expect(() => checkMixture(value, "mix.yaml")).toThrow(UsageError);
  expect(() => checkMixture(value, "mix.yaml")).toThrow(message);
});

test.for<[string[], RegExp]>([
  [["web"], /"web": expected name=weight:path/],
  [["web=1"], /"web=1": expected name=weight:path/],
  [["web=0:x"], /source "web", weight is 0/],
  [["web=-1:x"], /weight is -1/],
  [["web=:x"], /weight is NaN/],
  [["web=1:x,web=2:y"], /"web" has the weight 1 already/],
  [[], /sources is \[\]/],
])("--mix %j is refused", ([words, message]) => {
  expect(() => parseMix(words)).toThrow(UsageError);
  expect(() => parseMix(words)).toThrow(message);
});

test("the highest scores are the easiest where the score is one of quality, unless it is said otherwise", () => {
  const spec = { pacing: "linear", start: 0.5, tokens: 1 } as const;
  expect(easiestFirst({ ...spec, by: "score" })).toBe("highest");
  expect(easiestFirst({ ...spec, by: "loss" })).toBe("lowest");
  expect(easiestFirst({ ...spec, by: "score", first: "lowest" })).toBe("lowest");
});

describe("RedPajama's recipes", () => {
  const recipe = (name: string) => readMixture(resolve(import.meta.dirname, `../../../recipes/mixtures/${name}.yaml`));
  const names = ["common-crawl", "c4", "github", "books", "arxiv", "wikipedia", "stackexchange"];
  const shares = (name: string) => {
    const { sources } = recipe(name);
    expect(sources.map((s) => s.name).sort()).toEqual([...names].sort());
    const sum = sources.reduce((total, { weight }) => total + weight, 0);
    return Object.fromEntries(sources.map((s) => [s.name, s.weight / sum]));
  };

  test("have the token counts that its authors published, in billions", () => {
    expect(shares("redpajama")).toEqual(
      Object.fromEntries([878, 175, 59, 26, 28, 24, 20].map((n, i) => [names[i], expect.closeTo(n / 1210, 12)])),
    );
  });

  test("have LLaMA's sampling proportions, in per cent", () => {
    expect(shares("redpajama-llama")).toEqual(
      Object.fromEntries([67, 15, 4.5, 4.5, 2.5, 4.5, 2].map((n, i) => [names[i], expect.closeTo(n / 100, 12)])),
    );
    expect(partsOf(recipe("redpajama-llama").sources.map(({ weight }) => weight)).reduce((a, b) => a + b)).toBe(200);
  });

  test("come to LLaMA's published epochs, its corpus being what these say", () => {
    // Touvron et al., table 1: 1.4 T tokens; a source of E epochs has share · 1.4 T / E tokens.
    const epochs: Record<string, number> = {
      "common-crawl": 1.1,
      c4: 1.06,
      github: 0.64,
      wikipedia: 2.45,
      books: 2.23,
    };
    Object.assign(epochs, { arxiv: 1.06, stackexchange: 1.03 });
    const T = 2048;
    const all = Math.round(1.4e12 / T);
    const { sources } = recipe("redpajama-llama");
    const given = shares("redpajama-llama");
    const planned = planMixture(
      sources.map(({ name, weight }) => ({
        name,
        weight,
        sequences: { length: T, count: Math.round((given[name] * all) / epochs[name]) },
      })),
      all,
    );
    for (const { name, epochs: found, drawnSequences } of planned) {
      expect(found).toBeCloseTo(epochs[name], 5);
      expect(Math.abs(drawnSequences - given[name] * all)).toBeLessThan(1);
    }
    expect(planned.reduce((sum, { drawnSequences }) => sum + drawnSequences, 0)).toBe(all);
  });
});
