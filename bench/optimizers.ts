/**
 * The optimiser's step over the matrices of a preset: AdamW with moments of 32 and of 8 bits, launched for each matrix as
 * training does, and AdamW once over all of it, which is what a single launch could save. Checked on a small size first,
 * then timed in rounds in which all take turns. GB/s count what must be read and written: 28 bytes of a weight, or 16.
 *
 *   npx tsx bench/optimizers.ts                       tiny, two threads: some seconds
 *   npx tsx bench/optimizers.ts --preset 95m --threads 1 --isa avx2
 *   npx tsx bench/optimizers.ts --quick               a trial, written beside the build
 */
import { parseArgs } from "node:util";
import type { Backend, DType, NDArray } from "../src/backends/backend.ts";
import { createDryBackend } from "../src/backends/dry.ts";
import { createBackend, createReferenceBackend } from "../src/backends/index.ts";
import { inspectModel, presetConfig } from "../src/model/index.ts";
import { adamwStep } from "../src/ops/adamw/index.ts";
import { adamw8bitStep, blocksOf, emptyCodes } from "../src/ops/adamw-8bit/index.ts";
import type { OpContext } from "../src/ops/op.ts";
import { Runtime } from "../src/tensor/index.ts";
import { expectClose } from "../test/support/expect-close.ts";
import { normals } from "../test/support/random.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    preset: { type: "string", default: "tiny" },
    threads: { type: "string", default: "2" },
    isa: { type: "string" },
    rounds: { type: "string", default: "15" },
    quick: { type: "boolean", default: false },
  },
});
const settings = {
  ...{ learningRate: 1.5e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, gradientScale: 1 },
};

/** One step over arrays of these sizes; `weights` reads the first few of each back. */
function prepare(backend: Backend, eight: boolean, sizes: readonly number[]) {
  const cx = { backend, precision: "fp32" } as OpContext;
  const put = (dtype: DType, data: Float32Array | Uint8Array): NDArray => {
    const buffer = backend.allocate(data.byteLength);
    backend.upload(buffer, data);
    return { shape: [data.length], dtype, buffer };
  };
  const some = normals(4096, 1, 0.02);
  const repeated = (n: number) => Float32Array.from({ length: n }, (_, i) => some[i % 4095]);
  const arrays = sizes.map((n) => {
    const both = { weight: put("f32", repeated(n)), gradient: put("f32", repeated(n)) };
    if (!eight) return { ...both, m: put("f32", new Float32Array(n)), v: put("f32", new Float32Array(n)) };
    const [mScale, vScale] = [0, 0].map(() => put("f32", new Float32Array(blocksOf(n))));
    return { ...both, m: put("u8", emptyCodes.m(n)), v: put("u8", emptyCodes.v(n)), mScale, vScale };
  });
  let step = 0;
  return {
    run() {
      step++;
      for (const a of arrays)
        if ("mScale" in a && a.mScale && a.vScale)
          adamw8bitStep(cx, { ...a, mScale: a.mScale, vScale: a.vScale }, { ...settings, step });
        else adamwStep(cx, a, { ...settings, step });
    },
    async weights() {
      const found = new Float32Array(Math.min(1000, sizes[0]));
      await backend.read(arrays[0].weight.buffer, found);
      return found;
    },
  };
}

const config = presetConfig(options.preset, "bitnet");
const described = inspectModel(config, () => new Runtime(createDryBackend()), { batch: 1, sequence: 1 });
const matrices = described.parameters.filter(({ role }) => role === "ternary").map(({ count }) => count);
const sizes = options.quick ? [5000, 70_001] : matrices;
const total = sizes.reduce((a, b) => a + b, 0);
const backend = await createBackend({ backend: "auto", isa: options.isa, threads: Number(options.threads) });

for (const eight of [false, true]) {
  const [ours, theirs] = [backend, createReferenceBackend()].map((b) => prepare(b, eight, [5000]));
  for (const one of [ours, theirs]) for (let step = 0; step < 3; step++) one.run();
  // A code on the edge may fall to the other side: half a percent of a step of 1.5e-3.
  expectClose(await ours.weights(), await theirs.weights(), { abs: eight ? 2e-5 : 1e-7 }, eight ? "8 bits" : "32 bits");
}

const entries = [
  { name: "adamw, a launch for each matrix", bytes: 28, ...prepare(backend, false, sizes), ms: [] as number[] },
  { name: "adamw, one launch", bytes: 28, ...prepare(backend, false, [total]), ms: [] as number[] },
  { name: "adamw8bit, a launch for each matrix", bytes: 16, ...prepare(backend, true, sizes), ms: [] as number[] },
];
for (const entry of entries) entry.run();
for (let round = 0; round < (options.quick ? 2 : Number(options.rounds)); round++)
  for (const { run, ms } of entries) {
    const start = performance.now();
    run();
    ms.push(performance.now() - start);
  }
const rows = entries.map(({ name, bytes, ms }) => {
  const [medianMs, bestMs] = [medianOf(ms), Math.min(...ms)];
  const gigabytesPerSecond = (total * bytes) / medianMs / 1e6;
  console.log(
    `${name.padEnd(36)} ${medianMs.toFixed(2).padStart(8)} ms (best ${bestMs.toFixed(2)}), ${gigabytesPerSecond.toFixed(1)} GB/s`,
  );
  return { name, bytesPerWeight: bytes, medianMs, bestMs, gigabytesPerSecond };
});
writeResult(
  "optimizers",
  {
    ...provenance(["npx tsx bench/optimizers.ts", ...process.argv.slice(2)].join(" ")),
    ...{
      preset: options.preset,
      isa: backend.isa,
      threads: backend.threads,
      weights: total,
      launches: sizes.length,
      rows,
    },
  },
  options.quick,
);
backend.close();
