/** Charts of a sensitivity: groups ranked with their standard errors, and a map of the blocks by the layers in them. */
import { scaleBand, scaleLinear } from "d3-scale";
import type { Sensitivity, SensitivityMeasure, SensitivityRow } from "../analysis/index.ts";
import { linearNames, linearRoles } from "../model/index.ts";
import { formatColumn } from "../platform/format.ts";
import { formatNumber } from "./numbers.ts";
import type { DrawnChart } from "./page.ts";
import { frame, type FrameOptions, label, plotArea, rectangle, segment, textWidth, xAxis } from "./svg.ts";

export const measureWords: Record<SensitivityMeasure, { name: string; caption: string; unit: string }> = {
  "leave-one-out": {
    name: "Leave one out",
    caption: "Rise in loss when this alone is quantized and nothing else is.",
    unit: "nats per token",
  },
  "put-one-back": {
    name: "Put one back",
    caption: "Fall in loss when this alone is put back to float and all else stays quantized.",
    unit: "nats per token",
  },
  "first-order": {
    name: "First order",
    caption: "Size of the linear term of the loss, by the gradient at the float weights.",
    unit: "nats per token",
  },
  fisher: {
    name: "Fisher",
    caption: "Squared gradient times squared change of the weights, summed.",
    unit: "squared nats per token",
  },
};

/** Bars that fit a page. */
const mostBars = 42;
const rowHeight = 30;

export function rankingChart({ rows, group }: Sensitivity, measure: SensitivityMeasure): DrawnChart {
  const { name, caption, unit } = measureWords[measure];
  const ranked = [...rows].sort((a, b) => b.scores[measure]!.value - a.scores[measure]!.value);
  const shown = ranked.slice(0, mostBars);
  const left = rows.length - shown.length;
  return {
    id: measure,
    heading: `${name}, by ${group}`,
    caption: `${caption} Line: one standard error to both sides.${left > 0 ? ` The ${mostBars} largest of ${rows.length}.` : ""}`,
    draw(width) {
      const column = formatColumn(shown.map(({ scores }) => scores[measure]!));
      const scaled = (x: number) => x / 10 ** column.power;
      const options: FrameOptions = {
        width,
        height: 56 + shown.length * rowHeight,
        title: `${name}, by ${group}`,
        xLabel: unit + column.unit,
        yLabel: "",
        margin: { left: 28, right: 28, top: 8, bottom: 44 },
      };
      const area = plotArea(options);
      const ends = shown.flatMap(({ scores }) => {
        const { value, standardError } = scores[measure]!;
        return [scaled(value - (standardError ?? 0)), scaled(value + (standardError ?? 0))];
      });
      const [least, most] = [Math.min(0, ...ends), Math.max(0, ...ends)];
      const x = scaleLinear([least, most === least ? 1 : most], [area.left, area.right]).nice();
      const body = shown.map(({ name: of, scores }, i) => {
        const { value, standardError } = scores[measure]!;
        const top = area.top + i * rowHeight;
        const y = top + 22;
        const [from, to] = [x(scaled(Math.min(0, value))), x(scaled(Math.max(0, value)))];
        const color = value < 0 ? "var(--series-2)" : "var(--series-1)";
        const bar = rectangle(
          from,
          top + 17,
          Math.max(1, to - from),
          10,
          color,
          `${of}: ${column.cells[i]}${column.unit}`,
        );
        const error =
          standardError === null
            ? ""
            : segment(
                x(scaled(value - standardError)),
                y,
                x(scaled(value + standardError)),
                y,
                "var(--ink)",
                'stroke-width="1.5"',
              );
        return bar + error + label(area.left, top + 12, of) + label(area.right, top + 12, column.format(value), "end");
      });
      return frame(options, xAxis(x, area, Math.max(2, Math.floor(width / 170)), String) + body.join(""));
    },
  };
}

/** Blocks from the top, the layers of a block from the left; null where groups are not single layers. */
export function blockMap({ rows, group }: Sensitivity, measure: SensitivityMeasure): DrawnChart | null {
  if (group !== "layer") return null;
  const places = rows.map((row) => ({ row, ...placeOf(row) }));
  const blocks = [...new Set(places.map(({ block }) => block))].sort((a, b) => a - b);
  const { name } = measureWords[measure];
  const most = Math.max(...rows.map(({ scores }) => scores[measure]!.value), 0);
  return {
    id: "map",
    heading: `${name}: where in the model`,
    caption: "A block in each row, its layers in the columns. Darker: more sensitive; 0 and below are empty.",
    draw(width) {
      const short = (role: string) => role.replace(/_proj$/, "");
      const options: FrameOptions = {
        width,
        height: 52 + blocks.length * 24,
        title: `${name} of every layer`,
        xLabel: "layer of the block",
        yLabel: "",
        margin: { left: 20 + textWidth(String(blocks.at(-1) ?? 0)), right: 12, top: 24, bottom: 24 },
      };
      const area = plotArea(options);
      const roles = linearRoles.map((role) => linearNames[role].split(".").at(-1)!);
      const x = scaleBand(roles, [area.left, area.right]).padding(0.06);
      const y = scaleBand(blocks.map(String), [area.top, area.bottom]).padding(0.08);
      const cells = places.map(({ row, block, role }) => {
        const { value, standardError } = row.scores[measure]!;
        const strength = most > 0 ? Math.max(0, value) / most : 0;
        const error = standardError === null ? "" : ` ± ${formatNumber(standardError)}`;
        const title = `${row.name}: ${formatNumber(value)}${error}`;
        const at = [x(role)!, y(String(block))!, x.bandwidth(), y.bandwidth()] as const;
        const back = rectangle(...at, "var(--soft)", title);
        const color = rectangle(...at, "var(--series-1)", title);
        return `${back}<g opacity="${strength.toFixed(3)}">${color}</g>`;
      });
      const heads = roles.map((role) => label(x(role)! + x.bandwidth() / 2, area.top - 6, short(role), "middle"));
      const sides = blocks.map((block) =>
        label(area.left - 6, y(String(block))! + y.bandwidth() / 2 + 4, String(block), "end"),
      );
      return frame(options, cells.join("") + heads.join("") + sides.join(""));
    },
  };
}

/** "layers.3.mlp.down_proj" is block 3, down_proj. */
function placeOf({ name }: SensitivityRow): { block: number; role: string } {
  const parts = name.split(".");
  return { block: Number(parts[1]), role: parts.at(-1)! };
}
