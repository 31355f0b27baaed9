/**
 * Writes docs/performance.md and the picture of a step from bench/results/performance-*.json, which `npm run bench` makes:
 * no number there is typed in. `npm run docs:results`; a test compares the page with what this makes.
 *
 *   npx tsx scripts/performance.ts --from build/bench-quick --to build/bench-quick      a trial's page, to look at
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { flamePicture } from "./flame-picture.ts";
import {
  type BreakdownResult,
  type KernelsResult,
  type MemoryResult,
  type Provenance,
  type Results,
  readResults,
  type StepsResult,
  type SweepResult,
  type ThreadsResult,
} from "./performance-results.ts";
import { targets } from "./performance-targets.ts";

const root = resolve(import.meta.dirname, "..");

const table = (head: string[], rows: (string | number)[][]) =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
const round = (value: number, digits = 0) => value.toFixed(digits);

const origin = ({ date, commit, command, loadAverage, machine }: Provenance) =>
  `\`${command}\`, commit ${commit}, ${date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}${
    loadAverage === undefined ? "" : `; load as it began ${loadAverage}`
  }.`;

const missing = (list: readonly string[]) =>
  list.length === 0 ? "" : `\nLeft out:\n\n${list.map((reason) => `- ${reason}`).join("\n")}\n`;

function kernels(result: KernelsResult): string {
  const { peaks, rows } = result;
  const unitOf = (kind: string) =>
    kind === "int8" ? ("int8" as const) : kind.endsWith("bfloat16") ? ("bfloat16" as const) : ("float32" as const);
  return `## Matrix products

Operations a second of one product of M rows, ${result.threads} threads, ${result.isa}; OpenBLAS (${result.openBlas ?? "not here"}) multiplies the
same layout in float32, in turns with ours. NT is y = x · wᵀ, NN dx = dy · w, TN dw = dyᵀ · x. "int8" is BitLinear's exact forward, "ternary" its
gradients. The floor is the time at the unit's peak rate${peaks ? `, measured in the same run: ${round(peaks.float32)} GFLOP/s float32, ${round(peaks.bfloat16)} bfloat16, ${round(peaks.int8)} GOP/s int8; memory is read at ${round(peaks.readGBs, 1)} GB/s` : ""}.

${table(
  ["M x K x N", "layout", "operands", "GOP/s, median", "best", "ms", "floor, ms", "of OpenBLAS"],
  rows.map((r) => {
    const gop = (2 * r.m * r.k * r.n) / 1e9;
    const peak = peaks && r.kind !== "OpenBLAS" ? peaks[unitOf(r.kind)] || peaks.float32 : null;
    return [
      `${r.m} x ${r.k} x ${r.n}`,
      r.layout,
      r.kind,
      round(r.median),
      round(r.best),
      round((1e3 * gop) / r.median, 2),
      peak ? round((1e3 * gop) / peak, 2) : "",
      r.ratio === null || r.kind === "OpenBLAS" ? "" : round(r.ratio, 2),
    ];
  }),
)}

${origin(result)}
${missing(result.leftOut)}`;
}

function sweep(result: SweepResult): string {
  return `## Odd shapes

${result.checked} products of odd sizes, every answer checked, one size varied at a time; each speed beside the better of the next smaller and the next larger
shape. The worst of each product:

${table(
  ["varied", "product", "worst, of its neighbours", "at M x K x N", "GOP/s there"],
  result.results.map(({ series, product, worst }) => [
    series,
    product,
    round(worst.relative, 2),
    worst.shape.join(" x "),
    round(worst.speed, 1),
  ]),
)}

${origin(result)}
`;
}

function steps(result: StepsResult, breakdown: BreakdownResult | null): string {
  const parts = result.groups.map((group) => {
    const base = group.rows.find(({ key }) => key === "ours");
    const ratio = (speeds: number[]) =>
      base && speeds.length === base.speeds.length
        ? round(median(speeds.map((speed, i) => base.speeds[i] / speed)), 2)
        : "";
    return `### \`${group.preset}\`, ${group.batch} x ${group.sequence}

${table(
  ["", "tokens/s, median", "best", "ms a step", "peak memory, MiB", "first row / it"],
  group.rows.map((r) => [
    r.name,
    round(r.medianTokensPerSecond),
    round(r.bestTokensPerSecond),
    round((group.batch * group.sequence * 1e3) / r.medianTokensPerSecond),
    round(r.peakRssMiB),
    ratio(r.speeds),
  ]),
)}

Commit ${group.commit}, ${group.date.slice(0, 10)}.
`;
  });
  const floor = breakdown?.peaks
    ? `\nThe floor of \`${breakdown.preset}\`'s step is ${round(breakdown.rows.reduce((sum, r) => sum + r.floorMs, 0))} ms (the sum of its kernels' floors, below).\n`
    : "";
  const variants =
    result.variants.length === 0
      ? ""
      : `### What a current PyTorch can do

PyTorch ${result.currentTorch}, every variant once, its loss held to the program's as it is; the fastest races above. sdpa: its own flash attention; lean:
quantisers outside autograd; fused: its fused AdamW. Not among them: parameters in bfloat16, in whose rounding small updates are lost, and
max-autotune, whose products on a processor want weights that do not change.

${table(
  ["variant", "tokens/s", "peak memory, MiB"],
  result.variants.map((v) => [v.name, round(v.tokensPerSecond), round(v.peakRssMiB)]),
)}
`;
  return `## Whole steps

${result.threads} threads, ${result.isa}; forward, backward, clipping and AdamW. The programs of a table take turns, and a ratio is of one round. \`bitnet.ts bitnet\` is what \`bitnet train\`
does: the preset's micro-batches (${result.micro} sequences for \`tiny\`).
${floor}
${parts.join("\n")}
${variants}
${origin(result)}
${missing(result.leftOut)}`;
}

const median = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

function threads(result: ThreadsResult): string {
  return `## Threads

\`${result.preset}\`, ${result.batch} x ${result.sequence}:

${table(
  ["threads", "tokens/s, median", "best", "of one"],
  result.rows.map((r) => [r.threads, round(r.medianTokensPerSecond), round(r.bestTokensPerSecond), round(r.ratio, 3)]),
)}

${origin(result)}
`;
}

function memory(result: MemoryResult): string {
  const { samples, steps, batch, sequence, preset } = result.resident;
  const [first, last] = [samples[0], samples.at(-1)!];
  const values = samples.map((s) => s.rssMiB);
  return `## Memory

The most that the process ever held, Node and program included, and of that in tensors:

${table(
  ["", "parameters", "peak, MiB", "in tensors, MiB"],
  result.peaks.map((p) => [p.name, p.parameters, round(p.peakRssMiB), round(p.peakBackendMiB)]),
)}

Resident memory over ${steps} steps of \`${preset}\` (${batch} x ${sequence} tokens): ${round(first.rssMiB, 1)} MiB at step ${first.step}, ${round(last.rssMiB, 1)} MiB at step ${last.step}; between ${round(Math.min(...values), 1)} and ${round(Math.max(...values), 1)} MiB.

${origin(result)}
`;
}

const precision = `## bfloat16 and int8 in backward

Their curves beside float32's, and that of AdamW with moments of eight bits: [results](results.md#float32-bfloat16-int8-and-moments-of-eight-bits).
`;

function breakdown(result: BreakdownResult): string {
  const inKernels = result.rows.reduce((sum, r) => sum + r.ms, 0);
  const floors = result.rows.reduce((sum, r) => sum + r.floorMs, 0);
  const rows = [...result.rows].sort((a, b) => b.ms - a.ms);
  return `## Where a step goes

\`${result.preset}\`, \`${result.variant}\`, ${result.batch} x ${result.sequence} in micro-batches of ${result.micro}, ${result.threads} threads, ${result.backend} ${result.isa}: ${round(result.wallMs)} ms (median of ${result.steps}), of them
${round(inKernels)} in kernels. As wide as its time; the dark part of a kernel is its floor.

![one step, kernel by kernel](curves/step-breakdown.svg)

A floor is what the operations take at the unit's peak rate, or the bytes of its arrays (each once) at the rate at which memory is read, whichever is more.
Arrays that stay in cache can be faster than that.

${table(
  ["phase", "op", "kernel", "launches", "ms", "share", "floor, ms", "limit", "of its floor"],
  [
    ...rows.map((r) => [
      r.phase,
      r.op,
      `\`${r.kernel}\``,
      r.launches,
      round(r.ms, 2),
      `${round((100 * r.ms) / result.wallMs, 1)} %`,
      result.peaks ? round(r.floorMs, 2) : "",
      r.limit ?? "",
      result.peaks && r.floorMs > 0 ? `${round((100 * r.floorMs) / r.ms)} %` : "",
    ]),
    [
      "",
      "",
      "outside kernels",
      "",
      round(result.wallMs - inKernels, 2),
      `${round(100 - (100 * inKernels) / result.wallMs, 1)} %`,
      "",
      "",
      "",
    ],
    [
      "",
      "",
      "all",
      rows.reduce((sum, r) => sum + r.launches, 0),
      round(result.wallMs, 2),
      "100 %",
      result.peaks ? round(floors, 2) : "",
      "",
      result.peaks ? `${round((100 * floors) / result.wallMs)} %` : "",
    ],
  ],
)}

${origin(result)}
${missing(result.leftOut)}`;
}

/** Sections of the log that say in their title that something did not help, whole. */
function tried(): string {
  const sections = readFileSync(resolve(root, "docs/log.md"), "utf8").split(/^## /m).slice(1);
  const bodies = sections.flatMap((section) => {
    const end = section.indexOf("\n");
    return /did not help/i.test(section.slice(0, end)) ? [section.slice(end).trim()] : [];
  });
  return `## What was tried and did not help

${bodies.join("\n\n")}

From [the log](log.md), which also has what was measured along with what was kept.
`;
}

/** The page. */
export function performancePage(results: Results): string {
  const absent: string[] = [];
  const part = <R>(name: string, result: R | null, draw: (result: R) => string) => {
    if (result) return [draw(result)];
    absent.push(`\`npm run bench -- ${name}\``);
    return [];
  };
  const body = [
    ...part("kernels", results.kernels, kernels),
    ...part("sweep", results.sweep, sweep),
    ...part("steps", results.steps, (r) => steps(r, results.breakdown)),
    ...part("threads", results.threads, threads),
    ...part("memory", results.memory, memory),
    ...part("precision", results.precision, () => precision),
    ...part("breakdown", results.breakdown, breakdown),
    tried(),
  ];
  const notYet = absent.length > 0 ? `\nNot measured yet: ${absent.join(", ")}.\n` : "";
  return `# Performance

Measured here, on the machine that each part names; made by \`npm run docs:results\` from what \`npm run bench\` leaves in \`bench/results/\`. Every bench checks the answer
before it times; what is compared takes turns in one run.
${notYet}
## What it must show

The limit is what the machine would give if every kernel ran at its floor.

${table(
  ["", "must be", "is", "limit", ""],
  targets(results).map((t) => [
    t.name,
    t.must,
    t.is ?? "not measured",
    t.limit ?? "",
    t.reached === null ? "" : t.reached ? "reached" : "**not reached**",
  ]),
)}

${body.join("\n")}`;
}

/** The picture of a step, or null where there is no breakdown. */
export const stepPicture = ({ breakdown: result }: Results) => (result ? flamePicture(result) : null);

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: { from: { type: "string", default: "bench/results" }, to: { type: "string", default: "docs" } },
  });
  const to = resolve(root, values.to);
  const results = readResults(resolve(root, values.from));
  writeFileSync(resolve(to, "performance.md"), performancePage(results));
  const picture = stepPicture(results);
  const folder = existsSync(resolve(to, "curves")) ? resolve(to, "curves") : to;
  if (picture) writeFileSync(resolve(folder, "step-breakdown.svg"), picture);
  console.log(`written: ${values.to}/performance.md${picture ? ", and step-breakdown.svg" : ""}`);
}
