// Oracle: the presets' own values, and what each option says it does. Killing and resuming is in test/train-kill.test.ts.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { parse } from "yaml";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { UsageError } from "../platform/errors.ts";
import { describeReport, trainCommand } from "./train.ts";

/** Runs `bitnet train ...`; gives what it writes to the standard output, and to the standard error. */
async function run(...args: string[]): Promise<{ out: string; err: string }> {
  let out = "";
  let err = "";
  const catchInto = (add: (text: string) => void) =>
    ((chunk: string) => {
      add(chunk);
      return true;
    }) as never;
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(catchInto((text) => (out += text))),
    vi.spyOn(process.stderr, "write").mockImplementation(catchInto((text) => (err += text))),
  ];
  try {
    await trainCommand().exitOverride().parseAsync(args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return { out, err };
}

const config = async (...args: string[]) => parse((await run(...args, "--print-config")).out);

test("options, short and by key, stand over the preset, wherever they are written", async () => {
  const found = await config(
    ...["--optimizer.learningRate", "1e-3", "tiny", "--data", "a.txt", "--steps", "300", "--variant", "full"],
    ...["--data", "b.txt", "--train.batch=8", "--val-data", "c.txt", "--threads", "1", "--schedule.kind", "constant"],
  );
  expect(found).toMatchObject({
    preset: "tiny",
    model: { variant: "full", width: 384 },
    data: { files: ["a.txt", "b.txt"], validFiles: ["c.txt"] },
    optimizer: { learningRate: 1e-3, beta2: 0.95 },
    train: { steps: 300, epochs: null, batch: 8, sequence: 256 },
    schedule: { kind: "constant" },
    backend: { threads: 1, name: "auto" },
  });
});

test("a printed config is a config file, and options stand over it", async () => {
  const path = join(temporaryFolder(), "mine.yaml");
  writeFileSync(path, (await run("tiny", "--seed", "7", "--print-config")).out);
  expect(await config(path, "--tokens", "1000")).toEqual({
    ...(await config("tiny", "--seed", "7")),
    train: { ...(await config("tiny", "--seed", "7")).train, tokens: 1000, epochs: null },
  });
});

test("a plot of the schedules is comments behind the config, layers that differ a line each", async () => {
  const options = ["tiny", "--steps", "300", "--train.progressive.kind", "layerwise"];
  const { out } = await run(...options, "--print-config", "--plot");
  expect(parse(out)).toEqual(await config(...options));
  const comments = out.split("\n").filter((line) => line.startsWith("#"));
  expect(comments[0]).toBe("# learning rate");
  expect(comments.join("\n")).toMatch(/weight decay: 0.1 throughout/);
  expect(comments.filter((line) => line.startsWith("# lambda of layers."))).toHaveLength(6);
  expect(Math.max(...comments.map((line) => line.length))).toBeLessThanOrEqual(100);
});

test("--quant-ramp sets the old key, which stands in the printed config", async () => {
  expect((await config("tiny", "--steps", "60", "--quant-ramp", "12")).train).toMatchObject({
    quantRampSteps: 12,
    progressive: null,
  });
});

test.for<[string[], RegExp]>([
  [[], /name a preset \(arithmetic, tiny, .*\) or a config file/],
  [["tiny", "nano"], /one preset or config file, but "tiny" and "nano" came/],
  [["tiny", "--steps", "1", "--epochs", "1"], /one of --steps, --epochs and --tokens/],
  [["tiny", "--dta", "x"], /unknown option "--dta"; did you mean "--data"/],
  [["tiny", "--train.batch"], /--train.batch has no value/],
  [["tiny", "-x"], /unexpected "-x"/],
  [["tiny", "--plot"], /--plot draws what --print-config prints/],
  [["tiny", "--steps", "60", "--quant-ramp", "60", "--print-config"], /at the last step, 60, .* at lambda 0.983/],
  [["tiny", "--train.progressive", "cosine", "--print-config"], /is a section; set a key .*--train.progressive.kind/],
])("refuses %j as a wrong use", async ([args, message]) => {
  const error = await run(...args).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(UsageError);
  expect((error as Error).message).toMatch(message);
});

test("trains, says how it goes at most once an interval, and where everything lies", async () => {
  const folder = temporaryFolder();
  const data = join(folder, "text.txt");
  writeFileSync(data, "all work and no play makes a dull day. ".repeat(40));
  const runDir = join(folder, "run");
  const { out, err } = await run(
    ...["tiny", "--data", data, "--run-dir", runDir, "--backend", "reference", "--steps", "6", "--log-every", "3"],
    ...["--model.vocabSize=24", "--model.width=16", "--model.layers=1", "--model.heads=2", "--model.kvHeads=1"],
    ...["--model.hiddenWidth=16", "--model.contextLength=16", "--train.sequence=16", "--train.batch=2"],
    ...["--tokenizer.kind=characters", "--samples.tokens=4", "--data.cacheDir", join(folder, "cache")],
  );
  expect(err.split("\n").filter((line) => /^step \d+\/6/.test(line))).toHaveLength(2);
  expect(err).toMatch(/^model: tiny, bitnet: [\d,]+ parameters, [\d.]+ % of them ternary; vocabulary 24$/m);
  expect(err).toMatch(/^step 0: val_loss 3\.\d+, perplexity \d+/m);
  expect(err).toMatch(/^step 6 writes: "/m);
  expect(out).toMatch(/^finished after step 6: 192 tokens in /);
  expect(out).toContain(`checkpoint  ${join(runDir, "checkpoints", "step_000006")}`);
  expect(out).toMatch(/^validation {2}perplexity [\d.]+ before, [\d.]+ after/m);
  expect(readdirSync(runDir)).toContain("config.yaml");
  // A preset is not needed where a model or a run says what it is; what is printed has it in.
  const from = await config("--from", runDir, "--data", data, "--train.batch", "3");
  expect(from).toMatchObject({ preset: "tiny", model: { width: 16 }, train: { batch: 3, sequence: 16 } });
  const resumed = await config("--resume", runDir, "--steps", "9");
  expect(resumed).toMatchObject({ preset: "tiny", model: { width: 16 }, train: { batch: 2, steps: 9 } });
});

/** A report as training gives it; `measured` are the steps of the first and the last evaluation. */
function reportOf(reason: string, step: number, measured: [number, number] | null) {
  const at = (one: number) => ({ step: one, loss: 7 - one / 100, perplexity: 1000 - one, bitsPerByte: null });
  return {
    ...{ reason, step, totalTokens: 1, skippedSteps: 1, tokensPerSecond: 5, elapsedMs: 5, dataWaitMs: 0, epochs: [] },
    ...{ before: measured && at(measured[0]), after: measured && at(measured[1]), best: measured && at(measured[1]) },
    ...{ sources: null, folder: "runs/x", checkpoint: "runs/x/checkpoints/step_1", bestCheckpoint: null },
    ...{ peakMemoryBytes: 1, refused: [] },
  } as never;
}

test("the summary says which evaluation its figures are of, and what was not evaluated since", () => {
  expect(describeReport(reportOf("finished", 60, [0, 60]))).toMatch(
    /perplexity 1000 before, 940\.0 after \(loss 6\.4000; best/,
  );
  expect(describeReport(reportOf("interrupted", 40, [0, 0]))).toMatch(
    /perplexity 1000 at step 0 \(loss 7\.0000\); not evaluated since step 0$/m,
  );
  expect(describeReport(reportOf("interrupted", 40, [0, 30]))).toMatch(
    /perplexity 1000 before, 970\.0 at step 30 \(loss .*\); not evaluated since step 30$/m,
  );
});

test("one step is a step, and the summary names what shows the run", () => {
  const out = describeReport(reportOf("finished", 60, null));
  expect(out).toContain("60: 1 token in");
  expect(out).toContain("skipped     1 step that");
  expect(out).toContain("curves      tensorboard --logdir runs/x");
  expect(out).toContain("report      bitnet report runs/x --data FILE");
});
