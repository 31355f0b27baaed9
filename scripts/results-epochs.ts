/** The part of docs/results.md, and its picture, about training for several epochs: from bench/results/epochs.json. */
import { init } from "echarts";

export interface EpochsResult {
  date: string;
  commit: string;
  command: string;
  machine: { cpu: string; cores: number; memoryGiB: number; system: string; node: string };
  text: string;
  prompt: string;
  models: {
    name: string;
    steps: number;
    epochs: number;
    tokens: number;
    parameters: { total: number; ternary: number };
    microBatch: number;
    learningRate: number;
    trainedWith: { commit: string | null; isa: string; precision: string; threads: number }[];
    bitsPerByte: number;
    perplexity: number;
    scoredTokens: number;
    skippedSteps: number;
    ternaryShare: number | null;
    medianTokensPerSecond: number;
    bestTokensPerSecond: number;
    peakRssMiB: number;
    lossEvery: number;
    trainLoss: number[];
    validation: { step: number; bitsPerByte: number }[];
    samples: { seed: number; text: string }[];
  }[];
}

const table = (rows: string[][]) =>
  [rows[0], rows[0].map(() => "---"), ...rows.slice(1)].map((row) => `| ${row.join(" | ")} |`).join("\n");

const quote = (text: string) =>
  text
    .split("\n")
    .map((line) => `> ${line}`.trimEnd())
    .join("\n");

/** Below the heading: the table, the picture, the text that each model wrote. */
export function epochsPart(result: EpochsResult): string {
  const { models, machine, prompt } = result;
  const row = (name: string, value: (m: EpochsResult["models"][number]) => string) => [name, ...models.map(value)];
  const samples = models
    .map((m) => `${m.name}:\n\n${m.samples.map(({ text }) => quote(text)).join("\n>\n> ---\n>\n")}\n`)
    .join("\n");
  const [ours, twin] = [models.find((m) => m.name === "bitnet"), models.find((m) => m.name === "full")];
  const gap =
    ours && twin
      ? `The ternary model needs ${(100 * (ours.bitsPerByte / twin.bitsPerByte - 1)).toFixed(1)} % more bits per byte than its twin, which saw the same tokens in the same order, each with its
preset's learning rate (tuned for neither).`
      : "";
  return `## Three epochs of TinyStories

\`tiny\` with a 2048-token BPE trained on the same text, the preset's values, validated on a text that is not in the training data.

![validation and training curves](curves/epochs.svg)

${table([
  ["", ...models.map((m) => m.name)],
  row("passes over the text", (m) => m.epochs.toFixed(2)),
  row("steps, tokens", (m) => `${m.steps}, ${(m.tokens / 1e6).toFixed(2)} M`),
  row("trained by commit, with", (m) => {
    const { commit, isa, precision, threads } = m.trainedWith[0];
    return `${commit?.slice(0, 7) ?? "?"}; ${isa}, ${precision}, ${threads} threads, micro-batches of ${m.microBatch}`;
  }),
  row("peak learning rate", (m) => m.learningRate.toExponential()),
  row("parameters, of them ternary", (m) => `${m.parameters.total}, ${m.parameters.ternary}`),
  row(`bits per byte on \`${result.text}\``, (m) => m.bitsPerByte.toFixed(4)),
  row("perplexity per token", (m) => m.perplexity.toFixed(3)),
  row(
    "tokens/s, median of the steps (best)",
    (m) => `${m.medianTokensPerSecond.toFixed(0)} (${m.bestTokensPerSecond.toFixed(0)})`,
  ),
  row("peak memory, MiB", (m) => m.peakRssMiB.toFixed(0)),
  row("steps skipped", (m) => String(m.skippedSteps)),
])}

${gap} The machine did other work meanwhile; "Speed and memory of a training step" below has speeds taken alone.

What each writes after "${prompt}" at temperature 0.8, seeds 1 to ${models[0].samples.length}, 150 tokens, unedited:

${samples}
\`${result.command}\`, commit ${result.commit}, ${result.date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}.
`;
}

/** Bits per byte on the validation text, and the loss of training, as one SVG. */
export function epochsPicture({ models }: EpochsResult): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: 860, height: 420 });
  const colors = ["#2f6fde", "#d9822b", "#4b9e5f"];
  const last = Math.max(...models.map((m) => m.steps));
  const axis = { type: "value", name: "step", nameLocation: "middle", nameGap: 26, min: 0, max: last } as const;
  chart.setOption({
    backgroundColor: "#ffffff",
    animation: false,
    title: [
      { text: "validation, bits per byte", left: "26%", textAlign: "center", textStyle: { fontSize: 15 } },
      { text: "training loss, nats per token", left: "76%", textAlign: "center", textStyle: { fontSize: 15 } },
    ],
    legend: { bottom: 4, data: models.map((m) => m.name) },
    grid: [
      { left: 56, width: "39%", top: 48, bottom: 72 },
      { left: "57%", width: "39%", top: 48, bottom: 72 },
    ],
    xAxis: [
      { ...axis, gridIndex: 0 },
      { ...axis, gridIndex: 1 },
    ],
    yAxis: [
      { type: "value", gridIndex: 0, scale: true },
      { type: "value", gridIndex: 1, scale: true },
    ],
    series: models.flatMap((model, i) => [
      {
        name: model.name,
        type: "line",
        xAxisIndex: 0,
        yAxisIndex: 0,
        symbolSize: 4,
        color: colors[i],
        data: model.validation.map(({ step, bitsPerByte }) => [step, Number(bitsPerByte.toFixed(4))]),
      },
      {
        name: model.name,
        type: "line",
        xAxisIndex: 1,
        yAxisIndex: 1,
        showSymbol: false,
        color: colors[i],
        lineStyle: { width: 1.5 },
        data: model.trainLoss.map((value, at) => [Math.min((at + 0.5) * model.lossEvery, last), value]),
      },
    ]),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
