/**
 * The matrix products of training on every instruction set and number of threads, for whoever writes a kernel: checked
 * first, then timed in rounds in which all of them take turns. Against OpenBLAS they are timed by `npm run bench -- kernels`.
 *
 *   npx tsx bench/kernels.ts                                  every instruction set, one and two threads
 *   npx tsx bench/kernels.ts --isa avx512 --threads 1 --rows 8192 --shapes 384x1152,1152x384 --only int8
 *
 * A product of M rows counts 2 · M · K · N operations. BitLinear's input comes quantised.
 */
import { parseArgs } from "node:util";
import type { Backend } from "../src/backends/backend.ts";
import { createBackend, findBackends } from "../src/backends/index.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";
import { fillUniform, operationsOf, type Product, productsOf } from "./products.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "8192" },
    // K x N
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
const here = (await findBackends()).filter(({ choice, absent }) => !absent && choice.backend !== "reference");
const isas = [...new Set(here.map(({ choice }) => choice.isa))].filter(
  (isa) => !options.isa || options.isa.split(",").includes(isa),
);

const results: object[] = [];
for (const [k, n] of shapes) {
  const fill = (count: number, seed: number) => fillUniform(new Float32Array(count), seed);
  const operands = { m, k, n, x: fill(m * k, 1), w: fill(n * k, 2), dy: fill(m * n, 3) };
  const gop = operationsOf(operands) / 1e9;
  const entries: { backend: Backend; product: Product; name: string; rates: number[] }[] = [];
  for (const isa of isas)
    for (const threads of options.threads.split(",").map(Number)) {
      const { backend: kind } = here.find(({ choice }) => choice.isa === isa)!.choice;
      const backend = await createBackend({ backend: kind, isa, threads });
      for (const product of productsOf(backend, operands).products) {
        const name = `${product.kind} ${product.layout}`;
        if (!name.includes(options.only)) continue;
        await product.check();
        entries.push({ backend, product, name, rates: [] });
      }
    }
  for (let round = 0; round < Number(options.rounds); round++)
    for (const { product, rates } of entries) rates.push(gop / (product.run() / 1e3));
  console.log(`\nM = ${m}, K = ${k}, N = ${n}; median (best)`);
  for (const { backend, name, rates } of entries) {
    const [median, best] = [medianOf(rates), Math.max(...rates)];
    const who = `${backend.name} ${backend.isa} x${backend.threads}`.padEnd(24);
    console.log(`${who} ${name.padEnd(22)} ${median.toFixed(1).padStart(7)} (${best.toFixed(1)}) GOP/s`);
    results.push({ isa: backend.isa, threads: backend.threads, m, k, n, product: name, median, best });
  }
  for (const backend of new Set(entries.map((entry) => entry.backend))) backend.close();
}
writeResult(options.name, { ...provenance(`npx tsx bench/kernels.ts ${process.argv.slice(2).join(" ")}`), results });
