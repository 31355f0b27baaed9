// Oracle: the rules in docs/study.md. Every file here is wrong in one way, and its message must name the place and the way out.
import { describe, expect, test } from "vitest";
import { parseStudy, resolveStudy } from "./spec.ts";

const base = "base: { preset: tiny, data: { files: [text.txt] } }\n";
const resolve = (text: string) => resolveStudy(parseStudy(text, "s.yaml"), { from: "s.yaml" });

describe("a study's file", () => {
  test("gives arms their configs over the base, seeds, groups by their models, and the budget", () => {
    const study = resolve(
      `${base}baseline: a\nseeds: [3, 4]\ntokens: 5000\narms:\n  a:\n  b: { optimizer: { learningRate: 3e-3 } }\n  c: { model: { variant: full } }\n  d: { group: other, model: { quantization: { weights: int8 } } }\n`,
    );
    expect(study.name).toBe("s");
    expect(study.arms.map(({ name, group }) => [name, group])).toEqual([
      ["a", "ternary"],
      ["b", "ternary"],
      ["c", "full"],
      ["d", "other"],
    ]);
    const [a, b] = study.arms;
    expect([a.config.optimizer.learningRate, b.config.optimizer.learningRate]).toEqual([1.5e-3, 3e-3]);
    expect([a.config.train.tokens, a.config.train.epochs, a.config.train.seed]).toEqual([5000, null, 3]);
    expect(b.layers(4).findLast(({ patch }) => patch.train)?.patch.train).toEqual({ seed: 4 });
    expect([study.isolate, study.keepRuns]).toEqual([false, false]);
  });

  test("takes changes of the command line over its base, and under its arms", () => {
    const file = parseStudy(
      `${base}baseline: a\nseeds: [1]\narms: { a: {}, b: { optimizer: { learningRate: 3e-3 } } }`,
      "s",
    );
    const changes = [{ from: "--optimizer.learningRate", patch: { optimizer: { learningRate: 9e-3 } } }];
    const { arms } = resolveStudy(file, { from: "s", changes });
    expect(arms.map(({ config }) => config.optimizer.learningRate)).toEqual([9e-3, 3e-3]);
  });

  const arms = (text: string) => `${base}baseline: a\nseeds: [1]\narms:\n  a:\n${text}`;
  test.for([
    ["armss: {}\n", 's.yaml: unknown key "armss"; did you mean "arms"?'],
    ["- a\n", "s.yaml: is no study; expected the keys name, about, base"],
    ["a: [\n", "s.yaml: is not YAML"],
    [`baseline: a\nseeds: [1]\narms: { a: {} }\n`, "s.yaml: base: "],
    [`${base}baseline: a\narms: { a: {} }\n`, "s.yaml: seeds: "],
    [`${base}baseline: a\nseeds: []\narms: { a: {} }\n`, "s.yaml: seeds: "],
    [`${base}baseline: a\nseeds: [1, 1]\narms: { a: {} }\n`, "seeds has the same seed twice"],
    [`${base}baseline: a\nseeds: [1.5]\narms: { a: {} }\n`, "s.yaml: seeds.0: "],
    [`${base}baseline: a\nseeds: [1]\narms: {}\n`, "arms is empty"],
    [
      `${base}baseline: terary\nseeds: [1]\narms: { ternary: {} }\n`,
      'baseline: unknown arm "terary"; did you mean "ternary"?',
    ],
    [`${base}baseline: a\nseeds: [1]\nsteps: 3\ntokens: 4\narms: { a: {} }\n`, "name one of steps and tokens"],
    [`base: { preset: tiney }\nbaseline: a\nseeds: [1]\narms: { a: {} }\n`, 's.yaml: arm "a": unknown preset "tiney"'],
    [
      `base: { preset: tiny, train: { seed: 3 } }\nbaseline: a\nseeds: [1]\narms: { a: {} }\n`,
      "s.yaml: base: train.seed is the study's own",
    ],
    [arms("  ../b: {}\n"), "a name is at most 64 letters"],
    [arms("  A: { optimizer: { learningRate: 1 } }\n"), 'two arms are called "A" but for capitals'],
    [
      arms("  b: { optimiser: { learningRate: 1 } }\n"),
      's.yaml: arm "b": unknown key "optimiser"; did you mean "optimizer"?',
    ],
    [
      arms("  b: { optimizer: { learningrate: 1 } }\n"),
      's.yaml: arm "b": unknown key "optimizer.learningrate"; did you mean "optimizer.learningRate"?',
    ],
    [arms("  b: { optimizer: { learningRate: -1 } }\n"), 's.yaml: arm "b": optimizer.learningRate is -1'],
    [arms("  b: { train: { seed: 2 } }\n"), 's.yaml: arm "b": train.seed is the study\'s own'],
    [arms("  b: { recipe: papper }\n"), 's.yaml: arm "b": unknown recipe "papper"; did you mean "paper"?'],
    [arms("  b: { optimizer: { learningRate: 1.5e-3 } }\n"), 'arms "a" and "b" have the same config'],
    [arms("  b: { group: teacher }\n"), 'group is "teacher"; expected one of: ternary, full, other'],
    [arms("  b: { group: full }\n"), 'arm "b": group is "full", but its model has ternary layers'],
    [arms("  b: { group: ternary, model: { variant: full } }\n"), "but its model quantizes no layer"],
  ])("%j is refused in one line", ([text, message]) => {
    let said = "";
    try {
      resolve(text);
    } catch (error) {
      said = (error as Error).message;
      expect((error as Error).name).toBe("UsageError");
    }
    expect(said).toContain(message);
    expect(said).not.toContain("\n");
  });
});
