/**
 * The part of docs/results.md, and its picture, about float32, bfloat16, int8 and moments of eight bits: from
 * bench/results/precision.json, which bench/precision.ts writes.
 */
import { init } from "echarts";
import type { PrecisionCurves } from "../bench/precision-curves.ts";

/** The step at which two curves are furthest apart, relative to the second. */
export function furthestApart(loss: readonly number[], base: readonly number[]): { step: number; difference: number } {
  let worst = { step: 1, difference: 0 };
  for (let i = 0; i < Math.min(loss.length, base.length); i++) {
    const difference = loss[i] / base[i] - 1;
    if (Number.isNaN(difference)) return { step: i + 1, difference };
    if (Math.abs(difference) > Math.abs(worst.difference)) worst = { step: i + 1, difference };
  }
  return worst;
}

const percent = (x: number) => `${x < 0 ? "-" : "+"}${Math.abs(100 * x).toFixed(2)} %`;
const row = (cells: (string | number)[]) => `| ${cells.join(" | ")} |`;

/** About ten steps, the first and the last among them. */
function shownSteps(steps: number): number[] {
  const every = Math.max(1, Math.ceil(steps / 10));
  const shown = [1];
  for (let step = every; step < steps; step += every) if (step > 1) shown.push(step);
  return steps > 1 ? [...shown, steps] : shown;
}

export function precisionPart(result: PrecisionCurves): string {
  const { series, machine, preset, batch, sequence, steps, threads, isa } = result;
  const [base, ...others] = series;
  const ends = others.map(({ name, loss }) => {
    const { step, difference } = furthestApart(loss, base.loss);
    return `${name}: at most ${percent(difference)}, at step ${step}`;
  });
  const tail = (loss: readonly number[]) => {
    const last = loss.slice(-Math.min(50, loss.length));
    return last.reduce((sum, x) => sum + x, 0) / last.length;
  };
  const rows = shownSteps(steps).map((step) => {
    const cells = others.map(
      ({ loss }) => `${loss[step - 1].toFixed(4)} (${percent(loss[step - 1] / base.loss[step - 1] - 1)})`,
    );
    return row([step, base.loss[step - 1].toFixed(4), ...cells]);
  });
  return `## float32, bfloat16, int8, and moments of eight bits

\`${preset}\`, \`bitnet\`: ${steps} steps of ${batch} x ${sequence} tokens of TinyStories, the same weights to begin with, the same tokens in the same order, the
preset's schedule; ${threads} threads, ${isa}. Of every step's loss, relative to ${base.name}'s: ${ends.join("; ")}.

![loss curves](curves/precision.svg)

${[
  row(["step", ...series.map(({ name }) => name)]),
  row(["---", ...series.map(() => "---")]),
  ...rows,
  row([`mean of the last ${Math.min(50, steps)}`, ...series.map(({ loss }) => tail(loss).toFixed(4))]),
  row(["optimizer's state, MiB", ...series.map(({ stateBytes }) => (stateBytes / 2 ** 20).toFixed(1))]),
].join("\n")}

\`${result.command}\`, commit ${result.commit}, ${result.date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}.
`;
}

/** The curves, and below them how far each is from the first, in percent, as one SVG. */
export function precisionPicture({ series, steps, preset }: PrecisionCurves): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: 720, height: 560 });
  const colors = ["#2f6fde", "#d9822b", "#4b9e5f", "#9a4fb5"];
  const [base, ...others] = series;
  const line = { type: "line", showSymbol: false, lineStyle: { width: 1.5 } } as const;
  chart.setOption({
    backgroundColor: "#ffffff",
    animation: false,
    title: [
      { text: `${preset}, bitnet: training loss, nats per token`, left: "center", textStyle: { fontSize: 15 } },
      { text: `% from ${base.name}'s`, left: "center", top: 335, textStyle: { fontSize: 13 } },
    ],
    legend: { bottom: 4, data: series.map(({ name }) => name) },
    grid: [
      { left: 60, right: 30, top: 40, height: 270 },
      { left: 60, right: 30, top: 362, height: 120 },
    ],
    xAxis: [0, 1].map((gridIndex) => ({ type: "value", gridIndex, min: 0, max: steps })),
    yAxis: [0, 1].map((gridIndex) => ({ type: "value", gridIndex, scale: gridIndex === 0 })),
    series: [
      ...series.map(({ name, loss }, i) => ({
        ...line,
        name,
        color: colors[i],
        data: loss.map((value, at) => [at + 1, Number(value.toFixed(4))]),
      })),
      ...others.map(({ name, loss }, i) => ({
        ...line,
        name,
        color: colors[i + 1],
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: loss.map((value, at) => [at + 1, Number((100 * (value / base.loss[at] - 1)).toFixed(3))]),
      })),
    ],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
