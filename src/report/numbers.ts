/** Numbers of a report, for people. */
import type { Unit, Value } from "./compare.ts";
import { chanceWord } from "./interpret.ts";

const grouped = (n: number): string => n.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** Four digits that mean something, never in powers of ten for what people read. */
export function formatNumber(x: number): string {
  if (Math.abs(x) >= 1000) return grouped(x);
  if (x === 0) return "0";
  if (Math.abs(x) < 1e-4) return x.toExponential(2);
  return x.toPrecision(4);
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(value >= 1000 ? 4 : 3)} ${units[unit]}`;
}

export function formatMs(ms: number): string {
  if (ms < 1000) return `${ms.toPrecision(3)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toPrecision(3)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)} h` : `${m}:${two(s)} min`;
}

export function formatUnit(value: number, unit: Unit): string {
  switch (unit) {
    case "share":
      return `${(100 * value).toFixed(2)} %`;
    case "bytes":
      return formatBytes(value);
    case "ms":
      return formatMs(value);
    case "tokens/s":
      return `${value >= 100 ? grouped(value) : value.toPrecision(3)} tokens/s`;
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
  return `${formatUnit(value.value, unit)}${error}${value.atChance ? `, ${chanceWord}` : ""}`;
}

function formatError(error: number, unit: Unit): string {
  if (unit === "share") return (100 * error).toFixed(2);
  if (unit === "ms") return formatMs(error);
  if (unit === "bytes") return formatBytes(error);
  if (error >= 10) return grouped(error);
  return error === 0 ? "0" : error.toPrecision(2).replace(/e[+-]?\d+$/, (power) => ` · 10^${Number(power.slice(1))}`);
}
