/**
 * Writes docs/results.md and its pictures from bench/results/: no number there is typed in. `npm run docs:results`; a test
 * compares the page with what this makes.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { init } from "echarts";
import { type DataResult, dataPart } from "./results-data.ts";
import { type DedupResult, dedupPart } from "./results-dedup.ts";
import { type EpochsResult, epochsPart, epochsPicture } from "./results-epochs.ts";
import type { PrecisionCurves } from "../bench/precision-curves.ts";
import { precisionPart, precisionPicture } from "./results-precision.ts";

const root = resolve(import.meta.dirname, "..");

interface Provenance {
  date: string;
  commit: string;
  command: string;
  machine: { cpu: string; cores: number; memoryGiB: number; system: string; node: string };
}
interface TrainResult extends Provenance {
  preset: string;
  batch: number;
  threads: number;
  rows: {
    name: string;
    medianTokensPerSecond: number;
    bestTokensPerSecond: number;
    peakRssMiB: number;
    ratio: number;
  }[];
}
interface MemoryResult extends Provenance {
  samples: { step: number; rssMiB: number }[];
  peakRssMiB: number;
}
interface CurveResult extends Provenance {
  series: { name: string; loss: number[] }[];
}
interface QuickstartResult extends Provenance {
  steps: number;
  tokens: number;
  elapsed: string;
  rows: { step: number; additions: number; subtractions: number }[];
}

function read<T>(name: string): T | null {
  const path = resolve(root, "bench/results", `${name}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
}

const table = (head: string[], rows: (string | number)[][]) =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

const origin = ({ date, commit, command, machine }: Provenance) =>
  `\`${command}\`, commit ${commit}, ${date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}.`;

function speed(result: TrainResult): string {
  return `## Speed and memory of a training step

\`${result.preset}\`, batch ${result.batch} x 256, ${result.threads} threads; the programs take turns in one run. "Ours / it" is the first row's speed over the
row's, the median of the rounds.

${table(
  ["", "tokens/s, median", "best", "peak memory, MiB", "ours / it"],
  result.rows.map((r) => [
    r.name,
    Math.round(r.medianTokensPerSecond),
    Math.round(r.bestTokensPerSecond),
    Math.round(r.peakRssMiB),
    r.ratio.toFixed(2),
  ]),
)}

${origin(result)}
`;
}

function memory(result: MemoryResult): string {
  const [first, last] = [result.samples[0], result.samples.at(-1)!];
  const values = result.samples.map((s) => s.rssMiB);
  return `Resident memory over ${last.step} steps of the same: ${Math.round(first.rssMiB)} MiB at step ${first.step}, ${Math.round(last.rssMiB)} MiB at step ${last.step}; between
${Math.round(Math.min(...values))} and ${Math.round(Math.max(...values))} MiB at every ${first.step}th step, peak ${Math.round(result.peakRssMiB)} MiB.

${origin(result)}
`;
}

function curve(result: CurveResult): string {
  const [ours, theirs] = result.series;
  const steps = [1, 50, 100, 150, 200, 250, 300];
  return `## The loss curve beside PyTorch's

\`tiny\`, \`bitnet\`, on TinyStories with its own 2048-token BPE: 300 steps of 32 x 256 tokens, the same tokens in the same order, constant
learning rate 1.5e-3. The two start from different random weights; PyTorch computes in float32, ours in bfloat16 with the integer forward.

![loss curves](curves/tiny-bitnet.svg)

${table(
  ["step", ours.name, theirs.name, "difference"],
  steps.map((s) => {
    const [a, b] = [ours.loss[s - 1], theirs.loss[s - 1]];
    return [s, a.toFixed(4), b.toFixed(4), `${((a / b - 1) * 100).toFixed(2)} %`];
  }),
)}

${origin(result)}
`;
}

function quickstart(result: QuickstartResult): string {
  return `## The quickstart

\`npm run quickstart\`: ${result.steps} steps in ${result.elapsed} min. Held-out problems answered right, of 200 additions and 200 subtractions:

${table(
  ["step", "additions", "subtractions"],
  result.rows.map((r) => [r.step, `${r.additions} %`, `${r.subtractions} %`]),
)}

${origin(result)}
`;
}

/** The page. */
export function resultsPage(): string {
  const parts = [
    "# Results\n\nMeasured here, on the machine that each part names; made by `npm run docs:results` from `bench/results/`.\n",
  ];
  const add = <T>(name: string, part: (result: T) => string) => {
    const result = read<T>(name);
    if (result) parts.push(part(result));
  };
  add<QuickstartResult>("quickstart", quickstart);
  add<CurveResult>("curve-tiny-bitnet", curve);
  add<PrecisionCurves>("precision", precisionPart);
  add<EpochsResult>("epochs", epochsPart);
  add<TrainResult>("train", speed);
  add<MemoryResult>("train-memory", memory);
  add<DataResult>("data", dataPart);
  add<DedupResult>("dedup", dedupPart);
  return parts.join("\n");
}

/** The curves as one SVG. */
export function curvePicture(result: CurveResult): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: 720, height: 400 });
  chart.setOption({
    backgroundColor: "#ffffff",
    animation: false,
    title: { text: "tiny, bitnet: training loss, nats per token", left: "center", textStyle: { fontSize: 15 } },
    legend: { bottom: 4 },
    grid: { left: 60, right: 30, top: 48, bottom: 72 },
    xAxis: { type: "value", name: "step", nameLocation: "middle", nameGap: 26, min: 0, max: 300 },
    yAxis: { type: "value", min: 3, max: 8 },
    series: result.series.map(({ name, loss }, i) => ({
      name,
      type: "line",
      showSymbol: false,
      lineStyle: { width: 1.5, type: i === 0 ? "solid" : "dashed" },
      data: loss.map((value, step) => [step + 1, Number(value.toFixed(4))]),
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(resolve(root, "docs/results.md"), resultsPage());
  const result = read<CurveResult>("curve-tiny-bitnet");
  if (result) writeFileSync(resolve(root, "docs/curves/tiny-bitnet.svg"), curvePicture(result));
  const epochs = read<EpochsResult>("epochs");
  if (epochs) writeFileSync(resolve(root, "docs/curves/epochs.svg"), epochsPicture(epochs));
  const precision = read<PrecisionCurves>("precision");
  if (precision) writeFileSync(resolve(root, "docs/curves/precision.svg"), precisionPicture(precision));
  console.log("written: docs/results.md, docs/curves/");
}
