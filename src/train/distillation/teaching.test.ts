// Oracles: an uninterrupted run, for a run that is resumed; the definition of the weighted sum, for the logged losses; one line
// that a person can act on, for every bad input. The arithmetic is held to PyTorch in step.test.ts and in the ops' folders.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { steppingClock } from "../../../test/support/small-run.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { loadModel } from "../../exchange/index.ts";
import { readSafetensors } from "../../formats/safetensors.ts";
import { UsageError } from "../../platform/errors.ts";
import { Runtime } from "../../tensor/index.ts";
import { formatTokenizerJson, trainCharacters } from "../../tokenizer/index.ts";
import { resolveConfig } from "../config.ts";
import type { RunConfigPatch } from "../config-schema.ts";
import { readScalars } from "../scalars.ts";
import { type TrainOptions, train } from "../train.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-teaching-"));
afterAll(() => rmSync(root, { recursive: true }));
let names = 0;
const words = ["one", "two", "three", "four", "five"];
const text = join(root, "text.txt");
writeFileSync(text, Array.from({ length: 900 }, (_, i) => words[(i * i + (i >> 3)) % 5]).join(" "));

const small: RunConfigPatch = {
  preset: "tiny",
  model: { width: 16, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
  data: { files: [text], cacheDir: join(root, "cache") },
  train: { batch: 4, sequence: 16, microBatch: 2, steps: 6, seed: 4 },
  optimizer: { learningRate: 5e-3 },
  evaluation: { every: null, batches: 1 },
  checkpoints: { every: 3, keepLast: 3, keepBest: false },
  metrics: { layersEvery: null, tensorboard: false },
  samples: { every: null },
  backend: { name: "reference" },
};
const run = (patch: RunConfigPatch, options: Partial<TrainOptions> = {}) =>
  train({
    config: [
      { from: "test", patch: small },
      { from: "test", patch },
    ],
    clock: steppingClock(),
    runFolder: join(root, `run${++names}`),
    ...options,
  });
const lines = (folder: string) =>
  readScalars(join(folder, "metrics", "scalars.jsonl")).filter((line) => "loss" in line);
const curve = (folder: string) =>
  lines(folder).map(({ step, loss, grad_norm, losses }) => ({ step, loss, grad_norm, losses }));

let teacher = "";
beforeAll(async () => {
  const made = await run({
    model: { variant: "full", width: 24, hiddenWidth: 40 },
    tokenizer: { kind: "characters" },
    train: { steps: 60 },
  });
  teacher = made.folder;
});

const withStates: RunConfigPatch = {
  distill: {
    alpha: 0.25,
    temperature: 2,
    direction: "mixture",
    tokenWeights: 1,
    relations: { weight: 0.5, heads: 1 },
    hidden: { weight: 0.1 },
  },
};

test("losses are logged by name, their sum is the loss, and the student has the teacher's vocabulary", async () => {
  const { folder, after } = await run({ distill: { ...withStates.distill, teacher }, metrics: { termsEvery: 4 } });
  for (const { loss, losses } of lines(folder)) {
    const parts = losses as Record<string, number>;
    expect(Object.keys(parts)).toEqual(["next-token", "distillation", "relations", "hidden-states"]);
    const sum =
      0.75 * parts["next-token"] + 0.25 * parts.distillation + 0.5 * parts.relations + 0.1 * parts["hidden-states"];
    expect(loss).toBeCloseTo(sum, 5);
  }
  const measured = lines(folder).filter((line) => "grad_norms" in line);
  expect(measured.map(({ step }) => step)).toEqual([4]);
  const norms = Object.values(measured[0].grad_norms as Record<string, number>);
  expect(norms).toHaveLength(4);
  for (const norm of norms) expect(norm).toBeGreaterThan(0);
  // Triangle inequality: the whole is the sum of its terms.
  expect(measured[0].grad_norm as number).toBeLessThanOrEqual(norms.reduce((a, b) => a + b) * (1 + 1e-5));
  expect(after!.loss).toBeGreaterThan(0);
  const runtime = new Runtime(createReferenceBackend());
  const [student, from] = [await loadModel(folder, runtime), await loadModel(teacher, runtime)];
  expect(student.config.vocabSize).toBe(from.config.vocabSize);
  expect(student.tokenizer!.hash).toBe(from.tokenizer!.hash);
  // The projection is of the run, not of the model.
  const optimizer = await readSafetensors(join(folder, "checkpoints", "step_000006", "optimizer.safetensors"));
  expect(optimizer.tensors.get("parameter.distillation.projection.weight")!.shape).toEqual([24, 16]);
  optimizer.close();
  expect(student.model.parameters.some(({ name }) => name.includes("projection"))).toBe(false);
});

test("measuring the terms' gradients changes no step", async () => {
  const [plain, measured] = [
    await run({ distill: { teacher } }),
    await run({ distill: { teacher }, metrics: { termsEvery: 1 } }),
  ];
  expect(curve(measured.folder)).toEqual(curve(plain.folder));
});

test.for([
  ["a teacher, relations and a projection", withStates.distill!],
  ["kept targets", { cache: "auto", tokenWeights: 0.5 }],
] as const)("a run with %s that stops and is resumed has the same losses", async ([, distill]) => {
  const whole = await run({ distill: { ...distill, teacher } });
  const folder = join(root, `run${++names}`);
  const controller = new AbortController();
  await run(
    { distill: { ...distill, teacher } },
    {
      runFolder: folder,
      signal: controller.signal,
      callbacks: [
        { name: "stop", on: (event) => void (event.type === "step" && event.step === 4 && controller.abort()) },
      ],
    },
  );
  await train({ config: [], runFolder: folder, resume: folder, clock: steppingClock() });
  expect(curve(folder)).toEqual(curve(whole.folder));
  const weights = ({ folder }: { folder: string }) =>
    readFileSync(join(folder, "checkpoints", "step_000006", "model.safetensors"));
  expect(weights({ folder }).equals(weights(whole))).toBe(true);
});

test("with kept targets the teacher is read once, for every student and order, and the losses are near the teacher's own", async () => {
  const cache = join(root, "targets");
  const notes: string[] = [];
  const options = { onNote: (note: string) => void notes.push(note) };
  const kept = await run({ distill: { teacher, cache } }, options);
  const other = await run({ distill: { teacher, cache }, train: { seed: 9 }, model: { width: 12, heads: 2 } }, options);
  expect(notes.filter((note) => note.startsWith("drawing"))).toHaveLength(1);
  const direct = await run({ distill: { teacher } });
  const loss = (folder: string) => (lines(folder)[0].losses as Record<string, number>).distillation;
  // 64 positions, twelve draws each: the mean of a log probability.
  expect(Math.abs(loss(kept.folder) - loss(direct.folder))).toBeLessThan(0.15);
  expect(lines(other.folder)).toHaveLength(6);
});

test("a teacher of a mixture's sources keeps targets for each of them", async () => {
  const more = join(root, "more.txt");
  writeFileSync(more, readFileSync(text, "utf8").split(" ").reverse().join(" "));
  const sources = [
    { name: "a", weight: 1, path: text },
    { name: "b", weight: 1, path: more },
  ];
  const cache = join(root, "mixed");
  const notes: string[] = [];
  const { folder } = await run(
    { data: { files: [], mixture: { sources } }, distill: { teacher, cache } } as RunConfigPatch,
    { onNote: (note) => void notes.push(note) },
  );
  expect(notes.filter((note) => note.startsWith("drawing"))).toHaveLength(2);
  for (const { losses } of lines(folder)) expect((losses as Record<string, number>).distillation).toBeGreaterThan(-0.2);
});

test("alpha 1 leaves the loss of the text out; validation stays plain", async () => {
  const { folder, after } = await run({ distill: { teacher, alpha: 1 } });
  expect(Object.keys(lines(folder)[0].losses as object)).toEqual(["distillation"]);
  expect(after!.perplexity).toBeCloseTo(Math.exp(after!.loss), 6);
});

test("refusals, one line each", async () => {
  const refused = async (patch: RunConfigPatch, message: string | RegExp, options: Partial<TrainOptions> = {}) => {
    const error = (await run(patch, options).catch((e: unknown) => e)) as Error;
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("\n");
  };
  const distill = (more: object): RunConfigPatch => ({ distill: { teacher, ...more } });
  await refused(distill({ alpha: 1.5 }), /^distill\.alpha is 1\.5; expected number to be <=1$/);
  await refused(distill({ alpha: -0.1 }), /^distill\.alpha is -0\.1; expected number to be >=0$/);
  await refused(distill({ temperature: 0 }), /^distill\.temperature is 0; expected number to be >0$/);
  await refused(
    { distill: { alpha: 0.3 } },
    /^distill\.alpha is set, but there is no teacher; name one with --teacher/,
  );
  await refused(distill({ alpha: 0 }), /would have no effect/);
  await refused(distill({ samples: 3 }), /^distill\.samples is of the teacher's cache, and there is none/);
  await refused(distill({ cache: "auto", direction: "reverse" }), /^distill\.direction is reverse.*leave one out$/);
  await refused(distill({ cache: "auto", hidden: { weight: 1 } }), /^distill\.hidden compares states of the teacher/);
  await refused(
    { ...distill({ relations: { weight: 1 } }), model: { recompute: true } },
    /^distill\.relations compares states that model\.recompute does not keep/,
  );
  await refused(
    distill({ relations: { weight: 1, heads: 5 } }),
    /^distill\.relations\.heads is 5, which does not divide 16/,
  );
  await refused(
    distill({ hidden: { weight: 1, layers: [0, 7] } }),
    /^distill\.hidden\.layers names block 7 of the teacher, which has 2/,
  );
  await refused(
    { ...distill({}), train: { objectives: [{ name: "distillation", weight: 1 }] } },
    /^train\.objectives: "distillation" is added by distill\.teacher, with the weight distill\.alpha; leave it out$/,
  );
  await refused(
    { ...distill({}), train: { objectives: [{ name: "z-loss", weight: 1 }] } },
    /^distill\.alpha is 0\.5, but train\.objectives has no next-token loss/,
  );
  await refused(
    { distill: { teacher: join(root, "nowhere") } },
    /^distill\.teacher: .*nowhere: no such file or folder/,
  );
  await refused(
    { ...distill({}), model: { vocabSize: 900 } },
    /it has \d+ logits, the student 900; set --model\.vocabSize/,
  );
  await refused(
    { ...distill({}), model: { contextLength: 32 }, train: { sequence: 32 } },
    /its context is 16 tokens, train\.sequence is 32/,
  );
  const other = join(root, "other.txt");
  writeFileSync(other, "seven eight nine ".repeat(400));
  await refused(
    { ...distill({}), data: { files: [other] }, tokenizer: { kind: "characters" } },
    /^distill\.teacher .*: its vocabulary \(.*\) is not this run's \(.*\): token \d+ is .* there and .* here/,
  );
  // A tokenizer that is named, larger than the teacher's vocabulary: told of the teacher, not of the model's size.
  const named = join(root, "named.json");
  writeFileSync(named, formatTokenizerJson((await trainCharacters(["abcdefghijklmnopqrstuvwxyz"])).tokenizer.toJson()));
  await refused(
    { ...distill({}), tokenizer: { file: named } },
    /^distill\.teacher .*: its vocabulary \(.*\) is not this run's \(named.*\): token \d+/,
  );
  await refused(
    distill({ teacher: join(root, "nowhere") }),
    /nowhere: no such file or folder; expected a run, a checkpoint/,
  );
});

test("a run keeps its teacher: another model under its path is refused when it is resumed", async () => {
  const { folder } = await run({ distill: { teacher } });
  const other = await run({ model: { variant: "full" }, tokenizer: { kind: "characters" }, train: { steps: 1 } });
  const resumed = train({
    config: [{ from: "test", patch: { distill: { teacher: other.folder }, train: { steps: 8 } } }],
    resume: folder,
    clock: steppingClock(),
  });
  await expect(resumed).rejects.toThrow("is not the model that this run began with");
  await expect(resumed).rejects.toThrow(UsageError);
});

test("a config of before, without a section for teachers, means none", () => {
  expect(resolveConfig([{ from: "test", patch: small }]).distill.teacher).toBeNull();
});
