/**
 * Every matrix product over odd shapes, one size varied at a time: M from 1 to 9,000, K and N with every kind of remainder.
 * `npm run bench -- sweep`. Each answer is checked, and each speed is set beside that of the next smaller and the next
 * larger shape: nothing may be tuned to one shape only, so none may be under half the better of its neighbours.
 *
 *   relative = speed / max(speed of the neighbours)      the worst of each product is reported
 *
 * One row and two are too far apart for that (where memory is the limit both take the same time, so two are twice as fast):
 * of a neighbour with over 1.5 times the work, the speed is scaled down by that, which compares their times.
 */
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";
import { fillUniform, type Operands, operationsOf, type Product, productsOf } from "./products.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    threads: { type: "string", default: "2" },
    rounds: { type: "string" },
    isa: { type: "string" },
  },
});
const { quick } = options;
const threads = Number(options.threads);
const rounds = Number(options.rounds ?? (quick ? 1 : 5));
/** A turn lasts at least this long: short products are run several times. */
const turnMs = quick ? 0.2 : 2;

// Around the kernels' tiles (4, 6, 8 rows; 32, 48 columns; blocks of 96; stretches of 768 and 1024), and between.
// biome-ignore format: a ladder
const ladderM = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 17, 20, 23, 24, 25, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 80, 95,
  96, 97, 127, 128, 129, 160, 191, 192, 193, 255, 256, 257, 383, 384, 385, 511, 512, 513, 767, 769, 1000, 1023, 1025, 1500, 2047,
  2049, 3001, 4095, 4097, 6007, 8191, 8192, 8193, 9000];
// biome-ignore format: a ladder
const ladderSide = [32, 33, 40, 47, 48, 49, 63, 64, 65, 80, 95, 96, 97, 127, 128, 129, 191, 193, 255, 257, 300, 383, 384, 385, 511, 513,
  700, 767, 768, 769, 1000, 1023, 1025, 1151, 1152, 1153, 1535, 1537];

type Shape = [m: number, k: number, n: number];
const series: { name: string; shapes: Shape[] }[] = quick
  ? [
      { name: "M, K = 67, N = 35", shapes: [1, 2, 3, 7, 33, 97, 9000].map((m) => [m, 67, 35]) },
      { name: "K, M = 97, N = 65", shapes: [31, 33, 130, 1025].map((k) => [97, k, 65]) },
      { name: "N, M = 33, K = 129", shapes: [31, 33, 50, 97].map((n) => [33, 129, n]) },
    ]
  : [
      { name: "M, K = 384, N = 384", shapes: ladderM.map((m) => [m, 384, 384]) },
      { name: "M, K = 387, N = 391", shapes: ladderM.map((m) => [m, 387, 391]) },
      { name: "K, M = 1,000, N = 389", shapes: ladderSide.map((k) => [1000, k, 389]) },
      { name: "N, M = 1,000, K = 389", shapes: ladderSide.map((n) => [1000, 389, n]) },
      { name: "K, M = 33, N = 385", shapes: ladderSide.map((k) => [33, k, 385]) },
      { name: "N, M = 33, K = 385", shapes: ladderSide.map((n) => [33, 385, n]) },
    ];

const backend = await createBackend({ backend: "native", isa: options.isa, threads });
console.log(`${backend.name} ${backend.isa}, ${backend.threads} threads`);

function operandsOf([m, k, n]: Shape): Operands {
  const fill = (count: number, seed: number) => fillUniform(new Float32Array(count), seed);
  return { m, k, n, x: fill(m * k, 1), w: fill(n * k, 2), dy: fill(m * n, 3) };
}

/** GOP/s of one turn. */
function turn(product: Product, gop: number): number {
  let [ms, times] = [0, 0];
  for (const start = performance.now(); performance.now() - start < turnMs || times === 0; times++) ms += product.run();
  return (gop * times) / (ms / 1e3);
}

interface Point {
  shape: Shape;
  speed: number;
  relative: number;
}
const results: { series: string; product: string; worst: Point; points: Point[] }[] = [];
let checked = 0;
for (const { name, shapes } of series) {
  const made = shapes.map((shape) => {
    const operands = operandsOf(shape);
    return { shape, gop: operationsOf(operands) / 1e9, ...productsOf(backend, operands) };
  });
  for (const { products } of made)
    for (const product of products) {
      await product.check();
      checked++;
    }
  for (const [p, { kind, layout }] of made[0].products.entries()) {
    // Rounds over the whole ladder, so that a change of the machine's speed meets neighbours alike.
    const speeds = made.map(() => [] as number[]);
    for (let round = 0; round < rounds; round++)
      for (const [s, { products, gop }] of made.entries()) speeds[s].push(turn(products[p], gop));
    const measured = () => {
      const medians = speeds.map(medianOf);
      return made.map(({ shape, gop }, s): Point => {
        const beside = [s - 1, s + 1].flatMap((other) => {
          if (!made[other]) return [];
          const more = made[other].gop / gop;
          return [medians[other] / (more > 1.5 ? more : 1)];
        });
        return { shape, speed: medians[s], relative: medians[s] / Math.max(...beside) };
      });
    };
    // Near the limit, again with its neighbours: turns are short, and other work on the machine falls on some.
    for (let again = 0; again < 2; again++) {
      const low = measured().flatMap(({ relative }, s) => (relative < 0.6 ? [s - 1, s, s + 1] : []));
      for (let round = 0; round < rounds; round++)
        for (const s of new Set(low)) if (made[s]) speeds[s].push(turn(made[s].products[p], made[s].gop));
    }
    const points = measured();
    const worst = points.reduce((a, b) => (b.relative < a.relative ? b : a));
    results.push({ series: name, product: `${kind} ${layout}`, worst, points });
    console.log(
      `${name.padEnd(24)} ${`${kind} ${layout}`.padEnd(20)} worst ${worst.relative.toFixed(2)} of its neighbours, at ${worst.shape.join(" x ")} (${worst.speed.toFixed(1)} GOP/s)`,
    );
  }
  for (const { free } of made) free();
  backend.trim();
}
console.log(`${checked} products checked`);
writeResult(
  "performance-sweep",
  {
    ...provenance(["npm run bench -- sweep", ...process.argv.slice(2)].join(" ")),
    isa: backend.isa,
    threads,
    checked,
    results: results.map(({ points, ...rest }) => ({
      ...rest,
      // One line a point: [M, K, N, GOP/s].
      points: points.map(({ shape, speed }) => [...shape, Number(speed.toFixed(2))].join(" ")),
    })),
  },
  quick,
);
backend.close();
