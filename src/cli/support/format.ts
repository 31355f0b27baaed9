/** Shares, rates and tables for people; counts, bytes and times are platform/format.ts. */
import { formatCount } from "../../platform/format.ts";

export { countOf, formatBytes, formatColumn, formatCount, formatDuration } from "../../platform/format.ts";

/** 92.99 % */
export const formatShare = (share: number, digits = 2): string => `${(100 * share).toFixed(digits)} %`;

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
