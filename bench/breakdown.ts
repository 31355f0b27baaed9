/**
 * Where the milliseconds of one training step go: every kernel launch of `tiny` timed from outside (bench/launches.ts),
 * under the op and the phase that launched it, beside its floor: what its operations take at the unit's peak rate, or its
 * bytes at the memory's, whichever is more. `npm run bench -- breakdown`.
 *
 *   --preset tiny --batch 32 --micro 16 --variant bitnet --steps 5     medians over the steps
 *
 * The answer is checked: watched and unwatched, a step gives the same loss and gradient norm to the last bit.
 */
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { presetConfig, Transformer } from "../src/model/index.ts";
import type { Op } from "../src/ops/op.ts";
import { createRandom } from "../src/platform/random.ts";
import { Runtime, type Tensor } from "../src/tensor/index.ts";
import { clipScale, createAdamW, gradientNorm } from "../src/train/optimizers.ts";
import { presetMicroBatch } from "./contenders.ts";
import { floorOf, type Launch, watch } from "./launches.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";
import { measurePeaks } from "./native-helper.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    preset: { type: "string", default: "tiny" },
    variant: { type: "string", default: "bitnet" },
    batch: { type: "string" },
    sequence: { type: "string" },
    micro: { type: "string" },
    threads: { type: "string", default: "2" },
    steps: { type: "string" },
    precision: { type: "string", default: "auto" },
    isa: { type: "string" },
    backend: { type: "string", default: "native" },
  },
});
const { quick } = options;
const steps = Number(options.steps ?? (quick ? 1 : 7));
const config = presetConfig(options.preset, options.variant as "bitnet");
const B = Number(options.batch ?? (quick ? 2 : 32));
const T = Number(options.sequence ?? (quick ? 32 : 256));
const M = Number(options.micro ?? (quick ? 1 : presetMicroBatch(options.preset)));
const threads = Number(options.threads);

type Phase = "forward" | "backward" | "update";
let phase: Phase = "forward";
/** Ops that are running, the innermost last. */
const ops: string[] = [];
let record: ((launch: Launch) => void) | null = null;

/** A runtime that says which op is running, forward and backward. */
class TracedRuntime extends Runtime {
  override applyAll<P>(op: Op<P>, inputs: readonly Tensor[], params: P): Tensor[] {
    const within = <R>(where: Phase, body: () => R): R => {
      const before = phase;
      phase = where;
      ops.push(op.name);
      try {
        return body();
      } finally {
        ops.pop();
        phase = before;
      }
    };
    const traced: Op<P> = {
      ...op,
      backward:
        op.backward && ((cx, saved, gradients, p) => within("backward", () => op.backward!(cx, saved, gradients, p))),
    };
    return within(phase, () => super.applyAll(traced, inputs, params));
  }
}

const plain = await createBackend({ backend: options.backend as "native", isa: options.isa, threads });
console.log(`${plain.name} ${plain.isa}, ${plain.threads} threads`);
const backend = watch(plain, (launch) => record?.(launch));
const precision = options.precision === "auto" ? (plain.supports.bf16 ? "bf16" : "fp32") : options.precision;
const random = createRandom(1);
const ids = () => Int32Array.from({ length: B * T }, () => random.integer(config.vocabSize));
const [tokens, targets] = [ids(), ids()];

function prepare(runtime: Runtime) {
  const model = new Transformer(runtime, config, 1);
  const optimizer = createAdamW(runtime, model.parameters, { weightDecay: 0.1 });
  return async () => {
    let loss = 0;
    for (let b = 0; b < B; b += M) {
      const piece = (a: Int32Array) => a.subarray(b * T, (b + M) * T);
      const batch = { tokens: piece(tokens), batch: M, length: T };
      phase = "forward";
      const value = runtime.gradient(() => model.loss(batch, piece(targets)).loss, M / B);
      phase = "update";
      loss += ((await runtime.readFloats(value))[0] * M) / B;
      value.dispose();
    }
    const norm = await gradientNorm(runtime, model.parameters);
    optimizer.step({ learningRate: 1e-3, gradientScale: clipScale(norm, 1) });
    return { loss, norm };
  };
}

const expected = await prepare(new Runtime(plain, precision as "fp32"))();
plain.trim();
const step = prepare(new TracedRuntime(backend, precision as "fp32"));
const first = await step();
if (first.loss !== expected.loss || first.norm !== expected.norm)
  throw new Error(`watched, the first step gives ${JSON.stringify(first)}; otherwise ${JSON.stringify(expected)}`);
if (!(Math.abs(first.loss / Math.log(config.vocabSize) - 1) < 0.02))
  throw new Error(`the first loss is ${first.loss}, expected ${Math.log(config.vocabSize)}`);
await step();

const peaks = await measurePeaks(threads);
const note = "reason" in peaks ? peaks.reason : null;
if (note) console.log(`left out: ${note}, and so all floors`);

interface Entry {
  phase: Phase;
  op: string;
  kernel: string;
  launches: number;
  ms: number[];
  floorMs: number;
  operations: number;
  bytes: number;
  /** What bounds most of its floor. */
  limits: Map<string, number>;
}
const entries = new Map<string, Entry>();
const walls: number[] = [];
for (let s = 0; s < steps; s++) {
  record = ({ kernel, ms, work }) => {
    const op = ops.at(-1) ?? (phase === "update" ? "optimizer" : "tape");
    const key = `${phase}/${op}/${kernel}`;
    let entry = entries.get(key);
    if (!entry) {
      entry = { phase, op, kernel, launches: 0, ms: [], floorMs: 0, operations: 0, bytes: 0, limits: new Map() };
      entries.set(key, entry);
    }
    entry.ms[s] = (entry.ms[s] ?? 0) + ms;
    if (s > 0) return;
    entry.launches++;
    entry.operations += work.operations;
    entry.bytes += work.bytes;
    if ("reason" in peaks) return;
    const floor = floorOf(work, peaks);
    entry.floorMs += floor.ms;
    entry.limits.set(floor.limit, (entry.limits.get(floor.limit) ?? 0) + floor.ms);
  };
  const start = performance.now();
  await step();
  walls.push(performance.now() - start);
}
record = null;

const wallMs = medianOf(walls);
const rows = [...entries.values()].map(({ limits, ms, ...entry }) => ({
  ...entry,
  ms: medianOf(ms),
  limit: [...limits].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null,
}));
const inKernels = rows.reduce((sum, row) => sum + row.ms, 0);
for (const row of [...rows].sort((a, b) => b.ms - a.ms))
  console.log(
    `${row.phase.padEnd(9)} ${row.op.padEnd(18)} ${row.kernel.padEnd(28)} ${String(row.launches).padStart(5)} launches ${row.ms.toFixed(2).padStart(9)} ms   floor ${row.floorMs.toFixed(2).padStart(8)} ms (${row.limit})`,
  );
console.log(
  `step ${wallMs.toFixed(1)} ms: ${inKernels.toFixed(1)} in kernels, floors ${rows.reduce((s, r) => s + r.floorMs, 0).toFixed(1)}; ${((B * T * 1e3) / wallMs).toFixed(0)} tokens/s`,
);
writeResult(
  "performance-breakdown",
  {
    ...provenance(["npm run bench -- breakdown", ...process.argv.slice(2)].join(" ")),
    ...{ preset: options.preset, variant: options.variant, batch: B, sequence: T, micro: M, threads, steps, precision },
    backend: plain.name,
    isa: plain.isa,
    peaks: "reason" in peaks ? null : peaks,
    leftOut: note ? [note] : [],
    wallMs,
    rows,
  },
  quick,
);
plain.close();
