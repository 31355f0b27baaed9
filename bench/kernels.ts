/**
 * The matrix products and quantisers, op by op, at the shapes of `tiny` and larger: checked first, then timed in rounds
 * in which every instruction set and thread count takes its turn.
 *
 *   npx tsx bench/kernels.ts                                  every instruction set, one and two threads
 *   npx tsx bench/kernels.ts --isa avx512 --threads 1 --rows 8192 --shapes 384x1152,1152x384
 *
 * A product of M rows counts 2 · M · K · N operations.
 */
import { parseArgs } from "node:util";
import type { Backend, DType, NDArray, TypedArray } from "../src/backends/backend.ts";
import { createBackend, listBackends } from "../src/backends/index.ts";
import { viewOf } from "../src/backends/reference.ts";
import { activationQuant } from "../src/ops/activation-quant/index.ts";
import { bitLinear } from "../src/ops/bit-linear/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { type BackwardContext, type Op, type Precision, sizeOf } from "../src/ops/op.ts";
import { weightQuant } from "../src/ops/weight-quant/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "8192" },
    shapes: { type: "string", default: "384x192,384x384,384x1152,1152x384,384x2048,2048x2048" },
    isa: { type: "string" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "7" },
    only: { type: "string", default: "" },
    name: { type: "string", default: "kernels" },
  },
});
const m = Number(options.rows);
const shapes = options.shapes.split(",").map((shape) => shape.split("x").map(Number) as [k: number, n: number]);
const isas = [
  ...new Set(
    listBackends()
      .filter((b) => !b.absent && b.choice.backend !== "reference")
      .map((b) => b.choice.isa),
  ),
].filter((isa) => !options.isa || options.isa.split(",").includes(isa));

/** What is timed: an op's forward, or its backward with a gradient asked for one input. */
interface Job {
  name: string;
  unit: "GOP/s" | "GB/s";
  /** Thousand millions of `unit`. */
  amount: number;
  run(): NDArray;
  free(): void;
  /** The value that run's result has at row i, column j, and how far from it is right. */
  check?(i: number, j: number): { expected: number; bound: number };
}

const random = createRandom(1);
const normals = (n: number) => Float32Array.from({ length: n }, () => random.normal());

function upload(backend: Backend, shape: number[], data: TypedArray, dtype: DType = "f32"): NDArray {
  const array = { shape, dtype, buffer: backend.allocate(data.byteLength) };
  backend.upload(array.buffer, data);
  return array;
}

/** An op without a tape. Arrays that it makes are kept until `free`. */
function harness<P>(backend: Backend, op: Op<P>, inputs: NDArray[], params: P, precision: Precision) {
  const made: NDArray[] = [];
  const create = (shape: readonly number[], dtype: DType): NDArray => {
    const buffer = backend.allocate(sizeOf(shape) * (dtype === "f32" || dtype === "i32" ? 4 : 1));
    made.push({ shape, dtype, buffer });
    return made.at(-1)!;
  };
  const cx = { backend, precision, create };
  const free = () => {
    for (const { buffer } of made.splice(0)) backend.free(buffer);
  };
  const forward = () => {
    free();
    return op.forward(cx, inputs, params);
  };
  const gradientOf = (input: number, dys: NDArray[]) => {
    const { saved } = forward();
    const array = create(inputs[input].shape, "f32");
    const bcx: BackwardContext = {
      ...cx,
      gradient: (i) => (i === input ? { array, accumulate: 0 } : null),
      pass() {},
    };
    return () => {
      op.backward!(bcx, saved, dys, params);
      return array;
    };
  };
  return { forward: () => forward().outputs[0], outputs: () => forward().outputs, gradientOf, free };
}

function jobsOf(backend: Backend, k: number, n: number): Job[] {
  const [x, w, dy] = [normals(m * k), normals(n * k), normals(m * n)];
  const place = { x: upload(backend, [m, k], x), w: upload(backend, [n, k], w), dy: upload(backend, [m, n], dy) };
  const products = { unit: "GOP/s" as const, amount: (2 * m * k * n) / 1e9 };
  const dot = (count: number, of: (p: number) => [number, number]) => {
    let [sum, magnitude] = [0, 0];
    for (let p = 0; p < count; p++) {
      const [a, b] = of(p);
      sum += a * b;
      magnitude += Math.abs(a * b);
    }
    return { sum, magnitude };
  };
  const jobs: Job[] = [];

  for (const precision of ["fp32", "bf16"] as const) {
    if (precision === "bf16" && !backend.supports.bf16) continue;
    // Both operands rounded to bfloat16: 2^-7 of each product at most; else the roundings of the sum.
    const relative = precision === "bf16" ? 2 ** -7 : 2 ** -20;
    const within = ({ sum, magnitude }: { sum: number; magnitude: number }) => ({
      expected: sum,
      bound: relative * magnitude,
    });
    const h = [0, 1, 2].map(() => harness(backend, matmul, [place.x, place.w], {}, precision));
    jobs.push({
      ...{ ...products, name: `matmul y, ${precision}`, run: h[0].forward, free: h[0].free },
      check: (i, j) => within(dot(k, (p) => [x[i * k + p], w[j * k + p]])),
    });
    jobs.push({
      ...{ ...products, name: `matmul dx, ${precision}`, run: h[1].gradientOf(0, [place.dy]), free: h[1].free },
      check: (i, j) => within(dot(n, (p) => [dy[i * n + p], w[p * k + j]])),
    });
    jobs.push({
      ...{ ...products, name: `matmul dw, ${precision}`, run: h[2].gradientOf(1, [place.dy]), free: h[2].free },
      check: (i, j) => within(dot(m, (p) => [dy[p * n + i], x[p * k + j]])),
    });
  }

  const wq = harness(backend, weightQuant, [place.w], { rule: "add" as const, eps: 1e-6 }, "fp32");
  jobs.push({ name: "weight-quant", unit: "GB/s", amount: (5 * n * k) / 1e9, run: wq.forward, free: wq.free });
  const aq = harness(backend, activationQuant, [place.x], { eps: 1e-5 }, "fp32");
  jobs.push({ name: "activation-quant", unit: "GB/s", amount: (5 * m * k) / 1e9, run: aq.forward, free: aq.free });

  // The quantised operands, by hand: BitLinear's answers are checked against them.
  const scale = w.reduce((sum, value) => sum + Math.abs(value), 0) / w.length + 1e-6;
  const q = w.map((value) => Math.max(-1, Math.min(1, Math.round(value / scale))));
  const rowScale = Float32Array.from({ length: m }, (_, i) => {
    let most = 0;
    for (let p = 0; p < k; p++) most = Math.max(most, Math.abs(x[i * k + p]));
    return most / 127;
  });
  const xq = x.map((value, i) => Math.round(value / rowScale[Math.floor(i / k)]));
  const codes = upload(
    backend,
    [n, k],
    Uint8Array.from(q, (value) => value + 1),
    "u8",
  );
  const quantised = harness(backend, activationQuant, [place.x], { eps: 1e-5 }, "fp32").outputs();
  const bits = [...quantised, place.w, codes, upload(backend, [1], Float32Array.of(scale))];
  for (const precision of ["fp32", "bf16"] as const) {
    if (precision === "bf16" && !backend.supports.bf16) continue;
    const relative = precision === "bf16" ? 2 ** -8 : 2 ** -20;
    const h = [0, 1, 2].map(() => harness(backend, bitLinear, bits, {}, precision));
    if (precision === "fp32")
      jobs.push({
        ...{ ...products, name: "bit-linear y", run: h[0].forward, free: h[0].free },
        check(i, j) {
          const { sum } = dot(k, (p) => [xq[i * k + p], q[j * k + p]]);
          const expected = sum * rowScale[i] * scale;
          // A code or two of a value that lies on a half may fall the other way in float64.
          return { expected, bound: 2.01 * rowScale[i] * scale + 1e-6 * Math.abs(expected) };
        },
      });
    jobs.push({
      ...{ ...products, name: `bit-linear dx, ${precision}`, run: h[1].gradientOf(0, [place.dy]), free: h[1].free },
      check(i, j) {
        const { sum, magnitude } = dot(n, (p) => [dy[i * n + p], q[p * k + j] * scale]);
        return { expected: sum, bound: relative * magnitude };
      },
    });
    jobs.push({
      ...{ ...products, name: `bit-linear dw, ${precision}`, run: h[2].gradientOf(3, [place.dy]), free: h[2].free },
      check(i, j) {
        const { sum, magnitude } = dot(m, (p) => [dy[p * n + i] * rowScale[p], xq[p * k + j]]);
        return { expected: sum, bound: relative * magnitude + 2.01 * Math.max(...rowScale) };
      },
    });
  }
  return jobs.filter(({ name }) => name.includes(options.only));
}

async function checkAnswer(backend: Backend, job: Job): Promise<void> {
  if (!job.check) return;
  const array = job.run();
  const [rows, columns] = array.shape;
  const host = viewOf("f32", new ArrayBuffer(4 * rows * columns), 0, rows * columns);
  await backend.read(array.buffer, host);
  for (let t = 0; t < 40; t++) {
    const [i, j] = t === 0 ? [rows - 1, columns - 1] : [random.integer(rows), random.integer(columns)];
    const { expected, bound } = job.check(i, j);
    const actual = host[i * columns + j];
    if (!(Math.abs(actual - expected) <= bound))
      throw new Error(`${backend.isa}, ${job.name}: [${i}, ${j}] is ${actual}, expected ${expected} ± ${bound}`);
  }
}

const results: object[] = [];
for (const [k, n] of shapes) {
  const entries: { backend: Backend; job: Job; rates: number[] }[] = [];
  for (const isa of isas) {
    for (const threads of options.threads.split(",").map(Number)) {
      const kind = listBackends().find(({ choice }) => choice.isa === isa)!.choice.backend;
      const backend = await createBackend({ backend: kind, isa, threads });
      for (const job of jobsOf(backend, k, n)) {
        await checkAnswer(backend, job);
        entries.push({ backend, job, rates: [] });
      }
    }
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const { job, rates } of entries) {
      const start = performance.now();
      job.run();
      rates.push(job.amount / ((performance.now() - start) / 1e3));
    }
  }
  console.log(`\nM = ${m}, K = ${k}, N = ${n}; median (best)`);
  for (const { backend, job, rates } of entries) {
    const [median, best] = [medianOf(rates), Math.max(...rates)];
    const who = `${backend.name} ${backend.isa} x${backend.threads}`.padEnd(24);
    console.log(`${who} ${job.name.padEnd(22)} ${median.toFixed(1).padStart(7)} (${best.toFixed(1)}) ${job.unit}`);
    results.push({ isa: backend.isa, threads: backend.threads, m, k, n, op: job.name, unit: job.unit, median, best });
  }
  for (const backend of new Set(entries.map((entry) => entry.backend))) backend.close();
}
writeResult(options.name, { ...provenance(`npx tsx bench/kernels.ts ${process.argv.slice(2).join(" ")}`), results });
