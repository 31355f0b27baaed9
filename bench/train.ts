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
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { presetConfig, Transformer } from "../src/model/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { Runtime } from "../src/tensor/index.ts";
import { createAdamW } from "../src/train/optimizers.ts";
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
const anchors = resolve(here, "../../shared/anchors");

interface Timing {
  tokensPerSecond: number;
  peakRssMiB: number;
}
interface Contender {
  name: string;
  run(): Timing;
}

function ours(variant: "bitnet" | "full", precision: "auto" | "fp32"): Contender {
  const args = ["--preset", values.preset, "--batch", values.batch, "--threads", values.threads];
  args.push("--variant", variant, "--precision", precision, "--steps", values.steps, "--backend", values.backend);
  if (values.isa) args.push("--isa", values.isa);
  return {
    name: `bitnet.ts ${variant} ${precision === "auto" ? "(auto precision)" : precision}`,
    run() {
      const out = execFileSync(process.execPath, ["--import", "tsx", resolve(here, "train-steps.ts"), ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      });
      const result = JSON.parse(out.trim().split("\n").at(-1)!);
      // Held here, before any time is believed: an untrained model knows nothing, so its loss is ln V.
      if (Math.abs(result.firstLoss / result.expectedFirstLoss - 1) > 0.02)
        throw new Error(`${this.name}: the first loss is ${result.firstLoss}, expected ${result.expectedFirstLoss}`);
      return { tokensPerSecond: result.tokensPerSecond, peakRssMiB: result.peakRssMiB };
    },
  };
}

/** A python3 that imports torch, or why there is none. */
function findPython(): { python: string } | { reason: string } {
  if (!existsSync(resolve(anchors, "train_step.py"))) return { reason: "../shared/anchors is not there" };
  for (const python of ["/usr/bin/python3", "python3"])
    if (spawnSync(python, ["-c", "import torch, numpy"]).status === 0) return { python };
  return { reason: "no python3 with torch and numpy was found" };
}

function pytorch(python: string, mode: string): Contender {
  const openmp = "/usr/lib/x86_64-linux-gnu/openblas-openmp";
  return {
    name: `PyTorch ${mode}`,
    run() {
      const out = execFileSync(
        python,
        // biome-ignore format: one option a pair
        ["train_step.py", "--config", values.preset, "--mode", mode, "--batch", values.batch,
         "--threads", values.threads, "--steps", values.steps, "--warm", "1"],
        {
          cwd: anchors,
          encoding: "utf8",
          env: {
            ...process.env,
            PYTHONDONTWRITEBYTECODE: "1",
            MALLOC_MMAP_MAX_: "0",
            MALLOC_TRIM_THRESHOLD_: "100000000000",
            MALLOC_TOP_PAD_: "268435456",
            ...(existsSync(openmp) ? { LD_LIBRARY_PATH: openmp } : {}),
          },
        },
      );
      const result = JSON.parse(out.trim().split("\n").at(-1)!);
      return { tokensPerSecond: result.tokens_per_sec, peakRssMiB: result.peak_rss_mib };
    },
  };
}

/** Loss and gradient norm of one small batch, held to the reference backend's: a wrong answer is not worth timing. */
async function checkAnswer(): Promise<void> {
  const answer = async (name: "auto" | "native" | "wasm" | "reference") => {
    const isa = name === "reference" ? undefined : values.isa;
    const backend = await createBackend({
      backend: name,
      isa,
      threads: name === "reference" ? 1 : Number(values.threads),
    });
    const runtime = new Runtime(backend, backend.supports.bf16 ? "bf16" : "fp32");
    const config = { ...presetConfig(values.preset), layers: 2, vocabSize: 64 };
    const model = new Transformer(runtime, config, 1);
    const random = createRandom(2);
    const ids = () => Int32Array.from({ length: 16 }, () => random.integer(64));
    const batch = { tokens: ids(), batch: 1, length: 16 };
    const targets = ids();
    const value = runtime.gradient(() => model.loss(batch, targets).loss);
    const [loss] = await runtime.readFloats(value);
    const norm = await createAdamW(runtime, model.parameters).gradientNorm();
    backend.close();
    return { loss, norm };
  };
  const expected = await answer("reference");
  const actual = await answer(values.backend as "auto");
  // bfloat16 rounds operands by 2^-9; a fiftieth leaves room for int8 codes near a tie that fall the other way.
  for (const key of ["loss", "norm"] as const)
    if (!(Math.abs(actual[key] / expected[key] - 1) < 0.02))
      throw new Error(`the ${key} of a small batch is ${actual[key]}, the reference backend's ${expected[key]}`);
  console.log(`answer checked: loss ${actual.loss.toFixed(4)} (reference ${expected.loss.toFixed(4)})`);
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
  const contenders = [ours("bitnet", "auto"), ours("bitnet", "fp32"), ours("full", "auto")];
  const found = values["no-pytorch"] ? { reason: "--no-pytorch" } : findPython();
  if ("python" in found)
    for (const mode of ["bitnet_bf16", "bitnet", "full_bf16", "full"]) contenders.push(pytorch(found.python, mode));
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

await checkAnswer();
if (values.memory) memory();
else speed();
