/** Numbers for people, as the commands and the reports write them. */

/** 11,417,472 */
export const formatCount = (n: number): string => n.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** 1 thread; 1,234 threads. Of nouns that take an s. */
export const countOf = (n: number, noun: string): string => `${formatCount(n)} ${noun}${n === 1 ? "" : "s"}`;

/** 1.31 GiB; powers of 1024, three digits. */
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

/** 4:05 min, 2:04:05 h: from a minute on; below, by `short`. Default: 7.3 s. */
export function formatDuration(
  ms: number,
  short: (ms: number) => string = (value) => `${(value / 1000).toFixed(1)} s`,
): string {
  const seconds = ms / 1000;
  if (seconds < 60) return short(ms);
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)} h` : `${m}:${two(s)} min`;
}

export interface NumberColumn {
  /** All its numbers are divided by 10^power: 0, -3, -6 ... */
  power: number;
  /** ", 10^-3" behind a heading; empty for power 0. */
  unit: string;
  /** A number without its error. */
  format(x: number): string;
  /** "4.519 ± 0.810" */
  cells: string[];
}

/** Numbers of one column in one unit, a power of a thousand, with so many digits that the largest has four. */
export function formatColumn(
  values: readonly { readonly value: number; readonly standardError: number | null }[],
): NumberColumn {
  const most = values.reduce((largest, { value }) => Math.max(largest, Math.abs(value)), 0);
  const power = most > 0 ? Math.min(0, 3 * Math.floor((Math.log10(most) + 1) / 3)) : 0;
  const digits = most > 0 ? Math.max(0, 3 - Math.floor(Math.log10(most / 10 ** power))) : 0;
  const format = (x: number) => (x / 10 ** power).toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1");
  return {
    power,
    unit: power === 0 ? "" : `, 10^${power}`,
    format,
    cells: values.map(({ value, standardError }) =>
      standardError === null ? format(value) : `${format(value)} ± ${format(standardError)}`,
    ),
  };
}
