/** Curves as text, in block characters of an eighth of a line each: for terminals, logs and comments of a config. */

export interface TextCurve {
  name: string;
  /** From left to right, a column each; NaN is left blank. */
  values: readonly number[];
}

const eighths = " ▁▂▃▄▅▆▇█";

/** Digits enough to tell values apart. */
const formatValue = (value: number): string => String(Number(value.toPrecision(3)));

/**
 * A chart from 0 (or the lowest value below it) to the highest value: its name, `rows` lines of blocks between the two values,
 * an axis with `from` and `to` at its ends. A curve of one value is a line of words.
 */
export function drawChart({ name, values }: TextCurve, { rows = 5, from = "", to = "" } = {}): string[] {
  const known = values.filter(Number.isFinite);
  if (known.length === 0) return [`${name}: none`];
  if (new Set(values).size === 1) return [`${name}: ${formatValue(values[0])} throughout`];
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const levels = values.map((value) => Math.round(((value - low) / (high - low)) * 8 * rows));
  const [top, bottom] = [formatValue(high), formatValue(low)];
  const width = Math.max(top.length, bottom.length);
  const lines = Array.from({ length: rows }, (_, row) => {
    const beside = row === 0 ? top : row === rows - 1 ? bottom : "";
    return `${beside.padStart(width)} │${blocks(levels, (rows - 1 - row) * 8)}`.trimEnd();
  });
  const gap = Math.max(1, values.length - from.length - to.length);
  return [
    name,
    ...lines,
    `${" ".repeat(width)} └${"─".repeat(values.length)}`,
    `${" ".repeat(width + 2)}${from}${" ".repeat(gap)}${to}`.trimEnd(),
  ];
}

/** Curves between 0 and 1, a line each, their names in front. */
export function drawLines(curves: readonly TextCurve[]): string[] {
  const width = Math.max(0, ...curves.map(({ name }) => name.length));
  return curves.map(({ name, values }) => {
    const levels = values.map((value) => Math.round(value * 8));
    return `${name.padEnd(width)} │${blocks(levels, 0)}`.trimEnd();
  });
}

/** What is above `floor` of each level, up to a whole block. */
const blocks = (levels: readonly number[], floor: number): string =>
  levels.map((level) => eighths[Math.max(0, Math.min(8, Number.isNaN(level) ? 0 : level - floor))]).join("");
