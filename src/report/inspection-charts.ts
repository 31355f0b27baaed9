/** The charts of a page about text: lengths, documents kept and dropped, reasons, tokens per byte, clusters of duplicates. */
import { scaleBand, scaleLinear } from "d3-scale";
import { type Inspection, tokensPerByte } from "../corpus/index.ts";
import type { DrawnChart } from "./page.ts";
import { bandAxis, frame, type FrameOptions, label, plotArea, rectangle, textWidth, xAxis } from "./svg.ts";

const counted = (n: number): string => n.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** 1,200 as "1.2 k": for ticks. */
const short = (n: number): string =>
  n >= 1e9 ? `${n / 1e9} G` : n >= 1e6 ? `${n / 1e6} M` : n >= 1e3 ? `${n / 1e3} k` : String(n);

interface Bar {
  name: string;
  /** Said behind the name. */
  value: string;
  /** One after another, with their colours. */
  parts: { value: number; color: string; title: string }[];
}

const barRow = 36;

/** Bars with their names above them, so that long names fit on a phone too. */
function bars(
  rows: readonly Bar[],
  options: Pick<FrameOptions, "width" | "title" | "xLabel" | "legend">,
  format: (x: number) => string = short,
): string {
  const rowsOfLegend = options.legend?.length ? 22 : 0;
  const full: FrameOptions = {
    ...options,
    yLabel: "",
    height: 60 + rowsOfLegend + rows.length * barRow,
    margin: { left: 12, right: 16, top: 10, bottom: 44 },
  };
  const area = plotArea(full);
  const most = Math.max(...rows.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0)));
  const x = scaleLinear([0, most || 1], [area.left, area.right]);
  const body = rows.map(({ name, value, parts }, i) => {
    const top = area.top + i * barRow;
    const room = area.right - area.left - textWidth(value) - 12;
    let from = 0;
    const drawn = parts.map((part) => {
      const left = x(from);
      from += part.value;
      return rectangle(left, top + 18, Math.max(x(from) - left, part.value > 0 ? 1 : 0), 12, part.color, part.title);
    });
    return (
      label(area.left, top + 13, shortened(name, room)) + label(area.right, top + 13, value, "end") + drawn.join("")
    );
  });
  return frame(full, xAxis(x, area, Math.max(3, Math.floor(options.width / 130)), format) + body.join(""));
}

/** The beginning and the end of a name that is wider than `room` pixels. */
function shortened(name: string, room: number): string {
  if (textWidth(name) <= room) return name;
  for (let kept = name.length - 1; ; kept--) {
    const head = Math.max(1, Math.floor(kept / 3));
    const short = `${name.slice(0, head)}…${name.slice(name.length - Math.max(1, kept - head))}`;
    if (textWidth(short) <= room || kept <= 2) return short;
  }
}

export function lengthChart(
  of: string,
  { unit, bins, shortest, longest, mean }: Inspection["lengths"][string],
): DrawnChart | null {
  const first = bins.findIndex((count) => count > 0);
  if (first < 0) return null;
  const from = (bin: number) => (bin === 0 ? 0 : 2 ** bin);
  const shown = bins.slice(first).map((count, i) => ({
    name: `${counted(from(i + first))}–${counted(2 ** (i + first + 1) - 1)}`,
    count,
  }));
  const all = shown.reduce((sum, { count }) => sum + count, 0);
  return {
    id: `lengths-${of}`,
    heading: of === unit ? `Lengths in ${unit}` : `Lengths in ${unit}: ${of}`,
    caption: `Documents by length, each bin from a power of two to the next. ${counted(shortest)} to ${counted(longest)} ${unit}, ${mean.toFixed(1)} on average.`,
    draw(width) {
      const widest = Math.max(...shown.map(({ name }) => textWidth(name)));
      const options: FrameOptions = {
        width,
        height: 60 + shown.length * 24,
        title: `Documents by length in ${unit}`,
        xLabel: "documents",
        yLabel: "",
        margin: { left: 14 + widest, right: 70, top: 8, bottom: 44 },
      };
      const area = plotArea(options);
      const x = scaleLinear([0, Math.max(...shown.map(({ count }) => count))], [area.left, area.right]);
      const y = scaleBand(
        shown.map(({ name }) => name),
        [area.top, area.bottom],
      ).padding(0.2);
      const body = shown.map(({ name, count }) => {
        const share = `${((100 * count) / all).toFixed(1)} %`;
        const at = y(name)!;
        return (
          rectangle(
            x(0),
            at,
            Math.max(x(count) - x(0), count > 0 ? 1 : 0),
            y.bandwidth(),
            "var(--series-1)",
            `${name}: ${counted(count)} documents, ${share}`,
          ) + label(x(count) + 4, at + y.bandwidth() / 2 + 4, share)
        );
      });
      return frame(
        options,
        xAxis(x, area, Math.max(2, Math.floor(width / 150)), short) + bandAxis(y, area) + body.join(""),
      );
    },
  };
}

export function groupChart({ groups, groupedBy, kind }: Inspection): DrawnChart | null {
  if (groups.length < 2) return null;
  const dropped = groups.some(({ documents, kept }) => kept < documents);
  const shown = most(groups, ({ documents }) => documents);
  return {
    id: "groups",
    heading: `Documents by ${groupedBy}`,
    caption: `${shown.length < groups.length ? `The ${shown.length} with the most of ${counted(groups.length)}. ` : ""}${dropped ? `Kept, and dropped ${kind === "sources" ? "by filters" : "as duplicates"}.` : "All of them are kept."}`,
    draw: (width) =>
      bars(
        shown.map(({ name, documents, kept }) => ({
          name,
          value: counted(documents),
          parts: [
            { value: kept, color: "var(--series-1)", title: `${name}: ${counted(kept)} kept` },
            {
              value: documents - kept,
              color: "var(--series-2)",
              title: `${name}: ${counted(documents - kept)} dropped`,
            },
          ],
        })),
        {
          width,
          title: `Documents by ${groupedBy}`,
          xLabel: "documents",
          legend: dropped
            ? [
                { name: "kept", color: "var(--series-1)" },
                { name: "dropped", color: "var(--series-2)" },
              ]
            : [],
        },
      ),
  };
}

export function tokensChart({ groups, groupedBy }: Inspection): DrawnChart | null {
  const rated = groups.flatMap((group) => {
    const rate = tokensPerByte(group);
    return rate === null ? [] : [{ name: group.name, rate, bytes: group.bytes! }];
  });
  if (rated.length === 0) return null;
  return {
    id: "tokens-per-byte",
    heading: `Tokens per byte by ${groupedBy}`,
    caption:
      "Of UTF-8; without end-of-text tokens. Fewer: the tokenizer knows this text better, and a context holds more of it.",
    draw: (width) =>
      bars(
        most(rated, ({ bytes }) => bytes).map(({ name, rate }) => ({
          name,
          value: rate.toFixed(4),
          parts: [{ value: rate, color: "var(--series-3)", title: `${name}: ${rate.toFixed(4)} tokens per byte` }],
        })),
        { width, title: `Tokens per byte by ${groupedBy}`, xLabel: "tokens per byte" },
        String,
      ),
  };
}

export function reasonChart({ stages, duplicates, kind }: Inspection): DrawnChart | null {
  const reasons = [
    ...stages.flatMap(({ name, dropped }) =>
      Object.entries(dropped).map(([reason, { documents }]) => ({ name: `${name}: ${reason}`, documents })),
    ),
    ...Object.entries(duplicates?.dropped ?? {}).map(([reason, documents]) => ({
      name: reason === "contaminated" ? "holds evaluation text" : `${reason} duplicate`,
      documents,
    })),
  ].filter(({ documents }) => documents > 0);
  if (reasons.length === 0) return null;
  reasons.sort((a, b) => b.documents - a.documents);
  return {
    id: "reasons",
    heading: "Dropped, by reason",
    caption: `A document is counted under the first reason that drops it.${kind === "sources" && duplicates && stages.length > 0 ? " Duplicates were looked for by themselves, among all documents." : ""}`,
    draw: (width) =>
      bars(
        reasons.map(({ name, documents }) => ({
          name,
          value: counted(documents),
          parts: [{ value: documents, color: "var(--series-2)", title: `${name}: ${counted(documents)} documents` }],
        })),
        { width, title: "Dropped documents by reason", xLabel: "documents" },
      ),
  };
}

export function clusterChart({ duplicates }: Inspection): DrawnChart | null {
  const sizes = duplicates?.clusters.sizes ?? [];
  if (sizes.length === 0) return null;
  const shown = sizes.slice(0, 12);
  const rest = sizes.slice(12).reduce((sum, { clusters }) => sum + clusters, 0);
  return {
    id: "clusters",
    heading: "Clusters of duplicates, by size",
    caption: `${counted(duplicates!.clusters.count)} clusters, the largest of ${counted(duplicates!.clusters.largest)} documents; one document of each stays.${rest > 0 ? ` ${counted(rest)} larger ones are not drawn.` : ""}`,
    draw: (width) =>
      bars(
        shown.map(({ members, clusters }) => ({
          name: `${counted(members)} documents`,
          value: counted(clusters),
          parts: [{ value: clusters, color: "var(--series-4)", title: `${counted(clusters)} clusters of ${members}` }],
        })),
        { width, title: "Clusters of duplicates by size", xLabel: "clusters" },
      ),
  };
}

/** Bars that fit a page. */
const mostBars = 24;

function most<T>(items: readonly T[], size: (item: T) => number): T[] {
  return items.length <= mostBars ? [...items] : [...items].sort((a, b) => size(b) - size(a)).slice(0, mostBars);
}
