// Oracle: an uninterrupted run, for every way of stopping and going on; ln V for the first loss; one line that a person
// can act on, for every bad input.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { steppingClock } from "../../test/support/small-run.ts";
import { curve, storyRuns } from "../../test/support/story-run.ts";
import { loadModel } from "../exchange/index.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { DataError, DivergenceError, FileError, FormatError, UsageError } from "../platform/errors.ts";
import { Runtime } from "../tensor/index.ts";
import { resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { prepareCorpus } from "./corpus.ts";
import { measureLoss } from "./evaluate.ts";
import type { Callback } from "./events.ts";
import { readScalars } from "./scalars.ts";
import { type TrainReport, train } from "./train.ts";

const { root, fresh, text, small, run, runWhole } = storyRuns();
const whole = fresh();
const wholeReport = await runWhole(whole);

describe("samples", () => {
  test("one that fails is a note: the checkpoint of its step stands, and the run goes on", async () => {
    const folder = fresh();
    const notes: string[] = [];
    let stood = 0;
    const report = await run({
      runFolder: folder,
      onNote: (text) => notes.push(text),
      sampler: () => async (prompt) => {
        stood += Number(readdirSync(join(folder, "checkpoints")).includes(prompt === "" ? "step_000012" : "none"));
        throw new Error("no words");
      },
    });
    expect(report).toMatchObject({ reason: "finished", step: 12 });
    expect(stood).toBe(1);
    expect(notes.filter((note) => note.includes("sample"))).toEqual([
      'no sample at step 6 for "the": no words',
      'no sample at step 6 for "": no words',
      'no sample at step 12 for "the": no words',
      'no sample at step 12 for "": no words',
    ]);
  });

  test("a model of characters whose vocabulary nobody named has as many as the text", async () => {
    const { vocabSize: _, ...model } = small.model!;
    const notes: string[] = [];
    const config = [{ from: "test", patch: { ...small, model } }];
    const { folder } = await train({
      config,
      clock: steppingClock(),
      runFolder: fresh(),
      onNote: (n) => notes.push(n),
    });
    const found = notes.find((note) => note.includes("the preset's is"))!;
    expect(found).toMatch(/^the model's vocabulary is 1\d: the characters of the text \(the preset's is 2048\)$/);
    expect(readFileSync(join(folder, "config.yaml"), "utf8")).toContain(`vocabSize: ${/ is (\d+)/.exec(found)![1]}`);
  });
});

describe("a run", () => {
  test("reports losses, perplexity before and after, speed, and where everything lies", () => {
    expect(wholeReport).toMatchObject({
      reason: "finished",
      step: 12,
      totalTokens: 12 * 64,
      skippedSteps: 0,
      folder: whole,
    });
    expect(wholeReport.before!.loss).toBeCloseTo(Math.log(20), 1);
    expect(wholeReport.after!.loss).toBeLessThan(wholeReport.before!.loss);
    expect(wholeReport.after!.perplexity).toBeCloseTo(Math.exp(wholeReport.after!.loss), 9);
    expect(wholeReport.tokensPerSecond).toBeGreaterThan(0);
    expect(wholeReport.epochs.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(12 * 64);
    expect(wholeReport.checkpoint).toBe(join(whole, "checkpoints", "step_000012"));
    expect(wholeReport.parameters.ternary).toBe(16 * 16 * 2 + 8 * 16 * 2 + 3 * 16 * 24);
  });

  test("leaves the folder that the design describes", () => {
    expect(readdirSync(whole).sort()).toEqual([
      "checkpoints",
      "config.yaml",
      "meta.json",
      "metrics",
      "samples",
      "tokenizer.json",
    ]);
    const meta = JSON.parse(readFileSync(join(whole, "meta.json"), "utf8"));
    expect(meta).toMatchObject({
      preset: "tiny",
      derived: { steps: 12, tokensPerStep: 64, microBatch: 2, warmupSteps: 1 },
      sessions: [{ backend: "reference", isa: "typescript", threads: 1, precision: "fp32", fromStep: 0 }],
    });
    expect(meta.tokenizer.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(join(whole, "metrics")).some((name) => name.startsWith("events.out.tfevents."))).toBe(true);
  });

  test("logs every metric that a line is to have", () => {
    const lines = readScalars(join(whole, "metrics", "scalars.jsonl"));
    const steps = lines.filter((line) => "loss" in line);
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(Object.keys(steps[0])).toEqual([
      ...["step", "epoch", "loss", "ppl_smoothed", "learning_rate", "weight_decay", "grad_norm", "tokens_per_sec"],
      ...[
        "total_tokens",
        "elapsed_ms",
        "data_wait_ms",
        "skipped_steps",
        "memory_rss_bytes",
        "backend_live_bytes",
        "backend_peak_bytes",
      ],
      "ternary_share",
    ]);
    expect(steps[0].ppl_smoothed).toBeCloseTo(Math.exp(steps[0].loss as number), 6);
    const layers = steps[5].layers as Record<string, { minus: number; zero: number; plus: number; gamma: number }>;
    expect(Object.keys(layers)).toHaveLength(7);
    const { minus, zero, plus, gamma } = layers["model.layers.0.mlp.up_proj"];
    expect(minus + zero + plus).toBeCloseTo(1, 5);
    expect(zero).toBeGreaterThan(0.2);
    expect(gamma).toBeGreaterThan(0);
    expect(steps[5].weights_flipped).toBeGreaterThan(0);
    expect(lines.filter((line) => "val_loss" in line).map(({ step }) => step)).toEqual([0, 4, 8, 12]);
    expect(lines.find((line) => "val_loss" in line)!.bits_per_byte).toBeGreaterThan(0);
  });

  test("writes samples for every prompt, with the seed that repeats them", () => {
    const lines = readFileSync(join(whole, "samples", "samples.jsonl"), "utf8")
      .trim()
      .split("\n");
    const samples = lines.map((line) => JSON.parse(line));
    expect(samples.map(({ step, prompt }) => [step, prompt])).toEqual([
      [6, "the"],
      [6, ""],
      [12, "the"],
      [12, ""],
    ]);
    expect(samples[0].text).toBe(`the ${samples[0].seed}`);
  });

  test("gives a model that loads and has the loss that was reported", async () => {
    const { model, tokenizer, step } = await loadModel(whole, new Runtime(createReferenceBackend()));
    expect(step).toBe(12);
    const corpus = await prepareCorpus(resolveConfig([{ from: "test", patch: small }]), { tokenizer: tokenizer! });
    const { loss, bitsPerByte } = await measureLoss(model.runtime, model, corpus.validation!);
    corpus.close();
    expect({ loss, bitsPerByte }).toEqual({
      loss: wholeReport.after!.loss,
      bitsPerByte: wholeReport.after!.bitsPerByte,
    });
  });

  test("done again gives the same losses, bit for bit", async () => {
    const again = fresh();
    await run({ runFolder: again });
    expect(curve(again)).toEqual(curve(whole));
  });

  test("of the library call may be a preset's name and differences", async () => {
    await expect(train({ config: "tinny" })).rejects.toThrow(UsageError);
    await expect(train({ config: { preset: "tiny" } })).rejects.toThrow(/no text to train on/);
  });
});

describe("checkpoints", () => {
  test("the newest few and the best are kept", async () => {
    const folder = fresh();
    const report = await run(
      { runFolder: folder },
      { checkpoints: { every: 2, keepLast: 2 }, evaluation: { every: 5 } },
    );
    const kept = readdirSync(join(folder, "checkpoints"));
    expect(kept).toContain("step_000012");
    expect(kept).toContain("step_000010");
    const best = `step_${String(report.best!.step).padStart(6, "0")}`;
    expect(report.bestCheckpoint).toBe(join(folder, "checkpoints", best));
    expect(new Set(kept)).toEqual(new Set(["step_000010", "step_000012", best]));
  });

  test("the weights before the first step are kept where that is asked for, and training goes on from them", async () => {
    const folder = fresh();
    const few = { train: { steps: 3 }, checkpoints: { every: 1, first: true, keepLast: 1, keepBest: false } };
    const whole = await run({ runFolder: folder }, few);
    expect(readdirSync(join(folder, "checkpoints")).sort()).toEqual(["step_000000", "step_000003"]);
    const none = await run({ runFolder: fresh() }, { train: { steps: 0 } });
    expect(none).toMatchObject({ step: 0, totalTokens: 0, checkpoint: expect.stringMatching(/step_000000$/) });
    expect(none.before!.loss).toBe(whole.before!.loss);
    const weights = (report: TrainReport) => readFileSync(join(report.checkpoint!, "model.safetensors"));
    expect(weights(none).equals(readFileSync(join(folder, "checkpoints", "step_000000", "model.safetensors")))).toBe(
      true,
    );
    const on = await run({ resume: none.folder }, { train: { steps: 3 } });
    expect(weights(on).equals(weights(whole))).toBe(true);
  });

  test("early stopping ends the run after the evaluations allowed", async () => {
    const folder = fresh();
    const report = await run({ runFolder: folder }, { evaluation: { every: 1, patience: 2, minDelta: 10 } });
    // The first evaluation, before step 1, is the best by so wide a margin.
    expect(report).toMatchObject({ reason: "early-stopping", step: 2 });
    expect(report.checkpoint).toBe(join(folder, "checkpoints", "step_000002"));
  });
});

describe("bad input is refused in one line", () => {
  const file = (name: string, content: string | Uint8Array) => {
    const path = join(root, name);
    writeFileSync(path, content);
    return path;
  };
  const cases: [string, RunConfigPatch, new (message: string) => Error, RegExp][] = [
    ["a missing file", { data: { files: [join(root, "no.txt")] } }, FileError, /no.txt/],
    ["an empty file", { data: { files: [file("empty.txt", "")] } }, DataError, /empty/],
    ["a batch larger than the data", { train: { batch: 500 } }, DataError, /batch of 500 sequences/],
    ["invalid UTF-8", { data: { files: [file("bad.txt", Buffer.from([104, 105, 255, 104]))] } }, DataError, /bad.txt/],
    [
      "a line of text for a BPE vocabulary",
      { data: { files: [file("line.txt", "one line\n")] }, tokenizer: { kind: "bpe" }, model: { vocabSize: 300 } },
      UsageError,
      /supports a vocabulary of 25\d tokens, but the model's is 300/,
    ],
    ["more characters than the vocabulary", { model: { vocabSize: 10 } }, DataError, /at most 10/],
    [
      "a precision that the backend has not",
      { train: { precision: "bf16" } },
      UsageError,
      /does not multiply bfloat16/,
    ],
    [
      "too little text to hold some out",
      { data: { files: [file("tiny.txt", "a")] } },
      DataError,
      /too few to hold out|needs 17 tokens/,
    ],
  ];
  test.for(cases)("%s", async ([, patch, type, message]) => {
    const folder = fresh();
    const error = await run({ runFolder: folder }, patch).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain("\n");
    expect(existsSync(folder)).toBe(false);
  });

  test("a tokenizer whose vocabulary is not the model's", async () => {
    await expect(run({ runFolder: fresh() }, { tokenizer: { file: join(whole, "tokenizer.json") } })).rejects.toThrow(
      /has 1\d tokens, but the model's vocabulary is 20; use --model.vocabSize 1\d/,
    );
  });

  test("a folder that holds a run, or something else", async () => {
    await expect(run({ runFolder: whole })).rejects.toThrow(
      /holds a run already; go on with it by --resume .*, or name another folder/,
    );
    const other = fresh();
    mkdirSync(other);
    writeFileSync(join(other, "notes"), "mine");
    await expect(run({ runFolder: other })).rejects.toThrow(/is not empty; name another folder/);
  });

  test("a folder that cannot be made", async () => {
    await expect(run({ runFolder: join(text, "run") })).rejects.toThrow(/cannot make the folder/);
  });

  test("numbers that diverge end the run, and the checkpoints before stay", async () => {
    const folder = fresh();
    const poison: Callback = {
      name: "poison",
      on(event, { runtime, model }) {
        if (event.type === "step" && event.step === 6)
          runtime.backend.upload(model.parameters[1].tensor.buffer, new Float32Array([Number.NaN]));
      },
    };
    const error = await run({ runFolder: folder, callbacks: [poison] }, { train: { maxSkippedSteps: 2 } }).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(DivergenceError);
    expect(readdirSync(join(folder, "checkpoints"))).toEqual(["step_000004"]);
    const lines = readFileSync(join(folder, "metrics", "scalars.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({ step: 7, loss: null, skipped_steps: 1 });
  });

  test("a checkpoint that cannot be written, a log on a full disk: what was saved stays", async () => {
    const folder = fresh();
    const blocker: Callback = {
      name: "blocker",
      on(event) {
        // A file where the folder of checkpoints was.
        if (event.type !== "step" || event.step !== 6) return;
        renameSync(join(folder, "checkpoints"), join(folder, "kept"));
        writeFileSync(join(folder, "checkpoints"), "");
      },
    };
    const error = await run({ runFolder: folder, callbacks: [blocker] }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(FileError);
    expect((error as Error).message).toMatch(/checkpoints/);
    rmSync(join(folder, "checkpoints"));
    renameSync(join(folder, "kept"), join(folder, "checkpoints"));
    if (process.platform === "linux") {
      const scalars = join(folder, "metrics", "scalars.jsonl");
      renameSync(scalars, `${scalars}.kept`);
      symlinkSync("/dev/full", scalars);
      await expect(run({ resume: folder })).rejects.toThrow(/scalars.jsonl: cannot write: the disk is full/);
      renameSync(`${scalars}.kept`, scalars);
    }
    await run({ resume: folder });
    expect(curve(folder)).toEqual(curve(whole));
  });

  test("patience without validation text", async () => {
    await expect(
      run({ runFolder: fresh() }, { data: { validFraction: 0 }, evaluation: { patience: 2 } }),
    ).rejects.toThrow(/evaluation.patience wants validation text/);
  });

  test("a checkpoint's tokenizer against another one", async () => {
    const folder = fresh();
    cpSync(whole, folder, { recursive: true });
    const other = join(root, "other.json");
    writeFileSync(
      other,
      readFileSync(join(whole, "tokenizer.json"), "utf8").replace('"the"', '"teh"').replace('"c":', '"C":'),
    );
    await expect(run({ resume: folder }, { tokenizer: { file: other } })).rejects.toThrow(FormatError);
  });
});
