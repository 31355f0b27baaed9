/**
 * Memory: the most that a step's process ever held, in each way of running it, and the resident memory over 2,000 steps.
 * `npm run bench -- memory`. PyTorch's peaks are in the bench of steps.
 *
 *   --steps 2000     steps of tiny, 2 x 64 tokens each, resident memory read every 50th
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { checkSmallStep, presetMicroBatch } from "./contenders.ts";
import { provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    threads: { type: "string", default: "2" },
    steps: { type: "string" },
  },
});
const { quick, threads } = options;
const steps = Number(options.steps ?? (quick ? 40 : 2000));
const every = Math.max(1, Math.round(steps / 40));

const { loss, expected } = await checkSmallStep({ preset: "tiny", threads: Number(threads) });
console.log(`answer checked: loss ${loss.toFixed(4)} (reference ${expected.toFixed(4)})`);

function trainSteps(args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      "--import",
      "tsx",
      resolve(import.meta.dirname, "train-steps.ts"),
      "--backend",
      "native",
      "--threads",
      threads,
      ...args,
    ],
    { encoding: "utf8", maxBuffer: 1 << 26 },
  );
  if (status !== 0) throw new Error(`train-steps ${args.join(" ")}: ${stderr.trim().split("\n").at(-1)}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

const micro = presetMicroBatch("tiny");
/** [name, preset, batch, sequence, micro-batch, more arguments] */
type Case = [string, string, number, number, number, string[]];
const cases: Case[] = quick
  ? [["tiny, 2 x 32", "tiny", 2, 32, 1, []]]
  : [
      [`tiny, 32 x 256 in micro-batches of ${micro} (the preset's)`, "tiny", 32, 256, micro, []],
      ["tiny, 32 x 256 at once", "tiny", 32, 256, 32, []],
      ["tiny, 32 x 256 at once, blocks recomputed", "tiny", 32, 256, 32, ["--recompute"]],
      [`tiny, full precision, 32 x 256 in micro-batches of ${micro}`, "tiny", 32, 256, micro, ["--variant", "full"]],
      ["nano, 2 x 2048 in micro-batches of 1 (the preset's)", "nano", 2, 2048, 1, []],
      ["95m, 2 x 1024 in micro-batches of 2 (the preset's)", "95m", 2, 1024, 2, []],
      ["95m, 2 x 1024 in micro-batches of 2, blocks recomputed", "95m", 2, 1024, 2, ["--recompute"]],
    ];
const peaks = cases.map(([name, preset, batch, sequence, micro, more]) => {
  const shape = ["--preset", preset, "--batch", `${batch}`, "--sequence", `${sequence}`, "--micro", `${micro}`];
  const result = trainSteps([...shape, "--steps", "1", "--warm", "1", ...more]);
  const { peakRssMiB, peakBackendMiB, parameters } = result;
  console.log(`${name.padEnd(56)} ${peakRssMiB.toFixed(0).padStart(6)} MiB (${peakBackendMiB.toFixed(0)} in tensors)`);
  return { name, preset, batch, sequence, micro, parameters, peakRssMiB, peakBackendMiB };
});

const long = ["--preset", "tiny", "--batch", "2", "--sequence", quick ? "16" : "64", "--steps", `${steps}`];
const { rss } = trainSteps([...long, "--rss-every", `${every}`]) as { rss: { step: number; rssMiB: number }[] };
const settled = rss.slice(Math.ceil(rss.length / 10));
const [least, most] = [Math.min(...settled.map((s) => s.rssMiB)), Math.max(...settled.map((s) => s.rssMiB))];
console.log(
  `resident memory over ${steps} steps: ${rss[0].rssMiB.toFixed(1)} MiB at step ${rss[0].step}; after the first tenth between ${least.toFixed(1)} and ${most.toFixed(1)} MiB`,
);
writeResult(
  "performance-memory",
  {
    ...provenance(["npm run bench -- memory", ...process.argv.slice(2)].join(" ")),
    threads: Number(threads),
    peaks,
    resident: { preset: "tiny", batch: 2, sequence: quick ? 16 : 64, steps, samples: rss },
  },
  quick,
);
