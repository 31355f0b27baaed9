/**
 * The frame of a chart as SVG text: title, axes with labels and ticks, a legend. Scales are d3-scale's. Colours are CSS
 * variables of the page, so that a chart follows light, dark and print; text is escaped here.
 */
import type { ScaleBand, ScaleLinear } from "d3-scale";

export const escapeText = (text: string): string =>
  text.replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]!);

export interface Legend {
  name: string;
  /** A CSS colour or variable. */
  color: string;
  dashed?: boolean;
}

export interface FrameOptions {
  width: number;
  height: number;
  /** Said to those who hear a page, and shown when the mouse rests. */
  title: string;
  xLabel: string;
  yLabel: string;
  legend?: readonly Legend[];
  margin?: Partial<Margin>;
}

export interface Margin {
  top: number;
  right: number;
  bottom: number;
  left: number;
}

/** Pixels of 12 px text, at most: in DejaVu Sans, the widest of the fonts that systems show a page in. */
export function textWidth(text: string): number {
  const widthOf = (letter: string) => (/[MWmw@%—]/.test(letter) ? 12 : /[A-Z&…–]/.test(letter) ? 9.6 : 7.7);
  return Array.from(text).reduce((sum, letter) => sum + widthOf(letter), 0);
}

const legendRow = 18;

/** Rows of the legend, as many names in each as fit. */
function legendRows(legend: readonly Legend[], width: number): { entry: Legend; x: number; row: number }[] {
  let [x, row] = [0, 0];
  return legend.map((entry) => {
    const taken = 30 + textWidth(entry.name);
    if (x > 0 && x + taken > width) {
      x = 0;
      row++;
    }
    const place = { entry, x, row };
    x += taken;
    return place;
  });
}

/** Where the plot itself lies. */
export function plotArea({ width, height, legend = [], margin = {} }: FrameOptions) {
  const left = margin.left ?? 56;
  const right = width - (margin.right ?? 24);
  const rows = legendRows(legend, right - left);
  const legendHeight = rows.length === 0 ? 0 : legendRow * (1 + rows[rows.length - 1].row);
  return { left, right, top: (margin.top ?? 12) + legendHeight, bottom: height - (margin.bottom ?? 44), legend: rows };
}

const n = (x: number): string => String(Math.round(x * 100) / 100);

export function frame(options: FrameOptions, body: string): string {
  const { width, height, title, xLabel, yLabel } = options;
  const { left, right, top, bottom, legend } = plotArea(options);
  const legendText = legend.map(({ entry, x, row }) => {
    const y = 12 + row * legendRow;
    const mark = entry.dashed
      ? `<line x1="${n(left + x)}" x2="${n(left + x + 18)}" y1="${n(y - 4)}" y2="${n(y - 4)}" stroke="${entry.color}" stroke-width="2" stroke-dasharray="4 3"/>`
      : `<rect x="${n(left + x)}" y="${n(y - 9)}" width="18" height="10" rx="2" fill="${entry.color}"/>`;
    return `${mark}<text x="${n(left + x + 24)}" y="${n(y)}">${escapeText(entry.name)}</text>`;
  });
  const y = yLabel
    ? `<text class="label" transform="translate(13 ${n((top + bottom) / 2)}) rotate(-90)" text-anchor="middle">${escapeText(yLabel)}</text>`
    : "";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeText(title)}"><title>${escapeText(title)}</title>${legendText.join("")}${body}<text class="label" x="${n((left + right) / 2)}" y="${n(height - 6)}" text-anchor="middle">${escapeText(xLabel)}</text>${y}</svg>`;
}

type Area = ReturnType<typeof plotArea>;

/** Ticks below, and lines up from them. */
export function xAxis(
  scale: ScaleLinear<number, number>,
  { top, bottom }: Area,
  count: number,
  format: (x: number) => string,
): string {
  return scale
    .ticks(count)
    .map(
      (tick) =>
        `<line class="grid" x1="${n(scale(tick))}" x2="${n(scale(tick))}" y1="${n(top)}" y2="${n(bottom)}"/><text x="${n(scale(tick))}" y="${n(bottom + 16)}" text-anchor="middle">${escapeText(format(tick))}</text>`,
    )
    .join("");
}

/** Ticks at the left, and lines to the right from them. */
export function yAxis(
  scale: ScaleLinear<number, number>,
  { left, right }: Area,
  count: number,
  format: (y: number) => string,
): string {
  return scale
    .ticks(count)
    .map(
      (tick) =>
        `<line class="grid" x1="${n(left)}" x2="${n(right)}" y1="${n(scale(tick))}" y2="${n(scale(tick))}"/><text x="${n(left - 6)}" y="${n(scale(tick) + 4)}" text-anchor="end">${escapeText(format(tick))}</text>`,
    )
    .join("");
}

/** Names of bands at the left. */
export function bandAxis(scale: ScaleBand<string>, { left }: Area): string {
  return scale
    .domain()
    .map(
      (name) =>
        `<text x="${n(left - 6)}" y="${n(scale(name)! + scale.bandwidth() / 2 + 4)}" text-anchor="end">${escapeText(name)}</text>`,
    )
    .join("");
}

export const rectangle = (x: number, y: number, width: number, height: number, fill: string, title = ""): string =>
  `<rect x="${n(x)}" y="${n(y)}" width="${n(Math.max(0, width))}" height="${n(Math.max(0, height))}" fill="${fill}">${title ? `<title>${escapeText(title)}</title>` : ""}</rect>`;

export const path = (d: string, color: string, extra = ""): string =>
  `<path d="${d}" fill="none" stroke="${color}" stroke-width="2" ${extra}/>`;

export const segment = (x1: number, y1: number, x2: number, y2: number, color: string, extra = ""): string =>
  `<line x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}" stroke="${color}" ${extra}/>`;

export const dot = (x: number, y: number, r: number, color: string, title: string): string =>
  `<circle cx="${n(x)}" cy="${n(y)}" r="${n(r)}" fill="${color}"><title>${escapeText(title)}</title></circle>`;

export const label = (x: number, y: number, text: string, anchor = "start"): string =>
  `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}">${escapeText(text)}</text>`;
