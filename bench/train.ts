/**
 * Whole training steps, ours beside PyTorch's, in one run: rounds in which every program takes its turn, so that a change
 * of the machine's speed meets them all. The answer is checked first: the first loss is ln V, and the loss and gradient
 * norm of a small batch are the reference backend's.
 *
 *   npm run bench:train                         tiny, batch 32 x 256, two threads
 *   npm run bench:train -- --rounds 5 --steps 3 --no-pytorch --isa avx2
 *   npm run bench:train -- --memory 500         resident memory over 500 steps instead
 *
 * PyTorch is the program that stands beside the checkout in ../shared/anchors; without it, or without python3 and torch,
 * only ours is timed, and the run says so. It runs at its best: OpenMP OpenBLAS where it is found, memory kept.
 */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { presetConfig } from "../src/model/index.ts";
import { type Contender, checkSmallStep, findPython, ours, pytorchProgram, type Timing } from "./contenders.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "tiny" },
    batch: { type: "string", default: "32" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    steps: { type: "string", default: "3" },
    isa: { type: "string" },
    backend: { type: "string", default: "auto" },
    memory: { type: "string" },
    "no-pytorch": { type: "boolean", default: false },
    name: { type: "string", default: "train" },
  },
});

const here = import.meta.dirname;
const threads = Number(values.threads);
const shape = {
  preset: values.preset,
  batch: Number(values.batch),
  sequence: presetConfig(values.preset).contextLength,
  threads,
};
const backend = values.backend as "auto" | "native" | "wasm";

function contender(variant: "bitnet" | "full", precision: "auto" | "fp32"): Contender {
  const name = `bitnet.ts ${variant} ${precision === "auto" ? "(auto precision)" : precision}`;
  return ours(name, { ...shape, variant, precision, steps: Number(values.steps), warm: 2, isa: values.isa, backend });
}

function memory(): void {
  // One process, its resident memory sampled by itself every 25 steps.
  const args = ["--preset", values.preset, "--batch", values.batch, "--threads", values.threads];
  const out = execFileSync(
    process.execPath,
    ["--import", "tsx", resolve(here, "train-steps.ts"), ...args, "--steps", values.memory!, "--rss-every", "25"],
    { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 },
  );
  const result = JSON.parse(out.trim().split("\n").at(-1)!);
  const samples: { step: number; rssMiB: number }[] = result.rss;
  for (const { step, rssMiB } of samples) console.log(`step ${step}: ${rssMiB.toFixed(0)} MiB resident`);
  console.log(`peak ${result.peakRssMiB.toFixed(0)} MiB`);
  writeResult(`${values.name}-memory`, { ...provenance(commandLine()), samples, peakRssMiB: result.peakRssMiB });
}

const commandLine = () => ["npm run bench:train --", ...process.argv.slice(2)].join(" ");

function speed(): void {
  const contenders = [contender("bitnet", "auto"), contender("bitnet", "fp32"), contender("full", "auto")];
  const found = values["no-pytorch"] ? { reason: "--no-pytorch" } : findPython(["/usr/bin/python3", "python3"]);
  if ("python" in found)
    for (const mode of ["bitnet_bf16", "bitnet", "full_bf16", "full"] as const)
      contenders.push(pytorchProgram(found, mode, shape, Number(values.steps)));
  else console.log(`PyTorch is not timed: ${found.reason}`);

  const timings = new Map<string, Timing[]>(contenders.map((c) => [c.name, []]));
  for (let round = 1; round <= Number(values.rounds); round++)
    for (const contender of contenders) {
      const timing = contender.run();
      timings.get(contender.name)!.push(timing);
      console.log(
        `round ${round}  ${contender.name.padEnd(34)} ${timing.tokensPerSecond.toFixed(0).padStart(6)} tokens/s  ${timing.peakRssMiB.toFixed(0)} MiB`,
      );
    }

  const rows = contenders.map(({ name }) => {
    const list = timings.get(name)!;
    const speeds = list.map((t) => t.tokensPerSecond);
    return {
      name,
      medianTokensPerSecond: medianOf(speeds),
      bestTokensPerSecond: Math.max(...speeds),
      peakRssMiB: Math.max(...list.map((t) => t.peakRssMiB)),
      // Ours over this one, round by round, so that each ratio is of neighbours in time.
      ratio: medianOf(list.map((t, i) => timings.get(contenders[0].name)![i].tokensPerSecond / t.tokensPerSecond)),
    };
  });
  console.log(`\n${"".padEnd(34)} median tok/s   best   peak MiB   ours / it`);
  for (const row of rows)
    console.log(
      `${row.name.padEnd(34)} ${row.medianTokensPerSecond.toFixed(0).padStart(12)} ${row.bestTokensPerSecond.toFixed(0).padStart(6)} ${row.peakRssMiB.toFixed(0).padStart(10)} ${row.ratio.toFixed(2).padStart(11)}`,
    );
  const { preset, batch, threads } = values;
  writeResult(values.name, {
    ...provenance(commandLine()),
    preset,
    batch: Number(batch),
    threads: Number(threads),
    rows,
  });
}

const { loss, expected } = await checkSmallStep({ preset: values.preset, threads, isa: values.isa, backend });
console.log(`answer checked: loss ${loss.toFixed(4)} (reference ${expected.toFixed(4)})`);
if (values.memory) memory();
else speed();
