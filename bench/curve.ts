/**
 * The loss curve of `tiny` beside that of a PyTorch program on the same batches: the same tokens in the same order, a
 * constant learning rate of 1.5e-3, betas 0.9 / 0.95, clip 1.0, decay 0.1 on the blocks' matrices. The two draw their
 * initial weights from different generators.
 *
 *   tsx bench/curve.ts export  --data train.txt.gz --tokenizer tokenizer.json --batches batches.i32
 *   tsx bench/curve.ts train   --batches batches.i32 --mode bitnet --out ours.json
 *   tsx bench/curve.ts compare ours.json pytorch.json
 *
 * batches.i32: little-endian int32, [steps, B, T + 1]. A curve: { log: [{ step, loss, grad_norm }], ... }.
 */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { prepareTokens } from "../src/corpus/index.ts";
import { createBatches, openTokens } from "../src/data/index.ts";
import { presetConfig, Transformer } from "../src/model/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { loadTokenizer } from "../src/tokenizer/index.ts";
import { resolveConfig } from "../src/train/config.ts";
import { autoWarmupSteps, createSchedule } from "../src/train/schedules.ts";
import { clipScale, createAdamW, createAdamW8bit, gradientNorm } from "../src/train/optimizers.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: "string" },
    tokenizer: { type: "string" },
    batches: { type: "string", default: "batches.i32" },
    mode: { type: "string", default: "bitnet" },
    batch: { type: "string", default: "32" },
    sequence: { type: "string", default: "256" },
    micro: { type: "string", default: "32" },
    steps: { type: "string", default: "300" },
    seed: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
    isa: { type: "string" },
    precision: { type: "string", default: "auto" },
    optimizer: { type: "string", default: "adamw" },
    schedule: { type: "string", default: "constant" },
    out: { type: "string" },
  },
});
const B = Number(values.batch);
const T = Number(values.sequence);
const steps = Number(values.steps);

async function exportBatches(): Promise<void> {
  if (!values.data || !values.tokenizer) throw new Error("curve export: --data and --tokenizer are needed");
  const folder = join(mkdtempSync(join(tmpdir(), "bitnet-curve-")), "data");
  const tokenizer = await loadTokenizer(values.tokenizer);
  await prepareTokens({ sources: [values.data], tokenizer, outDir: folder });
  const source = createBatches({ tokens: openTokens(folder), batch: B, sequence: T, seed: Number(values.seed) });
  const out = new Int32Array(steps * B * (T + 1));
  for (let s = 0; s < steps; s++) {
    const { tokens_BT, targets_BT } = source.next();
    for (let b = 0; b < B; b++) {
      const to = (s * B + b) * (T + 1);
      out.set(tokens_BT.subarray(b * T, (b + 1) * T), to);
      out[to + T] = targets_BT[(b + 1) * T - 1];
    }
  }
  writeFileSync(values.batches, new Uint8Array(out.buffer));
  console.log(`${values.batches}: ${steps} batches of [${B}, ${T + 1}]`);
}

async function train(): Promise<void> {
  const bytes = readFileSync(values.batches);
  const data = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const backend = await createBackend({ backend: "auto", isa: values.isa, threads: Number(values.threads) });
  const precision = values.precision === "auto" ? (backend.supports.bf16 ? "bf16" : "fp32") : values.precision;
  const runtime = new Runtime(backend, precision as "fp32");
  const model = new Transformer(runtime, presetConfig("tiny", values.mode as "bitnet"), Number(values.seed));
  const create = { adamw: createAdamW, adamw8bit: createAdamW8bit }[values.optimizer];
  if (!create) throw new Error(`curve train: --optimizer ${values.optimizer}; expected adamw or adamw8bit`);
  const optimizer = create(runtime, model.parameters, { weightDecay: 0.1 });
  const stateBytes = optimizer.state.reduce((sum, { tensor }) => sum + tensor.buffer.sizeBytes, 0);
  const { schedule } = resolveConfig([{ from: "curve", patch: { preset: "tiny" } }]);
  const warmupSteps = autoWarmupSteps(schedule.kind, steps);
  if (values.schedule !== "constant" && values.schedule !== "preset")
    throw new Error(`curve train: --schedule ${values.schedule}; expected constant or preset`);
  const rates = createSchedule(
    values.schedule === "preset" ? { ...schedule, warmupSteps } : { kind: "constant", warmupSteps: 0 },
    { learningRate: 1.5e-3, weightDecay: 0.1 },
    steps,
  );
  const M = Number(values.micro);
  if (data.length < steps * B * (T + 1) || B % M !== 0)
    throw new Error(
      `curve train: ${steps} steps of [${B}, ${T + 1}] in parts of ${M}, but ${values.batches} has ${data.length} tokens`,
    );
  const log: { step: number; loss: number; grad_norm: number }[] = [];
  const started = performance.now();
  for (let s = 0; s < steps; s++) {
    let loss = 0;
    for (let b = 0; b < B; b += M) {
      const tokens = new Int32Array(M * T);
      const targets = new Int32Array(M * T);
      for (let r = 0; r < M; r++) {
        const from = (s * B + b + r) * (T + 1);
        tokens.set(data.subarray(from, from + T), r * T);
        targets.set(data.subarray(from + 1, from + 1 + T), r * T);
      }
      const value = runtime.gradient(() => model.loss({ tokens, batch: M, length: T }, targets).loss, M / B);
      loss += ((await runtime.readFloats(value))[0] * M) / B;
      value.dispose();
    }
    const norm = await gradientNorm(runtime, model.parameters);
    optimizer.step({ ...rates(s + 1), gradientScale: clipScale(norm, 1) });
    log.push({ step: s + 1, loss, grad_norm: norm });
    if ((s + 1) % 10 === 0 || s === 0)
      console.log(
        JSON.stringify({ ...log[s], tokens_per_sec: ((s + 1) * B * T * 1000) / (performance.now() - started) }),
      );
  }
  if (values.out)
    writeFileSync(
      values.out,
      JSON.stringify({ mode: values.mode, precision, isa: backend.isa, optimizer: optimizer.kind, stateBytes, log }),
    );
  backend.close();
}

function compare(paths: string[]): void {
  const [ours, theirs] = paths.map((path) => JSON.parse(readFileSync(path, "utf8")).log as { loss: number }[]);
  for (const step of [1, 10, 25, 50, 100, 150, 200, 250, 300]) {
    const [a, b] = [ours[step - 1]?.loss, theirs[step - 1]?.loss];
    if (a === undefined || b === undefined) continue;
    console.log(`step ${step}: ${a.toFixed(4)} against ${b.toFixed(4)} (${((a / b - 1) * 100).toFixed(2)} %)`);
  }
}

const [command, ...rest] = positionals;
if (command === "export") await exportBatches();
else if (command === "train") await train();
else if (command === "compare") compare(rest);
else throw new Error("curve: say export, train or compare");
