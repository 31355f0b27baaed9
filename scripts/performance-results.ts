/** What `npm run bench` leaves behind, part by part, and reading it. The writers are bench/*.ts. */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { PrecisionCurves } from "../bench/precision-curves.ts";
import type { Provenance as BenchProvenance } from "../bench/machine.ts";
import type { Peaks } from "../bench/native-helper.ts";

export type Provenance = BenchProvenance;

export interface KernelsResult extends Provenance {
  isa: string;
  threads: number;
  openBlas: string | null;
  peaks: Peaks | null;
  leftOut: string[];
  rows: {
    m: number;
    k: number;
    n: number;
    layout: "NT" | "NN" | "TN";
    kind: string;
    median: number;
    best: number;
    ratio: number | null;
  }[];
}
export interface SweepResult extends Provenance {
  isa: string;
  threads: number;
  checked: number;
  results: {
    series: string;
    product: string;
    worst: { shape: [number, number, number]; speed: number; relative: number };
    points: string[];
  }[];
}
export interface StepsRow {
  key: string;
  name: string;
  torch?: string;
  speeds: number[];
  medianTokensPerSecond: number;
  bestTokensPerSecond: number;
  peakRssMiB: number;
}
export interface StepsResult extends Provenance {
  isa: string;
  threads: number;
  micro: number;
  currentTorch: string | null;
  variants: { name: string; tokensPerSecond: number; peakRssMiB: number }[];
  leftOut: string[];
  groups: {
    key: string;
    preset: string;
    batch: number;
    sequence: number;
    threads: number;
    date: string;
    commit: string;
    rows: StepsRow[];
  }[];
}
export interface ThreadsResult extends Provenance {
  preset: string;
  batch: number;
  sequence: number;
  rows: {
    threads: number;
    speeds: number[];
    medianTokensPerSecond: number;
    bestTokensPerSecond: number;
    ratio: number;
  }[];
}
export interface MemoryResult extends Provenance {
  threads: number;
  peaks: {
    name: string;
    preset: string;
    batch: number;
    sequence: number;
    micro: number;
    parameters: number;
    peakRssMiB: number;
    peakBackendMiB: number;
  }[];
  resident: {
    preset: string;
    batch: number;
    sequence: number;
    steps: number;
    samples: { step: number; rssMiB: number }[];
  };
}
export interface BreakdownResult extends Provenance {
  preset: string;
  variant: string;
  batch: number;
  sequence: number;
  micro: number;
  threads: number;
  steps: number;
  precision: string;
  backend: string;
  isa: string;
  peaks: Peaks | null;
  leftOut: string[];
  wallMs: number;
  rows: {
    phase: "forward" | "backward" | "update";
    op: string;
    kernel: string;
    launches: number;
    ms: number;
    floorMs: number;
    operations: number;
    bytes: number;
    limit: string | null;
  }[];
}

/** Each part's newest result; null where it was not measured. */
export interface Results {
  kernels: KernelsResult | null;
  sweep: SweepResult | null;
  steps: StepsResult | null;
  threads: ThreadsResult | null;
  memory: MemoryResult | null;
  precision: PrecisionCurves | null;
  breakdown: BreakdownResult | null;
}

export function readResults(folder: string): Results {
  const read = (part: string, name = `performance-${part}`) => {
    const path = resolve(folder, `${name}.json`);
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
  };
  return {
    kernels: read("kernels"),
    sweep: read("sweep"),
    steps: read("steps"),
    threads: read("threads"),
    memory: read("memory"),
    precision: read("precision", "precision"),
    breakdown: read("breakdown"),
  };
}
