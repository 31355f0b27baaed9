/**
 * Who trains in a bench of whole steps: this package in any setting, and PyTorch programs, each as a process of its own
 * that prints one JSON line. The answers are checked before a time is believed: see `ours` and `checkSmallStep`.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { createBackend } from "../src/backends/index.ts";
import { presetConfig, Transformer } from "../src/model/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { Runtime } from "../src/tensor/index.ts";
import { resolveConfig } from "../src/train/config.ts";
import { gradientNorm } from "../src/train/optimizers.ts";

const here = import.meta.dirname;
/** The PyTorch program that stands beside the checkout. */
export const anchors = resolve(here, "../../shared/anchors");

/** Sequences in a micro-batch, as `bitnet train` takes them by default. */
export function presetMicroBatch(preset: string): number {
  const { microBatch, batch } = resolveConfig([{ from: "bench", patch: { preset } }]).train;
  return microBatch ?? batch;
}

export interface Timing {
  tokensPerSecond: number;
  peakRssMiB: number;
  /** The version of torch, where it is PyTorch. */
  torch?: string;
}
export interface Contender {
  name: string;
  /** @throws Error saying what the program said */
  run(): Timing;
}

/** What a step trains on. */
export interface StepShape {
  preset: string;
  batch: number;
  sequence: number;
  threads: number;
}

const seconds = 1000;
/** A program that takes longer than this hangs, or swaps. */
const patience = 600 * seconds;

function runJson(command: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    ...options,
    encoding: "utf8",
    timeout: patience,
    maxBuffer: 1 << 26,
  });
  if (status !== 0) {
    const said = stderr?.trim().split("\n").at(-1) ?? "";
    throw new Error(`${error?.message ?? signal ?? `status ${status}`}${said ? `: ${said.slice(0, 300)}` : ""}`);
  }
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

export interface OursOptions extends StepShape {
  variant?: "bitnet" | "full";
  precision?: "auto" | "fp32" | "bf16" | "int8";
  /** Sequences of a micro-batch; absent: the whole batch at once. */
  micro?: number;
  steps: number;
  warm?: number;
  isa?: string;
  backend?: "auto" | "native" | "wasm";
}

/** This package; the untrained model's loss must be ln V. */
export function ours(name: string, options: OursOptions): Contender {
  const { preset, batch, sequence, threads, variant = "bitnet", precision = "auto", micro, steps, warm = 1 } = options;
  const args = ["--import", "tsx", resolve(here, "train-steps.ts"), "--preset", preset, "--batch", String(batch)];
  args.push("--sequence", String(sequence), "--threads", String(threads), "--variant", variant);
  args.push("--precision", precision, "--steps", String(steps), "--warm", String(warm));
  if (micro) args.push("--micro", String(micro));
  if (options.isa) args.push("--isa", options.isa);
  // Named, so that a missing addon is an error and not a slower backend.
  args.push("--backend", options.backend ?? "native");
  return {
    name,
    run() {
      const result = runJson(process.execPath, args);
      if (!(Math.abs(result.firstLoss / result.expectedFirstLoss - 1) < 0.02))
        throw new Error(`${name}: the first loss is ${result.firstLoss}, expected ${result.expectedFirstLoss}`);
      return { tokensPerSecond: result.tokensPerSecond, peakRssMiB: result.peakRssMiB };
    },
  };
}

export interface Python {
  python: string;
  torch: string;
}

/** An interpreter of these that imports torch and numpy, or why there is none. */
export function findPython(candidates: readonly string[]): Python | { reason: string } {
  if (!existsSync(resolve(anchors, "train_step.py"))) return { reason: "PyTorch: ../shared/anchors is not there" };
  for (const python of candidates) {
    const { status, stdout } = spawnSync(python, ["-c", "import torch, numpy; print(torch.__version__)"], {
      encoding: "utf8",
    });
    if (status === 0) return { python, torch: stdout.trim() };
  }
  return { reason: `PyTorch: no torch and numpy in ${candidates.join(", ")}` };
}

/** Memory is kept, not given back and faulted in anew at each step: a third of PyTorch's time otherwise. */
function bestEnvironment(openblas: boolean): NodeJS.ProcessEnv {
  const openmp = "/usr/lib/x86_64-linux-gnu/openblas-openmp";
  return {
    ...process.env,
    PYTHONDONTWRITEBYTECODE: "1",
    MALLOC_MMAP_MAX_: "0",
    MALLOC_TRIM_THRESHOLD_: "100000000000",
    MALLOC_TOP_PAD_: "268435456",
    // Programs compiled in one round serve the next.
    TORCHINDUCTOR_CACHE_DIR: resolve(here, "../build/bench-inductor"),
    ...(openblas && existsSync(openmp) ? { LD_LIBRARY_PATH: openmp } : {}),
  };
}

export type Mode = "bitnet" | "bitnet_bf16" | "full" | "full_bf16";

/** The anchors' program, unchanged, at the shapes that it knows. */
export function pytorchProgram(python: Python, mode: Mode, shape: StepShape, steps: number): Contender {
  const { preset, batch, sequence, threads } = shape;
  return {
    name: `PyTorch ${mode}`,
    run() {
      const args = ["train_step.py", "--config", preset, "--mode", mode, "--batch", String(batch)];
      args.push("--seq", String(sequence), "--threads", String(threads), "--steps", String(steps), "--warm", "1");
      const result = runJson(python.python, args, { cwd: anchors, env: bestEnvironment(true) });
      return { tokensPerSecond: result.tokens_per_sec, peakRssMiB: result.peak_rss_mib, torch: result.torch };
    },
  };
}

/** What of a current PyTorch is used besides the program as it is. */
export interface PytorchVariant {
  mode: Mode;
  compile?: boolean;
  attention?: "own" | "sdpa";
  lean?: boolean;
  fused?: boolean;
}

export function variantName({ mode, compile, attention, lean, fused }: PytorchVariant): string {
  const parts = [
    mode,
    compile ? "compiled" : "eager",
    attention === "sdpa" && "sdpa",
    lean && "lean",
    fused && "fused",
  ];
  return parts.filter(Boolean).join(", ");
}

/** The same model through bench/pytorch_step.py, at a preset's own shape. */
export function pytorchVariant(
  python: Python,
  variant: PytorchVariant,
  shape: StepShape,
  options: { steps: number; warm: number; check?: boolean; openblas?: boolean; name?: string },
): Contender {
  const config = presetConfig(shape.preset);
  const cfg = {
    vocab: config.vocabSize,
    hidden: config.width,
    layers: config.layers,
    heads: config.heads,
    kv: config.kvHeads,
    ffn: config.hiddenWidth,
    seq: config.contextLength,
    tied: config.tiedHead,
  };
  const { steps, warm, check, openblas = false } = options;
  const args = [resolve(here, "pytorch_step.py"), "--anchors", anchors, "--shape", JSON.stringify(cfg)];
  args.push("--mode", variant.mode, "--batch", String(shape.batch), "--seq", String(shape.sequence));
  args.push("--threads", String(shape.threads), "--steps", String(steps), "--warm", String(warm));
  args.push("--attention", variant.attention ?? "own");
  for (const flag of ["compile", "lean", "fused"] as const) if (variant[flag]) args.push(`--${flag}`);
  if (check) args.push("--check");
  return {
    name: options.name ?? `PyTorch ${python.torch} ${variantName(variant)}`,
    run() {
      const result = runJson(python.python, args, { env: bestEnvironment(openblas) });
      return { tokensPerSecond: result.tokens_per_sec, peakRssMiB: result.peak_rss_mib, torch: result.torch };
    },
  };
}

/**
 * Loss and gradient norm of one small batch, held to the reference backend's: a wrong answer is not worth timing.
 *
 * @returns the two losses. @throws Error naming what is off
 */
export async function checkSmallStep(choice: {
  preset: string;
  threads: number;
  isa?: string;
  backend?: "auto" | "native" | "wasm";
  precision?: "auto" | "fp32" | "int8";
}): Promise<{ loss: number; expected: number }> {
  const answer = async (name: "auto" | "native" | "wasm" | "reference") => {
    const isReference = name === "reference";
    const backend = await createBackend({
      backend: name,
      isa: isReference ? undefined : choice.isa,
      threads: isReference ? 1 : choice.threads,
    });
    const best = backend.supports.bf16 ? "bf16" : "fp32";
    const wanted = isReference || choice.precision === "auto" ? best : (choice.precision ?? best);
    const runtime = new Runtime(backend, wanted);
    const config = { ...presetConfig(choice.preset), layers: 2, vocabSize: 64 };
    const model = new Transformer(runtime, config, 1);
    const random = createRandom(2);
    const ids = () => Int32Array.from({ length: 16 }, () => random.integer(64));
    const batch = { tokens: ids(), batch: 1, length: 16 };
    const targets = ids();
    const value = runtime.gradient(() => model.loss(batch, targets).loss);
    const [loss] = await runtime.readFloats(value);
    const norm = await gradientNorm(runtime, model.parameters);
    backend.close();
    return { loss, norm };
  };
  const expected = await answer("reference");
  const actual = await answer(choice.backend ?? "native");
  // bfloat16 rounds operands by 2^-9; a fiftieth leaves room for int8 codes near a tie that fall the other way.
  for (const key of ["loss", "norm"] as const)
    if (!(Math.abs(actual[key] / expected[key] - 1) < 0.02))
      throw new Error(`the ${key} of a small batch is ${actual[key]}, the reference backend's ${expected[key]}`);
  return { loss: actual.loss, expected: expected.loss };
}
