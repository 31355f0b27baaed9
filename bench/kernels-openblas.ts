/**
 * The matrix products of training against OpenBLAS's sgemm, in one process, on the same shapes, with the same number of
 * threads: `npm run bench -- kernels`. Answers are checked first; then rounds in which OpenBLAS and each of our products
 * take turns. A ratio is of one round, and the row's is their median.
 *
 * Our int8 product is the forward of BitLinear, which is the only one that is integer; its gradients are the rows
 * "ternary". OpenBLAS multiplies the same layout in float32.
 */
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";
import { measurePeaks, openOpenBlas } from "./native-helper.ts";
import {
  exact,
  fillUniform,
  type Layout,
  type Operands,
  operationsOf,
  productsOf,
  resultShape,
  someIndices,
} from "./products.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rows: { type: "string" },
    // K x N
    shapes: { type: "string" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string" },
  },
});
const quick = options.quick;
const m = Number(options.rows ?? (quick ? 200 : 8192));
const threads = Number(options.threads);
const rounds = Number(options.rounds ?? (quick ? 2 : 7));
const shapes = (
  options.shapes ??
  (quick ? "384x392,387x65" : "384x384,384x1152,1152x384,768x768,768x2048,2048x768,1024x1024,1536x512,2048x2048")
)
  .split(",")
  .map((shape) => shape.split("x").map(Number) as [k: number, n: number]);

const notes: string[] = [];
const peaks = await measurePeaks(threads);
if ("reason" in peaks) notes.push(peaks.reason);
else console.log("peaks", peaks);
const blas = await openOpenBlas(threads);
const openBlas = "reason" in blas ? null : blas;
if ("reason" in blas) notes.push(blas.reason);
else console.log(`OpenBLAS: ${blas.config} (${blas.path})`);
for (const note of notes) console.log(`left out: ${note}`);

const backend = await createBackend({ backend: "native", threads });
console.log(`ours: ${backend.name} ${backend.isa}, ${backend.threads} threads`);

/** OpenBLAS on one layout: runs once, milliseconds; and its check. */
function sgemmOf(operands: Operands, copies: Record<"x" | "w" | "dy", Float32Array>, layout: Layout) {
  const { k, n } = operands;
  const [rows, columns] = resultShape(operands, layout);
  const c = openBlas!.floats(rows * columns);
  const { x, w, dy } = copies;
  const { sgemm } = openBlas!;
  const run = {
    NT: () => sgemm(0, 1, m, n, k, x, w, c),
    NN: () => sgemm(0, 0, m, k, n, dy, w, c),
    TN: () => sgemm(1, 0, n, k, m, dy, x, c),
  }[layout];
  run();
  for (const [i, j] of someIndices([rows, columns], 12)) {
    const { sum, magnitude } = exact(operands, layout, i, j);
    if (!(Math.abs(c[i * columns + j] - sum) <= 2 ** -20 * magnitude))
      throw new Error(`OpenBLAS, ${layout}: [${i}, ${j}] is ${c[i * columns + j]}, expected ${sum}`);
  }
  return run;
}

const rows: object[] = [];
for (const [k, n] of shapes) {
  const operands: Operands = {
    ...{ m, k, n },
    x: fillUniform(new Float32Array(m * k), 1),
    w: fillUniform(new Float32Array(n * k), 2),
    dy: fillUniform(new Float32Array(m * n), 3),
  };
  const copies = { x: operands.x, w: operands.w, dy: operands.dy };
  if (openBlas)
    for (const key of ["x", "w", "dy"] as const) {
      copies[key] = openBlas.floats(operands[key].length);
      copies[key].set(operands[key]);
    }
  const { products, free } = productsOf(backend, operands);
  for (const product of products) await product.check();
  const gop = operationsOf(operands) / 1e9;
  for (const layout of ["NT", "NN", "TN"] as const) {
    const ours = products.filter((product) => product.layout === layout);
    const theirs = openBlas ? sgemmOf(operands, copies, layout) : null;
    const rates = new Map<string, number[]>(["OpenBLAS", ...ours.map(({ kind }) => kind)].map((key) => [key, []]));
    for (let round = 0; round < rounds; round++) {
      if (theirs) {
        rates.get("OpenBLAS")!.push(gop / (theirs() / 1e3));
        await openBlas!.settle();
      }
      for (const { kind, run } of ours) rates.get(kind)!.push(gop / (run() / 1e3));
    }
    const base = rates.get("OpenBLAS")!;
    for (const [kind, list] of rates) {
      if (list.length === 0) continue;
      const ratio = base.length > 0 ? medianOf(list.map((rate, i) => rate / base[i])) : null;
      const [median, best] = [medianOf(list), Math.max(...list)];
      rows.push({ m, k, n, layout, kind, median, best, ratio });
      console.log(
        `${`${m} x ${k} x ${n} ${layout}`.padEnd(24)} ${kind.padEnd(17)} ${median.toFixed(1).padStart(7)} GOP/s (best ${best.toFixed(1)})${ratio === null ? "" : `  ${ratio.toFixed(2)} x OpenBLAS`}`,
      );
    }
  }
  free();
  backend.trim();
}
writeResult(
  "performance-kernels",
  {
    ...provenance(["npm run bench -- kernels", ...process.argv.slice(2)].join(" ")),
    isa: backend.isa,
    threads,
    openBlas: openBlas?.config ?? null,
    peaks: "reason" in peaks ? null : peaks,
    leftOut: notes,
    rows,
  },
  quick,
);
backend.close();
