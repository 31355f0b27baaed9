// Oracle: an uninterrupted run, for every way of stopping and going on; ln V for the first loss; one line that a person
// can act on, for every bad input.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { steppingClock } from "../../test/support/small-run.ts";
import { loadModel } from "../exchange/index.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { DataError, DivergenceError, FileError, FormatError, UsageError } from "../platform/errors.ts";
import { jsonText } from "../checkpoint/model-folder.ts";
import { sha256Of } from "../platform/hash.ts";
import { createRandom } from "../platform/random.ts";
import { Runtime } from "../tensor/index.ts";
import { resolveConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { prepareCorpus } from "./corpus.ts";
import { measureLoss } from "./evaluate.ts";
import type { Callback } from "./events.ts";
import { readScalars } from "./scalars.ts";
import { type TrainOptions, type TrainReport, train } from "./train.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-train-"));
afterAll(() => rmSync(root, { recursive: true }));
let names = 0;
const fresh = () => join(root, `run${++names}`);

const words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "the", "dog"];
function story(i: number): string {
  const random = createRandom(i);
  return Array.from({ length: 12 }, () => words[random.integer(words.length)]).join(" ");
}
const text = join(root, "stories.txt");
writeFileSync(text, Array.from({ length: 60 }, (_, i) => story(i)).join("\n<|endoftext|>\n"));

const small: RunConfigPatch = {
  preset: "tiny",
  model: { vocabSize: 20, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
  data: { files: [text], cacheDir: join(root, "cache"), validFraction: 0.2 },
  tokenizer: { kind: "characters" },
  train: { batch: 4, sequence: 16, microBatch: 2, steps: 12, seed: 4 },
  optimizer: { learningRate: 5e-3 },
  evaluation: { every: 4, batches: 1 },
  checkpoints: { every: 4, keepLast: 3 },
  metrics: { layersEvery: 6 },
  samples: { every: 6, prompts: ["the", ""], tokens: 3 },
  backend: { name: "reference" },
};

const run = (options: Partial<TrainOptions> = {}, ...patches: RunConfigPatch[]): Promise<TrainReport> =>
  train({
    config: [{ from: "test", patch: small }, ...patches.map((patch) => ({ from: "test", patch }))],
    clock: steppingClock(),
    ...options,
  });

/** Training and validation losses by step, from the run's own file. */
function curve(folder: string): Record<string, unknown>[] {
  return readScalars(join(folder, "metrics", "scalars.jsonl")).map(
    ({ step, loss, val_loss, grad_norm, ppl_smoothed }) =>
      Object.fromEntries(
        Object.entries({ step, loss, val_loss, grad_norm, ppl_smoothed }).filter(([, v]) => v !== undefined),
      ),
  );
}

/** Ends the process's work at a step, as a kill would: nothing is saved, nothing is closed properly. */
class Killed extends Error {}
const killAt = (step: number): Callback => ({
  name: "killer",
  on(event) {
    if (event.type === "step" && event.step === step) throw new Killed();
  },
});

const whole = fresh();
const wholeReport = await run({
  runFolder: whole,
  sampler:
    () =>
    async (prompt, { seed }) =>
      `${prompt} ${seed}`,
});

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

describe("going on", () => {
  test.for([1, 4, 5, 7, 11, 12])(
    "after a kill at step %i gives the losses of a run that was never stopped",
    async (at) => {
      const folder = fresh();
      await expect(run({ runFolder: folder, callbacks: [killAt(at)] })).rejects.toThrow(Killed);
      const report = await run({ runFolder: folder, resume: "auto" });
      expect(report).toMatchObject({ reason: "finished", step: 12 });
      expect(curve(folder)).toEqual(curve(whole));
      expect(report.epochs).toEqual(wholeReport.epochs);
      expect(report.before).toEqual(wholeReport.before);
      expect(readFileSync(join(folder, "checkpoints", "step_000012", "model.safetensors"))).toEqual(
        readFileSync(join(whole, "checkpoints", "step_000012", "model.safetensors")),
      );
    },
  );

  test("after Ctrl-C: the step is finished and saved, and the losses that follow are the same", async () => {
    const folder = fresh();
    const stop = new AbortController();
    const presser: Callback = {
      name: "presser",
      on(event) {
        if (event.type === "step" && event.step === 6) stop.abort();
      },
    };
    const report = await run({ runFolder: folder, signal: stop.signal, callbacks: [presser] });
    expect(report).toMatchObject({ reason: "interrupted", step: 6 });
    expect(existsSync(join(folder, "checkpoints", "step_000006", "trainer_state.json"))).toBe(true);
    await run({ runFolder: folder, resume: "auto" });
    expect(curve(folder)).toEqual(curve(whole));
  });

  test("holds too where weights are quantised every few steps only", async () => {
    const rare = { model: { requantizeEvery: 3 } };
    const [left, killed] = [fresh(), fresh()];
    await run({ runFolder: left }, rare);
    await expect(run({ runFolder: killed, callbacks: [killAt(10)] }, rare)).rejects.toThrow(Killed);
    await run({ runFolder: killed, resume: "auto" });
    expect(curve(killed)).toEqual(curve(left));
    expect(curve(left)).not.toEqual(curve(whole));
  });

  test("holds too with moments of eight bits, which are saved as they are", async () => {
    const eight: RunConfigPatch = {
      model: { width: 64, hiddenWidth: 65 },
      optimizer: { kind: "adamw8bit" },
      train: { steps: 6 },
      samples: { every: null },
    };
    const [left, killed] = [fresh(), fresh()];
    await run({ runFolder: left }, eight);
    await expect(run({ runFolder: killed, callbacks: [killAt(5)] }, eight)).rejects.toThrow(Killed);
    await run({ runFolder: killed, resume: "auto" }, eight);
    expect(curve(killed)).toEqual(curve(left));
    for (const name of ["model.safetensors", "optimizer.safetensors"])
      expect(readFileSync(join(killed, "checkpoints", "step_000006", name))).toEqual(
        readFileSync(join(left, "checkpoints", "step_000006", name)),
      );
    const file = await readSafetensors(join(left, "checkpoints", "step_000006", "optimizer.safetensors"));
    const up = "model.layers.0.mlp.up_proj.weight"; // 65 x 64: 17 blocks
    expect(file.tensors.get(`m.${up}`)).toMatchObject({ dtype: "U8", shape: [65, 64] });
    expect(file.tensors.get(`v_scale.${up}`)).toMatchObject({ dtype: "F32", shape: [17] });
    file.close();
  });

  test("goes on from a checkpoint of before waiting was measured and mixtures were known", async () => {
    const folder = fresh();
    await expect(run({ runFolder: folder, callbacks: [killAt(10)] })).rejects.toThrow(Killed);
    const config = join(folder, "config.yaml");
    const older = readFileSync(config, "utf8").replace(/^ {2}(mixture|localCopy|prefetch|verify): .*\n/gm, "");
    expect(older.length).toBeLessThan(readFileSync(config, "utf8").length);
    writeFileSync(config, older);
    for (const step of [4, 8]) {
      const file = join(folder, "checkpoints", `step_00000${step}`, "trainer_state.json");
      const state = JSON.parse(readFileSync(file, "utf8"));
      delete state.training.callbacks.summary.dataWaitMs;
      expect(Object.keys(state.training.data)).not.toContain("kind");
      const text = jsonText({ ...state, selfSha256: "0".repeat(64) });
      writeFileSync(file, jsonText({ ...state, selfSha256: sha256Of(text) }));
    }
    const notes: string[] = [];
    const report = await run({ runFolder: folder, resume: "auto", onNote: (note) => notes.push(note) });
    expect(notes.join("\n")).toMatch(/from step 8/);
    expect(report.dataWaitMs).toBeGreaterThan(0);
    expect(curve(folder)).toEqual(curve(whole));
  });

  test("uses the checkpoint before a damaged one, says why, and comes to the same end", async () => {
    const folder = fresh();
    await expect(run({ runFolder: folder, callbacks: [killAt(10)] })).rejects.toThrow(Killed);
    const damaged = join(folder, "checkpoints", "step_000008");
    const file = join(damaged, "optimizer.safetensors");
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(file, bytes);
    const notes: string[] = [];
    const report = await run({ runFolder: folder, resume: "auto", onNote: (note) => notes.push(note) });
    expect(report.refused).toHaveLength(1);
    expect(notes[0]).toMatch(/not using .*step_000008: .*optimizer.safetensors: its SHA-256/);
    expect(notes[1]).toMatch(/from step 4/);
    expect(curve(folder)).toEqual(curve(whole));
  });

  test("is refused where no checkpoint is whole, rather than beginning anew", async () => {
    const folder = fresh();
    await expect(run({ runFolder: folder, callbacks: [killAt(6)] })).rejects.toThrow(Killed);
    rmSync(join(folder, "checkpoints", "step_000004", "config.json"));
    await expect(run({ runFolder: folder, resume: "auto" })).rejects.toThrow(
      /no checkpoint of this run is whole: .*config.json is missing/,
    );
  });

  test("finds the newest run, or a checkpoint by its path, and may be given more steps", async () => {
    const folder = fresh();
    cpSync(whole, folder, { recursive: true });
    const checkpoint = join(folder, "checkpoints", "step_000008");
    // The learning rate's course depends on the number of steps: it is the budget of the saved config that counts.
    await run({ resume: checkpoint });
    expect(curve(folder)).toEqual(curve(whole));
    const longer = await run({ resume: folder }, { train: { steps: 14 } });
    expect(longer.step).toBe(14);
    const done = await run({ resume: folder }, { train: { steps: 14 } });
    expect(done).toMatchObject({
      step: 14,
      reason: "finished",
      checkpoint: join(folder, "checkpoints", "step_000014"),
    });
    const runs = join(root, "runs");
    const first = await run({ runsFolder: runs }, { train: { steps: 2 } });
    expect(first.folder).toMatch(/runs\/tiny-bitnet-\d{8}-\d{6}$/);
    const auto = await run({ runsFolder: runs, resume: "auto" }, { train: { steps: 3 } });
    expect(auto).toMatchObject({ folder: first.folder, step: 3 });
    await expect(run({ resume: join(root, "nothing") })).rejects.toThrow(
      /is neither a run's folder .* nor a checkpoint/,
    );
  });

  test("is refused while another process trains in the run, which ends as it would have", async () => {
    const folder = fresh();
    const others: Promise<unknown>[] = [];
    const intruder: Callback = {
      name: "intruder",
      async on(event) {
        if (event.type !== "step" || (event.step !== 2 && event.step !== 6)) return;
        for (const options of [{ runFolder: folder }, { runFolder: folder, resume: "auto" }, { resume: folder }])
          others.push(
            run(options).then(
              () => "trained",
              (error) => [error.constructor, error.message],
            ),
          );
        await Promise.all(others);
      },
    };
    await run({ runFolder: folder, callbacks: [intruder] });
    expect(curve(folder)).toEqual(curve(whole));
    const busy = [
      UsageError,
      expect.stringMatching(/^another process is at work in the run .*run\d+ \(process \d+, since /),
    ];
    const begun = [UsageError, expect.stringMatching(/holds a run already/)];
    expect(await Promise.all(others)).toEqual([begun, busy, busy, begun, busy, busy]);
    expect(existsSync(join(folder, "run.lock"))).toBe(false);
  });

  test("passes over a checkpoint that was renamed to a later step", async () => {
    const folder = fresh();
    cpSync(whole, folder, { recursive: true });
    renameSync(join(folder, "checkpoints", "step_000008"), join(folder, "checkpoints", "step_999999"));
    const notes: string[] = [];
    const report = await run({ resume: folder, onNote: (note) => notes.push(note) });
    expect(report.checkpoint).not.toContain("step_999999/");
    expect(notes.join("\n")).toMatch(/not using .*step_999999: .*holds step 8, which is not the step in its name/);
    expect(notes.join("\n")).toContain("from step 12");
  });

  test("takes the run that was begun last, though the clock says otherwise", async () => {
    const runs = join(root, "jumped");
    const at = (epochMs: number) => ({ ...steppingClock(), epochMs: () => epochMs });
    const ahead = await run({ runsFolder: runs, clock: at(4e12) }, { train: { steps: 2 } });
    const back = await run({ runsFolder: runs, clock: at(1e12) }, { train: { steps: 2 } });
    expect(ahead.folder > back.folder).toBe(true);
    const auto = await run({ runsFolder: runs, resume: "auto", clock: at(5e11) }, { train: { steps: 3 } });
    expect(auto).toMatchObject({ folder: back.folder, step: 3 });
  });

  test("with another shape, preset or data is refused", async () => {
    const folder = fresh();
    cpSync(whole, folder, { recursive: true });
    await expect(run({ resume: folder }, { model: { hiddenWidth: 32 } })).rejects.toThrow(
      /tensor .*gate_proj.weight is \[24,16\]; the model wants \[32,16\]/,
    );
    await expect(run({ resume: folder }, { preset: "nano" })).rejects.toThrow(/is a run of preset "tiny", but "nano"/);
    await expect(run({ resume: folder }, { train: { batch: 8 } })).rejects.toThrow(
      /saved data position: its batch is 4, this run's is 8/,
    );
    await expect(run({ resume: folder }, { optimizer: { kind: "sgd" } })).rejects.toThrow(
      /optimizer "adamw", this run's is "sgd"/,
    );
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
    await expect(run({ runFolder: whole })).rejects.toThrow(/holds a run already; go on with it by --resume auto/);
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
