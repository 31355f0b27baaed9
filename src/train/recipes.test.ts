// Oracle: the schema of a run's config, for each preset and variant that a recipe claims; and the order of layers that
// docs/training.md states: preset, recipe, what the user says.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { presets } from "../model/config.ts";
import { configToYaml, parseConfig, parseOverrides, resolveConfig } from "./config.ts";
import { readRecipe, recipeNames } from "./recipes.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-recipes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const layer = (patch: object) => ({ from: "test", patch });

describe("a recipe of the package", () => {
  test("is there: the paper's", () => {
    expect(recipeNames()).toContain("paper");
  });

  test.for(recipeNames())("%s is a config of each preset that it claims, and the config says so", (name) => {
    const { presets: claimed, config: said } = readRecipe(name);
    // Distillation is of a teacher that the user names.
    const own = said.distill ? { distill: { teacher: "a model" } } : {};
    let changed = 0;
    for (const preset of claimed) {
      expect(Object.keys(presets)).toContain(preset);
      const config = resolveConfig([layer({ preset, recipe: name, ...own })]);
      expect(config.recipe).toBe(name);
      const plain = { ...resolveConfig([layer({ preset, ...own })]), recipe: name };
      if (JSON.stringify(config) !== JSON.stringify(plain)) changed++;
    }
    // A preset may have become the recipe; all of them, and it says nothing.
    expect(changed).toBeGreaterThan(0);
  });
});

test("a recipe lies over the preset, and under all that the user says, whatever the order", () => {
  const { schedule, optimizer } = resolveConfig([
    layer({ preset: "tiny", optimizer: { weightDecay: 0.3 } }),
    ...parseOverrides(["--recipe", "paper"]),
  ]);
  expect(schedule.kind).toBe("two-stage");
  expect(optimizer.weightDecay).toBe(0.3);
  expect(optimizer.learningRate).toBe(1.5e-3);
});

test("the last layer that names a recipe decides, and null takes it away", () => {
  const own = write("own.yaml", "about: x\npresets: [tiny]\nconfig: { optimizer: { clipNorm: 7 } }\n");
  expect(resolveConfig([layer({ preset: "tiny", recipe: "paper" }), layer({ recipe: own })])).toMatchObject({
    recipe: own,
    schedule: { kind: "cosine" },
    optimizer: { clipNorm: 7 },
  });
  const without = resolveConfig([layer({ preset: "tiny", recipe: "paper" }), layer({ recipe: null })]);
  expect(without).toEqual(resolveConfig([layer({ preset: "tiny" })]));
});

test("a run's own config keeps its values where its recipe is no longer there", () => {
  const own = write("gone.yaml", "about: x\npresets: [tiny]\nconfig: { optimizer: { clipNorm: 7 } }\n");
  const config = resolveConfig([layer({ preset: "tiny", recipe: own })]);
  rmSync(own);
  const saved = {
    from: "config.yaml",
    patch: parseConfig(configToYaml(config), "config.yaml"),
    resolved: true as const,
  };
  expect(resolveConfig([saved])).toEqual(config);
});

test.for([
  ["no-config.yaml", "about: x\npresets: [tiny]\n", "is no recipe: config: "],
  ["more.yaml", "about: x\npresets: [tiny]\nconfig: {}\nkind: y\n", "is no recipe: "],
  ["bad.yaml", "about: [\n", "is not YAML"],
  ["preset.yaml", "about: x\npresets: [tiny]\nconfig: { preset: nano }\n", "config.preset cannot stand in a recipe"],
  [
    "key.yaml",
    "about: x\npresets: [tiny]\nconfig: { train: { bacth: 3 } }\n",
    'unknown key "train.bacth"; did you mean "train.batch"?',
  ],
  ["other.yaml", "about: x\npresets: [nano]\nconfig: {}\n", "is for the presets nano, not tiny"],
])("%s is refused in one line", ([name, text, message]) => {
  const path = write(name, text);
  expect(() => resolveConfig([layer({ preset: "tiny", recipe: path })])).toThrow(message);
});

test("an unknown name is refused with the nearest, and all names", () => {
  expect(() => readRecipe("papr")).toThrow('unknown recipe "papr"; did you mean "paper"? recipes are: ');
});
