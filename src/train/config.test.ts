// Oracle: the values written in config-presets.ts and the published recipe (the paper's authors), and what a person who
// mistypes a key would need to read.
import { describe, expect, test } from "vitest";
import { presets } from "../model/config.ts";
import { configToYaml, deriveRun, parseConfig, parseOverrides, resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { editDistance, nearest } from "../platform/edit-distance.ts";

const resolve = (patch: RunConfigPatch, ...words: string[]) =>
  resolveConfig([{ from: "config.yaml", patch }, ...parseOverrides(words, ["steps", "data"])]);
const tiny = { preset: "tiny" };

describe("presets", () => {
  test.for(Object.keys(presets).flatMap((name) => [[name, "bitnet"] as const, [name, "full"] as const]))(
    "%s, %s, resolves and survives its own YAML",
    ([preset, variant]) => {
      const config = resolve({ preset, model: { variant } });
      expect(config.model.variant).toBe(variant);
      expect(config.train.sequence).toBeLessThanOrEqual(config.model.contextLength);
      expect(resolve(parseConfig(configToYaml(config), "again"))).toEqual(config);
    },
  );

  test("tiny has the training values of the reference curve", () => {
    const { train, optimizer } = resolve(tiny);
    expect(train).toMatchObject({ batch: 32, sequence: 256 });
    expect(optimizer).toMatchObject({ learningRate: 1.5e-3, weightDecay: 0.1, beta1: 0.9, beta2: 0.95, clipNorm: 1 });
  });

  test("700m follows the paper's authors, its twin has LLaMA's rate", () => {
    const config = resolve({ preset: "700m" });
    const { schedule, warmupSteps, steps, tokensPerStep } = deriveRun(config, 1e6);
    expect([warmupSteps, tokensPerStep]).toEqual([375, 1048576]);
    expect(schedule(375)).toEqual({ learningRate: 1.5e-3, weightDecay: 0.1 });
    expect(schedule(Math.floor(steps / 2) + 1).learningRate).toBeCloseTo(1e-3 / 2, 5);
    expect(schedule(steps).weightDecay).toBe(0);
    expect(resolve({ preset: "700m", model: { variant: "full" } }).optimizer.learningRate).toBe(2.5e-4);
  });

  test("an unknown preset is refused, and so is a file that names none", () => {
    expect(() => resolve({ preset: "tinny" })).toThrow(/unknown preset "tinny"; presets are: arithmetic, tiny/);
    expect(() => resolve({ train: { batch: 4 } })).toThrow(/config.yaml: names no preset/);
  });
});

describe("differences", () => {
  test("later layers win and leave the rest alone", () => {
    const config = resolve({ preset: "tiny", train: { batch: 4, seed: 7 } }, "--train.batch", "8");
    expect(config.train).toMatchObject({ batch: 8, seed: 7, sequence: 256 });
  });

  test("values get the schema's types", () => {
    const config = resolve(
      tiny,
      ...["--optimizer.learningRate", "1e-3", "--checkpoints.keepBest=false", "--evaluation.every", "null"],
      ...["--data.files", "a.txt,b.txt", "--data.field", "12", "--schedule.warmupSteps", "7"],
    );
    expect(config.optimizer.learningRate).toBe(0.001);
    expect(config.checkpoints.keepBest).toBe(false);
    expect(config.evaluation.every).toBeNull();
    expect(config.data).toMatchObject({ files: ["a.txt", "b.txt"], field: "12" });
    expect(config.schedule.warmupSteps).toBe(7);
  });

  test("objectives and what is frozen come from the command line too; a config without them trains on the next token", () => {
    expect(resolve(tiny).train).toMatchObject({ objectives: [{ name: "next-token", weight: 1 }], freeze: [] });
    const { objectives, freeze } = resolve(
      tiny,
      ...[
        "--train.objectives",
        "[{name: next-token, weight: 1}, {name: z-loss, weight: {from: 0, to: 1e-4, steps: 50}}]",
      ],
      ...["--train.freeze", "embed_tokens,*norm"],
    ).train;
    expect(objectives[1]).toEqual({ name: "z-loss", weight: { from: 0, to: 1e-4, steps: 50 } });
    expect(freeze).toEqual(["embed_tokens", "*norm"]);
    expect(resolve(tiny, "--train.freeze", "*norm").train.freeze).toEqual(["*norm"]);
    expect(() => resolve({ preset: "tiny", optimizer: { kind: "adam" } } as unknown as RunConfigPatch)).toThrow(
      'config.yaml: optimizer.kind is "adam"; expected one of adamw, adamw8bit, sgd, muon; did you mean "adamw"?',
    );
  });

  test("a new budget replaces the preset's", () => {
    expect(resolve(tiny, "--train.steps", "300").train).toMatchObject({ steps: 300, epochs: null, tokens: null });
    expect(() => resolve({ preset: "tiny", train: { steps: 3, tokens: 4 } })).toThrow(/exactly one of train.steps/);
  });

  test("a new kind of schedule or optimiser brings its own values and keeps the shared ones", () => {
    expect(resolve(tiny, "--schedule.kind", "constant").schedule).toEqual({ kind: "constant", warmupSteps: "auto" });
    expect(resolve(tiny, "--schedule.kind", "two-stage").schedule).toMatchObject({ secondStageFraction: 2 / 3 });
    const sgd = resolve(tiny, "--optimizer.kind", "sgd", "--optimizer.momentum", "0.5").optimizer;
    expect(sgd).toEqual({
      kind: "sgd",
      learningRate: 1.5e-3,
      weightDecay: 0.1,
      decayEmbeddings: false,
      clipNorm: 1,
      multipliers: [],
      latentClip: null,
      cautious: false,
      momentum: 0.5,
    });
    const muon = resolve(tiny, "--optimizer.kind", "muon", "--optimizer.adamw.learningRate", "3e-3").optimizer;
    expect(muon).toEqual({
      ...{ kind: "muon", learningRate: 1.5e-3, weightDecay: 0.1, decayEmbeddings: false, clipNorm: 1 },
      ...{ multipliers: [], latentClip: null, cautious: false },
      ...{ momentum: 0.95, nesterov: true, iterations: 3, scale: "adamw" },
      adamw: { learningRate: 3e-3, weightDecay: null, beta1: 0.9, beta2: 0.95, eps: 1e-8 },
    });
    // In any order.
    for (const words of [
      ["--optimizer.kind", "muon", "--optimizer.beta1", "0.5"],
      ["--optimizer.beta1", "0.5", "--optimizer.kind", "muon"],
    ])
      expect(() => resolve(tiny, ...words)).toThrow(
        /optimizer.beta1 is not used with optimizer.kind "muon"; leave it out/,
      );
    expect(() => resolve(tiny, "--optimizer.iterations", "5")).toThrow(
      /optimizer.iterations is not used with optimizer.kind "adamw"/,
    );
    const eight = resolve({ ...tiny, optimizer: { beta2: 0.99 } }, "--optimizer.kind", "adamw8bit").optimizer;
    expect(eight).toEqual({ ...resolve(tiny).optimizer, kind: "adamw8bit", beta2: 0.99 });
    expect(resolve(tiny, "--optimizer.kind", "sgd", "--optimizer.kind", "adamw").optimizer).toEqual(
      resolve(tiny).optimizer,
    );
    expect(() => resolve(tiny, "--schedule.kind", "constant", "--schedule.finalFraction", "0.5")).toThrow(
      /schedule.finalFraction is not used with schedule.kind "constant"/,
    );
  });
});

describe("refusals", () => {
  test("an unknown key names the nearest known one", () => {
    expect(() => resolve({ preset: "tiny", train: { batchh: 3 } } as RunConfigPatch)).toThrow(
      'config.yaml: unknown key "train.batchh"; did you mean "train.batch"?',
    );
    expect(() => resolve(tiny, "--optimizer.learningrate", "1")).toThrow(/did you mean "--optimizer.learningRate"/);
    expect(() => resolve(tiny, "--learningRate", "1")).toThrow(/did you mean "--optimizer.learningRate"/);
    expect(() => resolve(tiny, "--stepz", "1")).toThrow(/did you mean "--(train.)?steps"/);
    expect(() => resolve({ preset: "tiny", optimzer: {} } as RunConfigPatch)).toThrow(/did you mean "optimizer"/);
    expect(() => resolve(tiny, "--qqqqq", "1")).toThrow(/sections are: preset, recipe, model/);
  });

  test("a value of the wrong kind is named with what was expected", () => {
    expect(() => resolve(tiny, "--train.batch", "many")).toThrow('--train.batch: got "many"; expected number');
    expect(() => resolve(tiny, "--train.batch", "-3")).toThrow(/--train.batch: got "-3"; expected number to be >0/);
    expect(() => resolve(tiny, "--schedule.kind", "step")).toThrow(/--schedule.kind: got "step"; .*"constant"/);
    expect(() => resolve({ preset: "tiny", train: { batch: "x" } } as unknown as RunConfigPatch)).toThrow(
      'train.batch is "x"; expected number',
    );
    expect(() => resolve({ preset: "tiny", train: 3 } as unknown as RunConfigPatch)).toThrow(
      /train is 3; expected object/,
    );
    expect(() => resolve(tiny, "--train", "3")).toThrow(/--train is a section; set a key of it, such as --train.batch/);
    expect(() => resolve(tiny, "--train.batch")).toThrow("--train.batch has no value");
    expect(() => resolve(tiny, "batch")).toThrow('unexpected "batch"');
  });

  test("a sequence longer than the model's context is refused", () => {
    expect(() => resolve(tiny, "--train.sequence", "512")).toThrow(
      /train.sequence is 512 but the model's context is 256/,
    );
  });

  test("model sizes that do not fit together are refused", () => {
    expect(() => resolve(tiny, "--model.heads", "7")).toThrow(/model.heads is 7; width must be a multiple of heads/);
  });

  test("text that is not YAML, or not keys and values, is refused", () => {
    expect(() => parseConfig("a: [1", "run.yaml")).toThrow(/^run.yaml: is not YAML/);
    expect(() => parseConfig("", "run.yaml")).toThrow(/^run.yaml: expected keys and values/);
  });

  test("a pattern that begins with * is an alias in YAML: where it breaks a list or a file, the message says to quote it", () => {
    const quoted = /is not YAML: .*; put a pattern that begins with \* in quotes: "\*.down_proj"$/;
    const list = "[{layers: *.down_proj, weights: none}]";
    expect(() => resolve(tiny, "--model.quantization.overrides", list)).toThrow(quoted);
    expect(() => resolve(tiny, "--model.quantization.overrides", "layers: *.down_proj")).toThrow(quoted);
    expect(() => resolve(tiny, "--train.freeze", "[*.down_proj, embed_tokens]")).toThrow(quoted);
    expect(() => parseConfig("train:\n  freeze:\n    - *.down_proj", "run.yaml")).toThrow(quoted);
    expect(() => resolve(tiny, "--train.freeze", "[a: b")).toThrow(/^--train.freeze: "\[a: b" is not YAML: [^*]*$/);
    const right = '[{layers: "*.down_proj", weights: none}]';
    expect(resolve(tiny, "--model.quantization.overrides", right).model.quantization?.overrides).toEqual([
      { layers: "*.down_proj", weights: "none" },
    ]);
  });

  test("words at commas are a list, without the spaces around them", () => {
    expect(resolve(tiny, "--train.freeze", "embed_tokens, *.q_proj").train.freeze).toEqual([
      "embed_tokens",
      "*.q_proj",
    ]);
    expect(resolve(tiny, "--train.freeze", "*norm").train.freeze).toEqual(["*norm"]);
    expect(resolve(tiny, "--data.separator", "[x").data.separator).toBe("[x");
  });

  test("an override of quantizers that sets nothing is refused", () => {
    expect(() => resolve(tiny, "--model.quantization.overrides", '[{layers: "layers.0.*"}]')).toThrow(
      /^model.quantization.overrides\[0\] is \{"layers":"layers.0.\*"\}; sets nothing; name weights, activations or estimator/,
    );
  });
});

test("the budget becomes steps: as given, by epochs, by tokens", () => {
  const steps = (...words: string[]) => deriveRun(resolve(tiny, ...words), 10).steps;
  expect(steps("--train.steps", "300")).toBe(300);
  expect(steps("--train.epochs", "2.5")).toBe(25);
  expect(steps("--train.tokens", "8193")).toBe(2); // 32 x 256 = 8192 a step
});

test("edit distance: kitten to sitting is 3, and nothing is near a word of another kind", () => {
  expect(editDistance("kitten", "sitting")).toBe(3);
  expect(nearest("sitting", ["kitten", "xylophone"])).toBeUndefined();
  expect(nearest("sittin", ["kitten", "sitting"])).toBe("sitting");
});
