/**
 * The report's charts, each as a function of a width: SVG text, drawn with d3-scale and d3-shape. The page holds a wide and
 * a narrow one of each and shows the one that fits, so that text keeps its size on a phone. null: nothing was measured.
 */
import { scaleBand, scaleLinear } from "d3-scale";
import { curveMonotoneX, line } from "d3-shape";
import type { SchedulePoint, Spread } from "../analysis/index.ts";
import { noiseStandardErrors } from "../eval/index.ts";
import { inBlock, linearNames, linearRoles } from "../model/index.ts";
import { isShare, taskRowName } from "./compare.ts";
import { formatBytes } from "../platform/format.ts";
import type { ModelMeasurement } from "./measurement.ts";
import { formatNumber } from "./numbers.ts";
import {
  bandAxis,
  dot,
  frame,
  type FrameOptions,
  label,
  path,
  plotArea,
  rectangle,
  segment,
  xAxis,
  yAxis,
} from "./svg.ts";

export interface Chart {
  id: string;
  heading: string;
  /** What is to be seen, in a sentence. */
  caption: string;
  draw(width: number): string;
}

/** Of the models in their order; those after repeat. */
const colorOf = (index: number): string => `var(--series-${(index % 6) + 1})`;

const millions = (tokens: number): string =>
  tokens >= 1e9
    ? `${tokens / 1e9} G`
    : tokens >= 1e6
      ? `${tokens / 1e6} M`
      : tokens >= 1e3
        ? `${tokens / 1e3} k`
        : `${tokens}`;

function lossChart(models: readonly ModelMeasurement[]): Chart | null {
  const runs = models.flatMap((m, i) =>
    m.training && m.training.training.length + m.training.validation.length > 1
      ? [{ name: m.name, color: colorOf(i), training: m.training.training, validation: m.training.validation }]
      : [],
  );
  if (runs.length === 0) return null;
  return {
    id: "loss",
    heading: "Loss while training",
    caption: "Faint: training loss. Strong, with dots: loss on the validation text. Lower is better.",
    draw(width) {
      const options: FrameOptions = {
        width,
        height: Math.min(380, 240 + width / 5),
        title: `Loss over tokens of ${runs.map(({ name }) => name).join(" and ")}`,
        xLabel: "tokens trained on",
        yLabel: "loss, nats per token",
        legend: runs.map(({ name, color }) => ({ name, color })),
      };
      const area = plotArea(options);
      const points = runs.flatMap(({ training, validation }) => [...training, ...validation]);
      const x = scaleLinear([0, Math.max(...points.map(({ tokens }) => tokens))], [area.left, area.right]);
      const losses = points.map(({ lossNats }) => lossNats);
      const y = scaleLinear([Math.min(...losses), Math.max(...losses)], [area.bottom, area.top]).nice();
      const curve = line<{ tokens: number; lossNats: number }>()
        .x(({ tokens }) => x(tokens))
        .y(({ lossNats }) => y(lossNats));
      const smooth = line<{ tokens: number; lossNats: number }>()
        .x(({ tokens }) => x(tokens))
        .y(({ lossNats }) => y(lossNats))
        .curve(curveMonotoneX);
      const body = runs.map(({ name, color, training, validation }) =>
        [
          path(curve(training) ?? "", color, 'stroke-opacity="0.4" stroke-width="1"'),
          path(smooth(validation) ?? "", color),
          ...validation.map((p) =>
            dot(x(p.tokens), y(p.lossNats), 2.5, color, `${name}, step ${p.step}: ${p.lossNats.toFixed(4)} nats`),
          ),
        ].join(""),
      );
      const ticks = Math.max(3, Math.floor(width / 110));
      return frame(options, xAxis(x, area, ticks, millions) + yAxis(y, area, 6, String) + body.join(""));
    },
  };
}

/** One scheduled number of the runs over their tokens, from 0 on; null where none has it. */
function scheduleChart(
  models: readonly ModelMeasurement[],
  about: Pick<Chart, "id" | "heading" | "caption"> & { yLabel: string; read(point: SchedulePoint): number | null },
): Chart | null {
  const { read, yLabel, ...chart } = about;
  const runs = models.flatMap((m, i) => {
    const points = (m.training?.schedule ?? []).flatMap((point) => {
      const value = read(point);
      return value === null ? [] : [{ tokens: point.tokens, value }];
    });
    return points.length > 1 ? [{ name: m.name, color: colorOf(i), points }] : [];
  });
  if (runs.length === 0) return null;
  return {
    ...chart,
    draw(width) {
      const options: FrameOptions = {
        width,
        height: Math.min(260, 180 + width / 8),
        title: `${chart.heading} of ${runs.map(({ name }) => name).join(" and ")} over tokens`,
        xLabel: "tokens trained on",
        yLabel,
        legend: runs.map(({ name, color }) => ({ name, color })),
      };
      const area = plotArea(options);
      const all = runs.flatMap(({ points }) => points);
      const x = scaleLinear([0, Math.max(...all.map(({ tokens }) => tokens))], [area.left, area.right]);
      const most = Math.max(...all.map(({ value }) => value));
      const y = scaleLinear([0, most > 0 ? most : 1], [area.bottom, area.top]).nice();
      const curve = line<{ tokens: number; value: number }>()
        .x(({ tokens }) => x(tokens))
        .y(({ value }) => y(value));
      const body = runs.map(({ color, points }) => path(curve(points) ?? "", color));
      const ticks = Math.max(3, Math.floor(width / 110));
      return frame(options, xAxis(x, area, ticks, millions) + yAxis(y, area, 4, String) + body.join(""));
    },
  };
}

const scheduleCharts = (models: readonly ModelMeasurement[]): (Chart | null)[] => [
  scheduleChart(models, {
    id: "learning-rate",
    heading: "Learning rate",
    caption: "As it was logged, callbacks' changes included.",
    yLabel: "learning rate",
    read: ({ learningRate }) => learningRate,
  }),
  scheduleChart(models, {
    id: "quantization",
    heading: "Progressive quantization",
    caption: "Lambda, a mean over the layers: 0 is full precision, 1 the ternary model that is saved.",
    yLabel: "lambda",
    read: ({ quantLambda }) => quantLambda,
  }),
  scheduleChart(models, {
    id: "temperature",
    heading: "Temperature of the soft weights",
    caption: "tau of train.progressive kind annealed: at 0 the weights are ternary.",
    yLabel: "temperature",
    read: ({ quantTemperature }) => quantTemperature,
  }),
];

function calibrationChart(models: readonly ModelMeasurement[]): Chart | null {
  const measured = models.flatMap((m, i) =>
    m.text ? [{ name: m.name, color: colorOf(i), bins: m.text.calibration.bins, all: m.text.tokens }] : [],
  );
  if (measured.length === 0) return null;
  return {
    id: "calibration",
    heading: "Calibration",
    caption:
      "Of each bin of the likeliest token's probability, how often that token came. On the dashed line a model is as sure as it is right; below, too sure. Larger dots: more tokens.",
    draw(width) {
      const options: FrameOptions = {
        width,
        height: Math.min(420, 90 + width * 0.8),
        title: "Share of right predictions by predicted probability",
        xLabel: "probability of the likeliest token",
        yLabel: "share in which it came",
        legend: [
          ...measured.map(({ name, color }) => ({ name, color })),
          { name: "as sure as right", color: "var(--muted)", dashed: true },
        ],
      };
      const area = plotArea(options);
      const x = scaleLinear([0, 1], [area.left, area.right]);
      const y = scaleLinear([0, 1], [area.bottom, area.top]);
      const body = [segment(x(0), y(0), x(1), y(1), "var(--muted)", 'stroke-dasharray="4 3"')];
      for (const { name, color, bins, all } of measured) {
        const filled = bins.flatMap(({ count, meanProbability, accuracy }) =>
          meanProbability === null || accuracy === null ? [] : [{ count, p: meanProbability, share: accuracy }],
        );
        const curve = line<(typeof filled)[number]>()
          .x(({ p }) => x(p))
          .y(({ share }) => y(share));
        body.push(path(curve(filled) ?? "", color));
        for (const { count, p, share } of filled)
          body.push(
            dot(
              x(p),
              y(share),
              2.5 + 5 * Math.sqrt(count / all),
              color,
              `${name}: ${count} tokens, probability ${p.toFixed(3)}, came in ${(100 * share).toFixed(1)} %`,
            ),
          );
      }
      const percent = (v: number) => `${Math.round(100 * v)} %`;
      return frame(options, xAxis(x, area, 5, percent) + yAxis(y, area, 5, percent) + body.join(""));
    },
  };
}

/** The last part of each linear layer's name: q_proj, k_proj, ... */
const kinds = linearRoles.map((role) => linearNames[role].split(".").at(-1)!);

/** Shares of -1, 0 and +1, a row for each block, its matrices side by side in the order of the block. */
function histogramChart(model: ModelMeasurement): Chart | null {
  const layers = model.size?.layers ?? [];
  if (layers.length === 0) return null;
  const placed = layers.map((layer) => ({
    layer,
    block: inBlock(layer.name)?.block ?? 0,
    kind: kinds.findIndex((kind) => layer.name.includes(kind)),
  }));
  const blocks = [...new Set(placed.map(({ block }) => block))].sort((a, b) => a - b);
  return {
    id: `ternary-${model.name}`,
    heading: `Ternary weights by layer: ${model.name}`,
    caption: "Shares of -1, 0 and +1 in each matrix as it multiplies. Random weights have about 31, 38 and 31 %.",
    draw(width) {
      const options: FrameOptions = {
        width,
        height: 92 + blocks.length * 22,
        title: `Shares of -1, 0 and +1 in each ternary matrix of ${model.name}`,
        xLabel: "matrix of the block, each from 0 to 100 %",
        yLabel: "block",
        legend: [
          { name: "-1", color: "var(--minus)" },
          { name: "0", color: "var(--zero)" },
          { name: "+1", color: "var(--plus)" },
        ],
      };
      const area = plotArea(options);
      const columns = scaleBand<string>([...kinds], [area.left, area.right]).paddingInner(0.08);
      const rows = scaleBand<string>(blocks.map(String), [area.top, area.bottom]).paddingInner(0.2);
      const body = placed.flatMap(({ layer: { name, minus, zero, plus, entropyBits }, block, kind }) => {
        const left = columns(kinds[Math.max(0, kind)])!;
        const scale = scaleLinear([0, 1], [left, left + columns.bandwidth()]);
        const top = rows(String(block))!;
        const title = `${name}: -1 ${share(minus)}, 0 ${share(zero)}, +1 ${share(plus)}; entropy ${entropyBits.toFixed(4)} bits`;
        const part = (from: number, to: number, color: string) =>
          rectangle(scale(from), top, scale(to) - scale(from), rows.bandwidth(), color, title);
        return [
          part(0, minus, "var(--minus)"),
          part(minus, minus + zero, "var(--zero)"),
          part(minus + zero, 1, "var(--plus)"),
        ];
      });
      const names = kinds.map((kind) =>
        label(columns(kind)! + columns.bandwidth() / 2, area.bottom + 16, kind.replace("_proj", ""), "middle"),
      );
      return frame(options, bandAxis(rows, area) + body.join("") + names.join(""));
    },
  };
}

const share = (x: number): string => `${(100 * x).toFixed(1)} %`;

const formatTick = (x: number): string => x.toLocaleString("en-US");

interface Bar {
  name: string;
  color: string;
  value: number;
  deviation: number | null;
}

/** Bars, a row for each model, from zero on, with what they are written behind them. */
function barChart(
  id: string,
  heading: string,
  caption: string,
  xLabel: string,
  bars: readonly Bar[],
  /** What is written behind a bar; ticks are plain numbers. */
  format: (value: number) => string,
): Chart | null {
  if (bars.length === 0) return null;
  return {
    id,
    heading,
    caption,
    draw(width) {
      const room = 8 + 7 * Math.max(...bars.map(({ name }) => name.length));
      // Names that would leave the bars no room stand above them.
      const above = room > width * 0.35;
      const options: FrameOptions = {
        width,
        height: 62 + bars.length * (above ? 48 : 30),
        title: heading,
        xLabel,
        yLabel: "",
        margin: { left: above ? 24 : Math.max(24, room), right: 110 },
      };
      const area = plotArea(options);
      const most = Math.max(...bars.map(({ value, deviation }) => value + (deviation ?? 0)));
      const x = scaleLinear([0, most], [area.left, area.right]);
      const y = scaleBand<string>(
        bars.map(({ name }) => name),
        [area.top, area.bottom],
      ).padding(0.25);
      const body = bars.map(({ name, color, value, deviation }) => {
        const top = y(name)! + (above ? 16 : 0);
        const height = y.bandwidth() - (above ? 16 : 0);
        const middle = top + height / 2;
        const error =
          deviation === null
            ? ""
            : segment(
                x(Math.max(0, value - deviation)),
                middle,
                x(value + deviation),
                middle,
                "var(--ink)",
                'stroke-width="1.5"',
              );
        return (
          (above ? label(area.left, top - 4, name) : "") +
          rectangle(x(0), top, x(value) - x(0), height, color, `${name}: ${format(value)}`) +
          error +
          label(x(value + (deviation ?? 0)) + 6, middle + 4, format(value))
        );
      });
      return frame(
        options,
        xAxis(x, area, Math.max(2, Math.floor(width / 180)), formatTick) +
          (above ? "" : bandAxis(y, area)) +
          body.join(""),
      );
    },
  };
}

/** Bars of one number of each model that has it. */
const barsOf = (
  models: readonly ModelMeasurement[],
  value: (m: ModelMeasurement) => number | Spread | null | undefined,
): Bar[] =>
  models.flatMap((m, i) => {
    const found = value(m);
    if (found === null || found === undefined) return [];
    const bar =
      typeof found === "number" ? { value: found, deviation: null } : { value: found.mean, deviation: found.deviation };
    return [{ name: m.name, color: colorOf(i), ...bar }];
  });

function speedCharts(models: readonly ModelMeasurement[]): (Chart | null)[] {
  const first = models.find(({ speed }) => speed)?.speed;
  if (!first) return [];
  const rate = "Bar: mean; line: standard deviation. Longer is better.";
  const tokens = (v: number) => `${formatNumber(Number(v.toPrecision(4)))}`;
  return [
    barChart(
      "reading",
      `Reading a prompt (${first.prompt.name})`,
      rate,
      "tokens a second",
      barsOf(models, (m) => m.speed?.prompt),
      tokens,
    ),
    barChart(
      "writing",
      `Writing (${first.decode.name})`,
      rate,
      "tokens a second",
      barsOf(models, (m) => m.speed?.decode),
      tokens,
    ),
    barChart(
      "first-token",
      "Time to the first token",
      `Behind a prompt of ${first.firstToken.tokens} tokens. Shorter is better.`,
      "milliseconds",
      barsOf(models, (m) => m.speed?.firstToken),
      tokens,
    ),
  ];
}

const mebibytes = (bytes: number | undefined): number | undefined =>
  bytes === undefined ? undefined : bytes / 2 ** 20;

function sizeCharts(models: readonly ModelMeasurement[]): (Chart | null)[] {
  return [
    barChart(
      "file",
      "File",
      "A compact file: ternary weights at their entropy, the rest in half precision. Shorter is better.",
      "MiB",
      barsOf(models, (m) => mebibytes(m.size?.fileBytes)),
      (value) => formatBytes(Math.round(value * 2 ** 20)),
    ),
    barChart(
      "memory",
      "Memory while running",
      "The most that weights, workspace and cache took. Shorter is better.",
      "MiB",
      barsOf(models, (m) => mebibytes(m.speed?.peakBytes)),
      (value) => formatBytes(Math.round(value * 2 ** 20)),
    ),
  ];
}

/** Accuracies: a row for each, a dot for each model with its 95 % interval, and marks where no model is needed. */
function taskChart(models: readonly ModelMeasurement[]): Chart | null {
  const measured = models.flatMap((m, i) => {
    const scores = m.tasks.filter(isShare);
    return scores.length > 0 ? [{ name: m.name, color: colorOf(i), scores }] : [];
  });
  const names = [...new Set(measured.flatMap(({ scores }) => scores.map(taskRowName)))];
  if (names.length === 0) return null;
  const baselinesOf = (name: string) =>
    measured.flatMap(({ scores }) => scores.find((score) => taskRowName(score) === name)?.baselines ?? []);
  const marks = names.some((name) => baselinesOf(name).length > 0);
  return {
    id: "tasks",
    heading: "Accuracy on tasks",
    caption: `Dot: share of items that were right; line: ${noiseStandardErrors} standard errors to both sides.${marks ? " Grey marks: what needs no model (guessing, the shortest answer, always the same one); scores that reach them say nothing." : ""} Further right is better.`,
    draw(width) {
      const step = 11;
      const height = (rows: number) => 8 + step * rows;
      const long = 8 + 7 * Math.max(...names.map((name) => name.length));
      const above = long > width * 0.35;
      const rowHeight = height(measured.length) + (above ? 16 : 0);
      const options: FrameOptions = {
        width,
        height: 62 + 18 * (width < 500 ? measured.length + 1 : 1) + names.length * rowHeight,
        title: `Accuracy of ${measured.map(({ name }) => name).join(" and ")} on tasks`,
        xLabel: "share of items that were right",
        yLabel: "",
        legend: [
          ...measured.map(({ name, color }) => ({ name, color })),
          ...(marks ? [{ name: "needs no model", color: "var(--muted)" }] : []),
        ],
        margin: { left: above ? 24 : long },
      };
      const area = plotArea(options);
      const ends = measured.flatMap(({ scores }) =>
        scores.flatMap(({ value, standardError, baselines = [] }) => [
          value + noiseStandardErrors * (standardError ?? 0),
          ...baselines,
        ]),
      );
      const x = scaleLinear([0, Math.min(1, Math.max(0.05, ...ends))], [area.left, area.right]).nice();
      const percent = (v: number) => `${Math.round(100 * v)} %`;
      const body = names.map((name, row) => {
        const top = area.top + row * rowHeight + (above ? 16 : 0);
        const bottom = top + height(measured.length) - 4;
        const dots = measured.flatMap(({ name: model, color, scores }, i) => {
          const score = scores.find((one) => taskRowName(one) === name);
          if (!score) return [];
          const { value, standardError, withinNoise } = score;
          const y = top + 4 + step * (i + 0.5);
          const reach = noiseStandardErrors * (standardError ?? 0);
          return [
            segment(x(Math.max(0, value - reach)), y, x(Math.min(1, value + reach)), y, color, 'stroke-width="2"'),
            dot(
              x(value),
              y,
              3.5,
              color,
              `${model}, ${name}: ${(100 * value).toFixed(2)} %${standardError === null ? "" : ` ± ${(100 * standardError).toFixed(2)}`}${withinNoise ? ", at chance" : ""}`,
            ),
          ];
        });
        const lines = [...new Set(baselinesOf(name))].map((share) =>
          segment(x(share), top + 2, x(share), bottom, "var(--muted)", 'stroke-width="2" stroke-opacity="0.6"'),
        );
        const title = above
          ? label(area.left, top - 2, name)
          : label(area.left - 6, (top + bottom) / 2 + 4, name, "end");
        return title + lines.join("") + dots.join("");
      });
      return frame(options, xAxis(x, area, Math.max(3, Math.floor(width / 130)), percent) + body.join(""));
    },
  };
}

/** All charts that there is something to draw for. */
export function chartsOf(models: readonly ModelMeasurement[]): Chart[] {
  return [
    lossChart(models),
    ...scheduleCharts(models),
    calibrationChart(models),
    taskChart(models),
    ...models.map(histogramChart),
    ...speedCharts(models),
    ...sizeCharts(models),
  ].filter((chart) => chart !== null);
}
