/**
 * Whole training steps, ours beside PyTorch's: `npm run bench -- steps`. Groups of programs on one model each; in a group
 * they take turns, round by round, so that a change of the machine's speed meets them all, and a ratio is of one round.
 *
 *   tiny   32 x 256: every setting of ours, Debian's PyTorch, and the fastest that a current PyTorch can do
 *   nano    2 x 2048, 95m 2 x 1024: ours beside PyTorch's best
 *
 *   --only tiny,nano     some groups; the others, and the search below, stay as the last result has them
 *   --rounds 3 --steps 3     more of it
 *   --python FILE        an interpreter with a current PyTorch (or BENCH_PYTHON); without one its rows are left out
 *
 * Which current PyTorch is fastest is found first: every variant runs once, checked against the program as it is.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { createBackend, findBackends } from "../src/backends/index.ts";
import {
  type Contender,
  checkSmallStep,
  findPython,
  ours,
  presetMicroBatch,
  type Python,
  type PytorchVariant,
  pytorchProgram,
  pytorchVariant,
  type StepShape,
  type Timing,
  variantName,
} from "./contenders.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "tiny,nano,95m" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string" },
    steps: { type: "string" },
    python: { type: "string", default: process.env.BENCH_PYTHON },
    "no-pytorch": { type: "boolean", default: false },
  },
});
const { quick } = options;
const threads = Number(options.threads);
const only = options.only.split(",");
const steps = Number(options.steps ?? (quick ? 1 : 3));
const leftOut: string[] = [];
const leaveOut = (reason: string) => {
  leftOut.push(reason);
  console.log(`left out: ${reason}`);
};

const shape = (preset: string, batch: number, sequence: number): StepShape =>
  quick ? { preset, batch: 2, sequence: 32, threads } : { preset, batch, sequence, threads };

interface Row {
  key: string;
  name: string;
  torch?: string;
  speeds: number[];
  medianTokensPerSecond: number;
  bestTokensPerSecond: number;
  peakRssMiB: number;
}
interface Group extends StepShape {
  key: string;
  /** When and of what commit. */
  date: string;
  commit: string;
  rows: Row[];
}
interface Variant extends PytorchVariant {
  name: string;
  tokensPerSecond: number;
  peakRssMiB: number;
}

const from = provenance(["npm run bench -- steps", ...process.argv.slice(2)].join(" "));
const all = ["tiny", "nano", "95m"];
const resultFile = resolve(import.meta.dirname, "results/performance-steps.json");
/** The last result, where only some groups are measured again. */
const before: { currentTorch: string | null; variants: Variant[]; groups: Group[] } | null =
  !quick && all.some((key) => !only.includes(key)) && existsSync(resultFile)
    ? JSON.parse(readFileSync(resultFile, "utf8"))
    : null;

/** Rounds in which all take turns. One that fails is left out, by name; where it is ours, the run fails in the end. */
function race(key: string, at: StepShape, rounds: number, contenders: [key: string, Contender][]): Group {
  console.log(`\n${key}: ${at.preset}, ${at.batch} x ${at.sequence}, ${at.threads} threads`);
  const timings = new Map<string, Timing[]>(contenders.map(([name]) => [name, []]));
  const running = new Map(contenders);
  for (let round = 1; round <= rounds; round++)
    for (const [id, contender] of running) {
      try {
        const timing = contender.run();
        timings.get(id)!.push(timing);
        console.log(
          `round ${round}  ${contender.name.padEnd(48)} ${timing.tokensPerSecond.toFixed(0).padStart(6)} tokens/s  ${timing.peakRssMiB.toFixed(0).padStart(6)} MiB`,
        );
      } catch (error) {
        running.delete(id);
        leaveOut(`${key}, ${contender.name}: ${(error as Error).message}`);
        if (contender.name.startsWith("bitnet.ts")) process.exitCode = 1;
      }
    }
  const rows = [...running].map(([id, { name }]) => {
    const list = timings.get(id)!;
    const speeds = list.map((t) => t.tokensPerSecond);
    return {
      ...{ key: id, name, torch: list[0].torch, speeds },
      medianTokensPerSecond: medianOf(speeds),
      bestTokensPerSecond: Math.max(...speeds),
      peakRssMiB: Math.max(...list.map((t) => t.peakRssMiB)),
    };
  });
  return { key, ...at, date: from.date, commit: from.commit, rows };
}

// ---- who is here

const old = options["no-pytorch"] ? { reason: "PyTorch: --no-pytorch" } : findPython(["/usr/bin/python3", "python3"]);
const current: Python | { reason: string } = options["no-pytorch"]
  ? { reason: "a current PyTorch: --no-pytorch" }
  : options.python
    ? existsSync(options.python)
      ? findPython([options.python])
      : { reason: `a current PyTorch: ${options.python} is not there` }
    : { reason: "a current PyTorch: no interpreter was named (--python FILE, or BENCH_PYTHON)" };
for (const found of [old, current]) if ("reason" in found) leaveOut(found.reason);

const best = await createBackend({ backend: "native", threads });
const { isa: bestIsa } = best;
best.close();
const found = await findBackends();
const isHere = (backend: string, isa: string) =>
  found.some(({ choice, absent }) => choice.backend === backend && choice.isa === isa && !absent);
const hasAvx2 = bestIsa !== "avx2" && isHere("native", "avx2");
const hasWasm = isHere("wasm", "simd128");

for (const choice of [
  {},
  { precision: "fp32" as const },
  { precision: "int8" as const },
  ...(hasAvx2 ? [{ isa: "avx2" }] : []),
  ...(hasWasm ? [{ backend: "wasm" as const }] : []),
]) {
  const { loss, expected } = await checkSmallStep({ preset: "tiny", threads, ...choice });
  console.log(`answer checked ${JSON.stringify(choice)}: loss ${loss.toFixed(4)} (reference ${expected.toFixed(4)})`);
}

// ---- the fastest that a current PyTorch can do for BitNet

const everything: PytorchVariant[] = [
  { mode: "bitnet" },
  { mode: "bitnet_bf16" },
  { mode: "bitnet_bf16", attention: "sdpa", lean: true, fused: true },
  { mode: "bitnet", compile: true, attention: "sdpa", fused: true },
  { mode: "bitnet_bf16", compile: true, fused: true },
  { mode: "bitnet_bf16", compile: true, attention: "sdpa", fused: true },
  { mode: "bitnet_bf16", compile: true, attention: "sdpa", lean: true, fused: true },
];
const variants: Variant[] = [];
const tinyShape = shape("tiny", 32, 256);
if (!("reason" in current) && before?.currentTorch === current.torch) {
  for (const known of before.variants) {
    const variant = everything.find((one) => variantName(one) === known.name);
    if (variant) variants.push({ ...variant, ...known });
  }
} else if (!("reason" in current)) {
  console.log(`\nPyTorch ${current.torch}: which variant is fastest`);
  for (const variant of quick ? [everything[1], everything[2]] : everything) {
    const contender = pytorchVariant(current, variant, tinyShape, { steps: 2, warm: 2, check: true });
    try {
      const { tokensPerSecond, peakRssMiB } = contender.run();
      variants.push({ ...variant, name: variantName(variant), tokensPerSecond, peakRssMiB });
      console.log(`${variantName(variant).padEnd(48)} ${tokensPerSecond.toFixed(0).padStart(6)} tokens/s`);
    } catch (error) {
      leaveOut(`${contender.name}: ${(error as Error).message}`);
    }
  }
  variants.sort((a, b) => b.tokensPerSecond - a.tokensPerSecond);
}

// ---- the groups

/** What a step of `bitnet train` is by default: micro-batches of the preset. */
const micro = quick ? 1 : presetMicroBatch("tiny");
const groups: Group[] = before?.groups.filter(({ key }) => !only.includes(key)) ?? [];

if (only.includes("tiny")) {
  const contenders: [string, Contender][] = [
    ["ours", ours("bitnet.ts bitnet", { ...tinyShape, steps, micro })],
    ["ours-whole", ours("bitnet.ts bitnet, the whole batch at once", { ...tinyShape, steps })],
    ["ours-int8", ours("bitnet.ts bitnet, int8", { ...tinyShape, steps, micro, precision: "int8" })],
    ["ours-full", ours("bitnet.ts full", { ...tinyShape, steps, micro, variant: "full" })],
    ["ours-fp32", ours("bitnet.ts bitnet, float32", { ...tinyShape, steps, micro, precision: "fp32" })],
  ];
  if (hasAvx2)
    contenders.push(["ours-avx2", ours("bitnet.ts bitnet, AVX2", { ...tinyShape, steps, micro, isa: "avx2" })]);
  else leaveOut("AVX2 forced: it is the best of this machine already, or not there");
  if (hasWasm)
    contenders.push(["ours-wasm", ours("bitnet.ts bitnet, WASM", { ...tinyShape, steps: 1, micro, backend: "wasm" })]);
  else leaveOut("the WASM backend is not here");
  if (!("reason" in old))
    for (const mode of ["bitnet_bf16", "bitnet", "full_bf16"] as const) {
      const contender = pytorchProgram(old, mode, tinyShape, quick ? 1 : 2);
      contenders.push([`old-${mode}`, { ...contender, name: `PyTorch ${old.torch} ${mode}` }]);
    }
  if (!("reason" in current) && variants[0])
    contenders.push(["current", pytorchVariant(current, variants[0], tinyShape, { steps: quick ? 1 : 2, warm: 2 })]);
  groups.push(race("tiny", tinyShape, Number(options.rounds ?? (quick ? 1 : 3)), contenders));
}
for (const [preset, at] of [
  ["nano", shape("nano", 2, 2048)],
  ["95m", shape("95m", 2, 1024)],
] as const) {
  if (!only.includes(preset) || (quick && preset === "95m")) continue;
  const contenders: [string, Contender][] = [
    ["ours", ours("bitnet.ts bitnet", { ...at, steps: quick ? 1 : 2, micro: 1 })],
    ["ours-whole", ours("bitnet.ts bitnet, the whole batch at once", { ...at, steps: quick ? 1 : 2 })],
    [
      "ours-int8",
      ours("bitnet.ts bitnet, int8, the whole batch at once", { ...at, steps: quick ? 1 : 2, precision: "int8" }),
    ],
  ];
  const settings = { steps: quick ? 1 : 2, warm: 1 };
  if (!("reason" in old)) {
    const name = `PyTorch ${old.torch} bitnet_bf16`;
    contenders.push([
      "old-bitnet_bf16",
      pytorchVariant(old, { mode: "bitnet_bf16" }, at, { ...settings, openblas: true, name }),
    ]);
  }
  if (!("reason" in current) && variants[0])
    contenders.push(["current", pytorchVariant(current, variants[0], at, { ...settings, warm: 2 })]);
  groups.push(race(preset, at, Number(options.rounds ?? (quick ? 1 : 2)), contenders));
}

writeResult(
  "performance-steps",
  {
    ...from,
    isa: bestIsa,
    threads,
    micro,
    currentTorch: "reason" in current ? null : current.torch,
    variants: variants.map(({ name, tokensPerSecond, peakRssMiB }) => ({ name, tokensPerSecond, peakRssMiB })),
    leftOut,
    groups: groups.sort((a, b) => all.indexOf(a.key) - all.indexOf(b.key)),
  },
  quick,
);
