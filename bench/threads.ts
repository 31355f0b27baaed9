/**
 * From one thread to two: the same step of `tiny` on each, in turns. `npm run bench -- threads`. The answer is checked
 * first: the number of threads does not change a kernel's sums by more than their rounding, so neither the loss.
 */
import { parseArgs } from "node:util";
import { checkSmallStep, ours, presetMicroBatch } from "./contenders.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string" },
    steps: { type: "string" },
  },
});
const { quick } = options;
const counts = options.threads.split(",").map(Number);
const rounds = Number(options.rounds ?? (quick ? 1 : 4));
const steps = Number(options.steps ?? (quick ? 1 : 3));
const shape = quick
  ? { batch: 2, sequence: 32, micro: 1 }
  : { batch: 32, sequence: 256, micro: presetMicroBatch("tiny") };

const losses = [];
for (const threads of counts) losses.push((await checkSmallStep({ preset: "tiny", threads })).loss);
for (const loss of losses)
  if (!(Math.abs(loss - losses[0]) < 1e-4))
    throw new Error(`with ${counts.join(", ")} threads, the loss of a small batch is ${losses.join(", ")}`);
console.log(`answer checked: loss ${losses.join(", ")}`);

const speeds = counts.map(() => [] as number[]);
for (let round = 1; round <= rounds; round++)
  for (const [i, threads] of counts.entries()) {
    const { tokensPerSecond } = ours(`${threads} threads`, { preset: "tiny", threads, steps, ...shape }).run();
    speeds[i].push(tokensPerSecond);
    console.log(`round ${round}  ${threads} threads ${tokensPerSecond.toFixed(0).padStart(6)} tokens/s`);
  }
const rows = counts.map((threads, i) => ({
  threads,
  speeds: speeds[i],
  medianTokensPerSecond: medianOf(speeds[i]),
  bestTokensPerSecond: Math.max(...speeds[i]),
  ratio: medianOf(speeds[i].map((speed, r) => speed / speeds[0][r])),
}));
for (const { threads, ratio } of rows) console.log(`${threads} threads: ${ratio.toFixed(3)} x ${counts[0]}`);
writeResult(
  "performance-threads",
  {
    ...provenance(["npm run bench -- threads", ...process.argv.slice(2)].join(" ")),
    ...{ preset: "tiny", ...shape, rows },
  },
  quick,
);
