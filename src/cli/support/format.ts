/** Numbers for people. */

/** 11,417,472 */
export const formatCount = (n: number): string => n.toLocaleString("en-US", { maximumFractionDigits: 0 });

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

/** 92.99 % */
export const formatShare = (share: number, digits = 2): string => `${(100 * share).toFixed(digits)} %`;

/** 7.3 s, 4:05 min, 2:04:05 h */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)} h` : `${m}:${two(s)} min`;
}

/** A rate with what it is of: 1,234 tokens/s. */
export const formatRate = (perSecond: number, unit: string): string =>
  `${perSecond >= 100 ? formatCount(perSecond) : perSecond.toPrecision(3)} ${unit}/s`;

/**
 * Rows as columns, two spaces apart; those named in `right` (by index) end at the same place.
 */
export function formatTable(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}
