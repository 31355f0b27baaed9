/**
 * Where a generated token's time goes in the packed engine: its program's launches by kernel and shape, each group run as a
 * program of its own, so that every layer's weights come from memory as they do in the whole. Beside each, the bytes of
 * weights that it reads. For whoever tunes a kernel.
 *
 *   npx tsx bench/infer-profile.ts --shape 700m --threads 2 --head int8 --position 100
 *   npx tsx bench/infer-profile.ts --shape 700m --prompt 512          of a prompt, launch by launch
 */
import { parseArgs } from "node:util";
import type { Backend, Kernel, NDArray, Program } from "../src/backends/backend.ts";
import { createBackend } from "../src/backends/index.ts";
import { createPackedEngine, type PackedEngineOptions } from "../src/infer/index.ts";
import { ends, type LinearEnd, weightRows } from "../src/ops/packed-linear/index.ts";
import { matrixBytes, type MatrixFormat, matrixFormats } from "../src/quant/matrix-rows.ts";
import { packedBytes } from "../src/quant/packed-ternary.ts";
import { randomWeights, shapes } from "./infer-rates.ts";
import { medianOf } from "./machine.ts";

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: "700m" },
    threads: { type: "string", default: "2" },
    weights: { type: "string", default: "2bit" },
    head: { type: "string", default: "int8" },
    cache: { type: "string", default: "f16" },
    position: { type: "string", default: "100" },
    rows: { type: "string", default: "1" },
    rounds: { type: "string", default: "15" },
    isa: { type: "string", default: "auto" },
    backend: { type: "string", default: "auto" },
    // Of a prompt, in place of a token: so many tokens.
    prompt: { type: "string" },
  },
});

interface Launch {
  kernel: Kernel;
  arrays: Record<string, NDArray | null>;
  params: Record<string, number>;
}

/** Of the weights that a launch reads. */
function weightBytes({ kernel, params }: Launch): number {
  const { n, k, end, format } = params;
  const rows = weightRows(n, (Object.keys(ends) as LinearEnd[])[end]);
  if (kernel.name === "packed_linear") return packedBytes(rows, k, format === 0 ? "2bit" : "trits");
  const name = (Object.keys(matrixFormats) as MatrixFormat[])[format];
  return kernel.name === "matrix_linear" ? matrixBytes(rows, k, name) : 0;
}

const threads = Number(values.threads);
const backend = await createBackend({ backend: values.backend as "auto", isa: values.isa, threads });
const direct = new Map<string, { launches: number; ms: number }>();
const groups = new Map<string, Launch[]>();
let programs: Program[] = [];
let recording = false;
const watched: Backend = {
  ...backend,
  launch(kernel, arrays, params) {
    if (recording) {
      const key = `${kernel.name} ${"k" in params ? `${(params as Record<string, number>).n ?? ""} x ${(params as Record<string, number>).k}` : ""}`;
      const list = groups.get(key) ?? [];
      list.push({ kernel: kernel as never, arrays, params });
      groups.set(key, list);
    }
    const start = performance.now();
    backend.launch(kernel, arrays, params);
    if (recording) return;
    const key = `${kernel.name} ${"k" in params ? `${(params as Record<string, number>).n ?? ""} x ${(params as Record<string, number>).k}` : ""}`;
    const spent = direct.get(key) ?? { launches: 0, ms: 0 };
    direct.set(key, { launches: spent.launches + 1, ms: spent.ms + performance.now() - start });
  },
  record(body) {
    groups.clear();
    recording = true;
    try {
      return backend.record(body);
    } finally {
      recording = false;
    }
  },
  run(program) {
    programs = [program];
    backend.run(program);
  },
};
Object.defineProperty(watched, "isa", { get: () => backend.isa });

const config = shapes[values.shape];
const options = {
  weights: values.weights,
  head: values.head,
  cache: values.cache,
  ...(values.prompt ? {} : { gatherAbove: 1e9 }),
} as PackedEngineOptions;
const engine = await createPackedEngine(watched, config, randomWeights(config), options);
if (values.prompt) {
  const count = Number(values.prompt);
  const tokens = Array.from({ length: count }, (_, i) => i % config.vocabSize);
  const read = async () => {
    const sequence = engine.createSequence();
    await engine.forward([{ sequence, tokens, logits: "last" }]);
    sequence.dispose();
  };
  for (let i = 0; i < 2; i++) await read();
  direct.clear();
  const rounds = Math.min(5, Number(values.rounds));
  const start = performance.now();
  for (let i = 0; i < rounds; i++) await read();
  const ms = (performance.now() - start) / rounds;
  console.log(`${values.shape}, ${backend.isa}, ${threads} threads: a prompt of ${count} in ${ms.toFixed(1)} ms`);
  for (const [key, spent] of direct)
    console.log(
      `${key.padEnd(32)} ${String(spent.launches / rounds).padStart(4)} launches ${(spent.ms / rounds).toFixed(2).padStart(9)} ms`,
    );
  process.exit(0);
}
const rows = Number(values.rows);
const sequences = Array.from({ length: rows }, () => engine.createSequence());
const prompt = Array.from({ length: Number(values.position) }, (_, i) => i % config.vocabSize);
for (const sequence of sequences) await engine.forward([{ sequence, tokens: prompt, logits: "none" }]);
// Always at the same place: the cache does not grow, which would make the program anew.
const step = async () => {
  await engine.forward(sequences.map((sequence) => ({ sequence, tokens: [1], logits: "last" as const })));
  for (const sequence of sequences) sequence.truncate(prompt.length);
};
await step();

const pieces = [...groups].map(([key, launches]) => ({
  key,
  launches: launches.length,
  bytes: launches.reduce((sum, launch) => sum + weightBytes(launch), 0),
  program: backend.record(() => {
    for (const { kernel, arrays, params } of launches) backend.launch(kernel, arrays as never, params as never);
  }),
  times: [] as number[],
}));
const whole: number[] = [];
const program: number[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  let start = performance.now();
  await step();
  whole.push(performance.now() - start);
  start = performance.now();
  backend.run(programs[0]);
  program.push(performance.now() - start);
  for (const piece of pieces) {
    start = performance.now();
    backend.run(piece.program);
    piece.times.push(performance.now() - start);
  }
}
const total = medianOf(whole);
console.log(`${values.shape}, ${backend.isa}, ${threads} threads, ${rows} rows at position ${values.position}`);
console.log(
  `a step ${total.toFixed(3)} ms (${((1e3 * rows) / total).toFixed(1)} tokens/s), its program ${medianOf(program).toFixed(3)} ms`,
);
for (const { key, launches, bytes, times } of pieces) {
  const ms = medianOf(times);
  const rate = bytes > 0 ? `${(bytes / ms / 1e6).toFixed(1)} GB/s` : "";
  console.log(
    `${key.padEnd(32)} ${String(launches).padStart(4)} x ${((1e3 * ms) / launches).toFixed(1).padStart(7)} us = ${ms.toFixed(3)} ms  ${rate}`,
  );
}
engine.dispose();
backend.close();
