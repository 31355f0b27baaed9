// Runs that stop in one way or another and go on. Oracle: an uninterrupted run, to the last bit.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { steppingClock } from "../../test/support/small-run.ts";
import { curve, killAt, Killed, storyRuns } from "../../test/support/story-run.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { UsageError } from "../platform/errors.ts";
import { jsonText } from "../checkpoint/model-folder.ts";
import { sha256Of } from "../platform/hash.ts";
import type { RunConfigPatch } from "./config-schema.ts";
import { defineCallback } from "./callbacks.ts";
import type { Callback } from "./events.ts";
import { readRunConfig } from "./run-folder.ts";
import { useExtension, z } from "../extensions/index.ts";

const { root, fresh, run, runWhole } = storyRuns();
const whole = fresh();
const wholeReport = await runWhole(whole);

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
  await expect(run({ resume: join(root, "nothing") })).rejects.toThrow(/is neither a run's folder .* nor a checkpoint/);
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
  const begun = [UsageError, expect.stringMatching(/holds a run (already|without a checkpoint); /)];
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

test("other settings are applied and told, with what was; the same ones are not", async () => {
  const folder = fresh();
  cpSync(whole, folder, { recursive: true });
  const notes: string[] = [];
  const onNote = (note: string) => notes.push(note);
  await run({ resume: folder, onNote });
  expect(notes.join("\n")).not.toContain("other settings");
  await run({ resume: folder, onNote }, { train: { steps: 13 }, optimizer: { clipNorm: 0.5 } });
  expect(notes).toContain(
    "going on with other settings: optimizer.clipNorm is 0.5 (was 1); train.steps is 13 (was 12)",
  );
});

test("callbacks that come, go or change are told with what becomes of their state", async () => {
  const told: string[] = [];
  const counting = (name: string) =>
    defineCallback({
      name,
      options: { from: z.int() },
      create({ from }) {
        let heard = from;
        return {
          name,
          on: ({ type, ...event }) => {
            if (type === "start") told.push(`${name} ${heard}`);
            if (type === "step" && "loss" in event) heard++;
          },
          state: () => heard,
          restore(saved) {
            heard = saved as number;
          },
        };
      },
    });
  useExtension({ callbacks: ["kept", "gone", "changed", "new"].map(counting) });
  const of = (...list: [name: string, from: number][]): RunConfigPatch => ({
    train: { callbacks: list.map(([name, from]) => ({ name, from })) },
  });
  const folder = fresh();
  const stop: Callback = {
    name: "stop",
    on: (event, training) => void (event.type === "step" && event.step === 4 && training.stop("here")),
  };
  await run({ runFolder: folder, callbacks: [stop] }, of(["kept", 0], ["gone", 0], ["changed", 0]));
  told.length = 0;
  const notes: string[] = [];
  const next = of(["kept", 0], ["changed", 7], ["new", 100]);
  await run({ resume: folder, onNote: (note) => notes.push(note) }, next);
  expect(notes.find((note) => note.includes("other settings"))).toBe(
    'going on with other settings: train.callbacks: "new" is new and begins without a state; train.callbacks: "gone" is gone, and its state with it; train.callbacks: "changed" has other options, and keeps its state',
  );
  expect(told).toEqual(["kept 4", "changed 4", "new 100"]);
  expect(readRunConfig(folder).train?.callbacks).toEqual(next.train!.callbacks);
});

test("a run that ends before its first step leaves nothing, and the next attempt has the folder", async () => {
  const folder = fresh();
  const fail: Callback = {
    name: "fail",
    on({ type }) {
      if (type === "gradients") throw new Error("no");
    },
  };
  await expect(run({ runFolder: folder, callbacks: [fail] })).rejects.toThrow("no");
  expect(existsSync(folder)).toBe(false);
  mkdirSync(folder);
  await expect(run({ runFolder: folder, callbacks: [fail] })).rejects.toThrow("no");
  expect(readdirSync(folder)).toEqual([]);
  await run({ runFolder: folder });
  expect(curve(folder)).toEqual(curve(whole));
});

test("a run that ended between its first step and its first checkpoint begins again by --resume, as its refusal says", async () => {
  const folder = fresh();
  await expect(
    run({ runFolder: folder, callbacks: [killAt(1)] }, { checkpoints: { every: null, keepBest: false } }),
  ).rejects.toThrow(Killed);
  await expect(run({ runFolder: folder })).rejects.toThrow(
    `${folder}: holds a run without a checkpoint; begin it again by --resume ${folder}, or name another folder`,
  );
  const notes: string[] = [];
  await run({ resume: folder, onNote: (note) => notes.push(note) }, { checkpoints: { every: 4, keepBest: true } });
  expect(notes.join("\n")).toContain("from the beginning: there is no checkpoint yet");
  expect(curve(folder)).toEqual(curve(whole));
});
