/**
 * Times attention, rotary, the gated activation and cross entropy at a preset's shapes, through a backend, after checking
 * each answer against the reference on a small shape. GF/s count what causality leaves: 2 products forward, 5 backward
 * (scores are computed twice), each 2 · T² / 2 · D operations a head. GB/s count each array once.
 *
 *   tsx bench/block-ops.ts --batch 32 --tokens 256 --heads 8 --kv-heads 4 --width 48 --threads 2 --isa avx512
 */
import { parseArgs } from "node:util";
import type { Backend, DType, NDArray } from "../src/backends/backend.ts";
import { createBackend, createReferenceBackend } from "../src/backends/index.ts";
import { attention } from "../src/ops/attention/index.ts";
import { crossEntropy } from "../src/ops/cross-entropy/index.ts";
import { gatedActivation } from "../src/ops/gated-activation/index.ts";
import type { BackwardContext, Op } from "../src/ops/op.ts";
import { sizeOf } from "../src/ops/op.ts";
import { rotary, rotaryTable } from "../src/ops/rotary/index.ts";
import { expectClose } from "../test/support/expect-close.ts";
import { integers, normals } from "../test/support/random.ts";

const { values } = parseArgs({
  options: {
    batch: { type: "string", default: "32" },
    tokens: { type: "string", default: "256" },
    heads: { type: "string", default: "8" },
    "kv-heads": { type: "string", default: "4" },
    width: { type: "string", default: "48" },
    feed: { type: "string", default: "1152" },
    vocab: { type: "string", default: "2048" },
    cache: { type: "string", default: "4096" },
    threads: { type: "string", default: "2" },
    isa: { type: "string", default: "auto" },
    backend: { type: "string", default: "auto" },
    precision: { type: "string", default: "fp32" },
    repeats: { type: "string", default: "9" },
    only: { type: "string", default: "" },
  },
});
const [B, T, H, G, D, F, V, S] = [
  values.batch,
  values.tokens,
  values.heads,
  values["kv-heads"],
  values.width,
  values.feed,
  values.vocab,
  values.cache,
].map(Number);

interface Input {
  shape: number[];
  dtype?: DType;
  data?: ArrayLike<number>;
  /** false: takes no gradient. */
  wanted?: boolean;
}
interface Bench<P> {
  name: string;
  op: Op<P>;
  params: P;
  inputs: Input[];
  /** Operations, forward and backward; 0: bound by memory. */
  flops: [number, number];
  bytes: [number, number];
}

/** Arrays made once, so that only kernels are timed; `create` hands out the same ones at every run. */
function prepare<P>(backend: Backend, bench: Bench<P>) {
  const make = (shape: readonly number[], dtype: DType = "f32"): NDArray => ({
    shape,
    dtype,
    buffer: backend.allocate(Math.max(4, sizeOf(shape) * 4)),
  });
  const pool: NDArray[] = [];
  let next = 0;
  const create = (shape: readonly number[], dtype: DType) => {
    pool[next] ??= make(shape, dtype);
    return pool[next++];
  };
  const inputs = bench.inputs.map(({ shape, dtype, data }, i) => {
    const array = make(shape, dtype);
    const host = data ?? normals(sizeOf(shape), 7 + i);
    backend.upload(array.buffer, dtype === "i32" ? Int32Array.from(host) : Float32Array.from(host));
    return array;
  });
  const gradients = bench.inputs.map(({ shape, wanted }) => (wanted === false ? null : make(shape)));
  const cx: BackwardContext = {
    backend,
    precision: values.precision as "fp32",
    create,
    gradient: (i) => gradients[i] && { array: gradients[i], accumulate: 0 },
    pass: (i, array) => {
      gradients[i] = array;
    },
    exclusive: () => true,
  };
  let result = bench.op.forward(cx, inputs, bench.params);
  const upstream = result.outputs.map((o, i) => {
    const array = make(o.shape);
    backend.upload(array.buffer, normals(sizeOf(o.shape), 70 + i));
    return array;
  });
  const mark = next;
  return {
    forward: () => {
      next = 0;
      result = bench.op.forward(cx, inputs, bench.params);
    },
    backward: () => {
      next = mark;
      bench.op.backward?.(cx, result.saved, upstream, bench.params);
    },
    async read() {
      const arrays = [...result.outputs, ...gradients.filter((g) => g !== null)];
      return Promise.all(
        arrays.map(async (a) => {
          const host = new Float32Array(sizeOf(a.shape));
          await backend.read(a.buffer, host);
          return host;
        }),
      );
    },
  };
}

async function check<P>(backend: Backend, small: Bench<P>): Promise<void> {
  const results = await Promise.all(
    [createReferenceBackend(), backend].map(async (b) => {
      const run = prepare(b, small);
      run.forward();
      run.backward();
      return run.read();
    }),
  );
  const bound = values.precision === "bf16" ? 3e-2 : 2e-5;
  for (const [i, expected] of results[0].entries())
    expectClose(results[1][i], expected, { abs: bound, rel: bound }, `${small.name}, array ${i}`);
}

const benches = (B: number, T: number, H: number, G: number, D: number, F: number, V: number, S: number) => {
  const pairs = B * H * T * T * D; // one product's operations, the causal half
  const q = B * T * H * D;
  const attend: Bench<{ heads: number; kvHeads: number; start: number }> = {
    name: `attention B=${B} T=${T} H=${H} G=${G} D=${D}`,
    op: attention,
    params: { heads: H, kvHeads: G, start: 0 },
    inputs: [{ shape: [B, T, H * D] }, { shape: [B, T, G * D] }, { shape: [B, T, G * D] }],
    flops: [2 * pairs, 5 * pairs],
    bytes: [0, 0],
  };
  const decode: typeof attend = {
    name: `attention, one query, ${S} keys, H=${H} G=${G} D=${D}`,
    op: { ...attention, backward: undefined },
    params: { heads: H, kvHeads: G, start: S - 1 },
    inputs: [
      { shape: [1, 1, H * D], wanted: false },
      { shape: [1, S, G * D], wanted: false },
      { shape: [1, S, G * D], wanted: false },
    ],
    flops: [0, 0],
    bytes: [8 * S * G * D, 0],
  };
  const turn: Bench<{ heads: number; start: number }> = {
    name: `rotary of ${B * T} x ${H} x ${D}`,
    op: rotary,
    params: { heads: H, start: 0 },
    inputs: [{ shape: [B, T, H * D] }, { shape: [T, D], data: rotaryTable(T, D, 10000), wanted: false }],
    flops: [0, 0],
    bytes: [8 * q, 8 * q],
  };
  const gated: Bench<{ kind: "silu" }> = {
    name: `gated activation ${B * T} x ${F}`,
    op: gatedActivation,
    params: { kind: "silu" },
    inputs: [{ shape: [B * T, F] }, { shape: [B * T, F] }],
    flops: [0, 0],
    bytes: [12 * B * T * F, 20 * B * T * F],
  };
  const entropy: Bench<Record<string, never>> = {
    name: `cross entropy ${B * T} x ${V}`,
    op: crossEntropy,
    params: {},
    inputs: [{ shape: [B * T, V] }, { shape: [B * T], dtype: "i32", data: integers(B * T, 1, V), wanted: false }],
    flops: [0, 0],
    bytes: [4 * B * T * V, 8 * B * T * V],
  };
  return [attend, decode, turn, gated, entropy];
};

const backend = await createBackend({
  backend: values.backend as "auto",
  isa: values.isa,
  threads: Number(values.threads),
});
console.log(`${backend.name} ${backend.isa}, ${backend.threads} threads, ${values.precision}`);
const small = benches(2, 61, 4, 2, 48, 100, 131, 600);
for (const [i, bench] of benches(B, T, H, G, D, F, V, S).entries()) {
  if (values.only && !bench.name.startsWith(values.only)) continue;
  await check(backend, small[i] as Bench<unknown>);
  const run = prepare(backend, bench as Bench<unknown>);
  const passes = bench.op.backward ? (["forward", "backward"] as const) : (["forward"] as const);
  const times: Record<string, number[]> = { forward: [], backward: [] };
  for (const pass of passes) run[pass]();
  for (let n = 0; n < Number(values.repeats); n++)
    for (const pass of passes) {
      const start = performance.now();
      run[pass]();
      times[pass].push(performance.now() - start);
    }
  for (const [p, pass] of passes.entries()) {
    const sorted = times[pass].sort((a, b) => a - b);
    const rate = (ms: number) =>
      bench.flops[p]
        ? `${(bench.flops[p] / ms / 1e6).toFixed(0)} GF/s`
        : `${(bench.bytes[p] / ms / 1e6).toFixed(1)} GB/s`;
    const [median, best] = [sorted[sorted.length >> 1], sorted[0]];
    console.log(
      `${bench.name}, ${pass}: median ${median.toFixed(3)} ms (${rate(median)}), best ${best.toFixed(3)} ms (${rate(best)})`,
    );
  }
}
backend.close();
