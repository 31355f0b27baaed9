/** Numbers of a report, for people. */
import { formatBytes, formatCount, formatDuration } from "../platform/format.ts";
import type { Unit, Value } from "./compare.ts";
import { chanceWord } from "./interpret.ts";

/** Four digits that mean something, never in powers of ten for what people read. */
export function formatNumber(x: number): string {
  if (Math.abs(x) >= 1000) return formatCount(x);
  if (x === 0) return "0";
  if (Math.abs(x) < 1e-4) return x.toExponential(2);
  return x.toPrecision(4);
}

/** 12.0 ms, 7.30 s, 4:05 min: short times are results here, and have three digits. */
const formatMs = (ms: number): string =>
  formatDuration(ms, (short) => (short < 1000 ? `${short.toPrecision(3)} ms` : `${(short / 1000).toPrecision(3)} s`));

export function formatUnit(value: number, unit: Unit): string {
  switch (unit) {
    case "share":
      return `${(100 * value).toFixed(2)} %`;
    case "bytes":
      return formatBytes(value);
    case "ms":
      return formatMs(value);
    case "tokens/s":
      return `${value >= 100 ? formatCount(value) : value.toPrecision(3)} tokens/s`;
    case "bits":
    case "bits a weight":
      return `${value.toFixed(3)} bits`;
    case "nats":
      return `${value.toFixed(4)} nats`;
    default:
      return formatNumber(value);
  }
}

/** The value, with its standard error where there is one. */
export function formatValue(value: Value | null, unit: Unit): string {
  if (value === null) return "not measured";
  const error = value.standardError === null ? "" : ` ± ${formatError(value.standardError, unit)}`;
  return `${formatUnit(value.value, unit)}${error}${value.atChance ? `, ${chanceWord}` : value.belowChance ? ", below chance" : ""}`;
}

function formatError(error: number, unit: Unit): string {
  if (unit === "share") return (100 * error).toFixed(2);
  if (unit === "ms") return formatMs(error);
  if (unit === "bytes") return formatBytes(error);
  if (error >= 10) return formatCount(error);
  return error === 0 ? "0" : error.toPrecision(2).replace(/e[+-]?\d+$/, (power) => ` · 10^${Number(power.slice(1))}`);
}
