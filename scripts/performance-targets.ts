/** What training must show, as thresholds over the results of `npm run bench`. Called by performance.ts; and tested. */
import { furthestApart } from "./results-precision.ts";
import { medianOf } from "../bench/machine.ts";
import type { KernelsResult, Results, StepsResult } from "./performance-results.ts";

export interface Target {
  name: string;
  must: string;
  /** null: not measured. */
  is: string | null;
  /** What the machine would give at most, in the same terms. */
  limit: string | null;
  reached: boolean | null;
}

/** exp of the mean of logarithms. */
export const geometricMean = (values: readonly number[]) =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

function product(kernels: KernelsResult | null, kind: "float32" | "bfloat16" | "int8", least: number): Target {
  const rows = kernels?.rows.filter((row) => row.kind === kind) ?? [];
  const base = {
    name: `${kind === "int8" ? "int8 x ternary" : kind} products / OpenBLAS sgemm, geometric mean`,
    least,
  };
  if (rows.length === 0 || rows.some(({ ratio }) => ratio === null)) return atLeast({ ...base, value: null });
  const peak = kernels?.peaks?.[kind];
  const blas = rows.map(
    (row) =>
      kernels!.rows.find(
        (other) => other.kind === "OpenBLAS" && other.k === row.k && other.n === row.n && other.layout === row.layout,
      )!.median,
  );
  const limit = peak ? peak / geometricMean(blas) : null;
  return atLeast({ ...base, value: geometricMean(rows.map(({ ratio }) => ratio!)), limit });
}

function atLeast(t: {
  name: string;
  least: number;
  value: number | null;
  limit?: number | null;
  note?: string;
}): Target {
  const { name, least, value, limit, note } = t;
  return {
    name,
    must: `at least ${least}`,
    is: value === null ? null : `${value.toFixed(2)}${note ? ` (${note})` : ""}`,
    limit: limit ? limit.toFixed(2) : null,
    reached: value === null ? null : value >= least,
  };
}

/** Median over the rounds of one row's speed over another's, or null where either is not there. */
export function speedRatio(steps: StepsResult | null, group: string, ours: string, theirs: string): number | null {
  const rows = steps?.groups.find(({ key }) => key === group)?.rows ?? [];
  const [a, b] = [ours, theirs].map((key) => rows.find((row) => row.key === key)?.speeds);
  return a && b && a.length === b.length && a.length > 0 ? medianOf(a.map((speed, i) => speed / b[i])) : null;
}

export function targets(results: Results): Target[] {
  const { kernels, sweep, steps, threads, memory, precision, breakdown } = results;
  /** The furthest that a precision's curve goes from float32's. */
  const curve = (name: string, of: string): Target => {
    const series = precision?.series.find((one) => one.precision === of && one.optimizer === "adamw");
    const apart = precision && series ? furthestApart(series.loss, precision.series[0].loss).difference : null;
    return {
      name: `loss with ${name} in backward, from float32's, at every step of ${precision?.steps ?? 300}`,
      must: "within 1 %",
      is: apart === null ? null : `${apart < 0 ? "-" : "+"}${(100 * Math.abs(apart)).toFixed(2)} %, at the furthest`,
      limit: null,
      reached: apart === null ? null : Math.abs(apart) <= 0.01,
    };
  };
  const rowOf = (group: string, key: string) =>
    steps?.groups.find((g) => g.key === group)?.rows.find((row) => row.key === key);

  // Tokens a second if every kernel of a step ran at its floor.
  const floorMs = breakdown?.peaks ? breakdown.rows.reduce((sum, row) => sum + row.floorMs, 0) : 0;
  const isTiny = breakdown?.preset === "tiny" && breakdown.backend === "native";
  const most = isTiny && floorMs > 0 ? (breakdown.batch * breakdown.sequence * 1e3) / floorMs : null;
  const step = (name: string, least: number, ours: string, theirs: string, limited = false, note?: string) => {
    const peer = rowOf("tiny", theirs);
    return atLeast({
      name: `\`tiny\` step, ${name}`,
      least,
      value: speedRatio(steps, "tiny", ours, theirs),
      limit: limited && most && peer ? most / peer.medianTokensPerSecond : null,
      note,
    });
  };
  /** Where PyTorch may take any precision, so may we: the faster, and what bfloat16 gives. */
  const fastest = (group: string, theirs: string) => {
    const [int8, bf16] = ["ours-int8", "ours"].map((key) => speedRatio(steps, group, key, theirs));
    return int8 !== null && bf16 !== null && int8 > bf16
      ? { key: "ours-int8", value: int8, note: `precision int8; bf16 ${bf16.toFixed(2)}` }
      : { key: "ours", value: bf16, note: undefined };
  };

  /** Against the fastest PyTorch there is in the group. */
  const long = (preset: string) => {
    const peers = ["old-bitnet_bf16", "current"]
      .map((key) => ({ row: rowOf(preset, key), ours: fastest(preset, key) }))
      .filter((peer) => peer.ours.value !== null)
      .sort((a, b) => a.ours.value! - b.ours.value!);
    const group = steps?.groups.find(({ key }) => key === preset);
    return atLeast({
      name: `\`${preset}\`${group ? `, ${group.batch} x ${group.sequence}` : ""} / the fastest PyTorch here`,
      least: 1.5,
      value: peers[0]?.ours.value ?? null,
      note: peers[0] && [peers[0].row?.name, peers[0].ours.note].filter(Boolean).join("; "),
    });
  };

  const ours = rowOf("tiny", "ours");
  const gigabytes = ours ? (ours.peakRssMiB * 2 ** 20) / 1e9 : null;
  const worst = sweep ? Math.min(...sweep.results.map((r) => r.worst.relative)) : null;
  const twoThreads = threads?.rows.find((row) => row.threads === 2);

  // Flat: what the last tenth of the steps holds is what the second tenth held.
  const samples = memory?.resident.samples ?? [];
  const tenth = Math.max(1, Math.floor(samples.length / 10));
  const mean = (part: typeof samples) => part.reduce((sum, s) => sum + s.rssMiB, 0) / part.length;
  const growth =
    samples.length >= 3 * tenth ? mean(samples.slice(-tenth)) / mean(samples.slice(tenth, 2 * tenth)) - 1 : null;

  const anyPrecision = fastest("tiny", "current");
  return [
    product(kernels, "float32", 0.95),
    product(kernels, "bfloat16", 1.9),
    product(kernels, "int8", 3.8),
    step("`bitnet` / PyTorch 1.13 bfloat16 BitNet", 1.8, "ours", "old-bitnet_bf16", true),
    step("`bitnet` / PyTorch 1.13 float32 BitNet", 3, "ours", "old-bitnet", true),
    step(
      "`bitnet` / the fastest that a current PyTorch can do for BitNet",
      1.4,
      anyPrecision.key,
      "current",
      anyPrecision.key === "ours",
      anyPrecision.note,
    ),
    step("`bitnet` / our own `full` at the same precision", 1, "ours", "ours-full"),
    {
      name: "peak memory of that step",
      must: "at most 1.0 GB",
      is: gigabytes === null ? null : `${gigabytes.toFixed(2)} GB`,
      limit: null,
      reached: gigabytes === null ? null : gigabytes <= 1,
    },
    long("nano"),
    long("95m"),
    atLeast({ name: "1 to 2 threads", least: 1.85, value: twoThreads?.ratio ?? null, limit: twoThreads ? 2 : null }),
    step("`bitnet` with AVX2 forced / PyTorch 1.13 float32 BitNet", 1.6, "ours-avx2", "old-bitnet"),
    step("`bitnet` on the WASM backend / PyTorch 1.13 float32 BitNet", 0.5, "ours-wasm", "old-bitnet"),
    curve("bfloat16", "bf16"),
    curve("int8", "int8"),
    {
      name: `resident memory${memory ? ` over ${memory.resident.steps} steps` : ""}, growth from the second tenth to the last`,
      must: "at most 1 %",
      is: growth === null ? null : `${(100 * growth).toFixed(2)} %`,
      limit: null,
      reached: growth === null ? null : growth <= 0.01,
    },
    atLeast({ name: "products of odd shapes / their neighbours, the worst", least: 0.5, value: worst }),
  ];
}
