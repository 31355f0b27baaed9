/** `bitnet analyze`: the quantization error of each layer on a text, followed through the network, compared between models. */
import { Command } from "commander";
import type { ErrorAnalysis } from "../analysis/index.ts";
import { formatColumn, formatCount, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { addMeasureOptions, type MeasureFlags, openForMeasuring, sampleOptions } from "./support/measure-options.ts";
import { createProgressLine } from "./support/progress.ts";

interface AnalyzeFlags extends MeasureFlags {
  compare?: string[];
  quantizer?: string;
  json?: boolean;
}

const defaultTokens = 2 ** 12;

export function analyzeCommand(): Command {
  const command = new Command("analyze")
    .summary("quantization errors of layers, followed through the network")
    .description(
      "Measures on a text the error of each layer's weights and input, what each layer adds to the error of the last layer's states, and how far the logits are from those of the same latent weights in float.",
    );
  return addMeasureOptions(command, defaultTokens)
    .option(
      "--compare <models...>",
      "measure these models, runs or checkpoints too, on the same text, beside the first",
    )
    .option(
      "--quantizer <name>",
      "measure as if every layer's weights had this quantizer, such as absmean (default: the model's own; absmean for a full-precision model)",
    )
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Layers are quantized one after the other, from the first to the last: "added" is by how much each raises the relative squared
error of the states behind the last layer, and all of them add up to the error of the model. docs/analysis.md defines each number.

Examples:
  bitnet analyze runs/a --data held-out.txt
  bitnet analyze runs/a --data held-out.txt --json
  bitnet analyze runs/a --data held-out.txt --compare runs/b runs/a/checkpoints/step_000100
  bitnet analyze runs/full --data held-out.txt --quantizer twn`,
    )
    .action(run);
}

async function run(argument: string | undefined, flags: AnalyzeFlags): Promise<void> {
  const { analyzeErrors } = await import("../analysis/index.ts");
  const interruption = listenForInterrupts();
  const progress = createProgressLine("analyzing");
  const results: (ErrorAnalysis & { model: string })[] = [];
  try {
    const measure = async (name: string | undefined, own: MeasureFlags) => {
      const opened = await openForMeasuring("analyze", name, own, interruption);
      try {
        const { model, tokens, folder } = opened;
        const options = { ...sampleOptions(flags), quantizer: flags.quantizer, signal: interruption.signal };
        const onProgress = (done: number, total: number, what: string) => progress.update(done, total, what);
        results.push({ model: folder, ...(await analyzeErrors(model, tokens, { ...options, onProgress })) });
      } finally {
        opened.close();
      }
    };
    await measure(argument, flags);
    for (const other of flags.compare ?? []) await measure(other, { ...flags, model: undefined });
  } finally {
    progress.close();
    interruption.release();
  }
  if (flags.json) {
    const [first, ...compared] = results;
    const content = { data: flags.data, ...first, ...(compared.length > 0 ? { compared } : {}) };
    process.stdout.write(`${JSON.stringify(content, null, 2)}\n`);
    return;
  }
  process.stdout.write(results.map(describe).join("\n"));
  if (results.length > 1) process.stdout.write(`\n${compare(results)}`);
}

const optional = (value: number | null | undefined, digits: number): string =>
  value === null || value === undefined ? "-" : value.toFixed(digits);
const percent = (share: number | null | undefined): string =>
  share === null || share === undefined ? "-" : `${(share * 100).toFixed(1)} %`;

function describe(result: ErrorAnalysis & { model: string }): string {
  const { asIf, plan, quantized, float, rise, logits, layers, finalError } = result;
  const error = rise.standardError === null ? "" : ` ± ${rise.standardError.toFixed(4)}`;
  const facts = formatTable([
    ["model", `${result.model} ${asIf === null ? `(${plan})` : `as if its weights were ${asIf}`}`],
    ["text", `${formatCount(result.tokens)} tokens in ${formatCount(result.sequences)} sequences`],
    [
      "loss",
      `${quantized.lossNats.toFixed(4)}; in float ${float.lossNats.toFixed(4)}; rise ${rise.value.toFixed(4)}${error}`,
    ],
    [
      "logits",
      `KL ${logits.klNats.toFixed(4)} nats per token; the same first token for ${percent(logits.top1Agreement)}`,
    ],
    ["states", `relative squared error ${finalError.toPrecision(4)} behind the last layer`],
  ]);
  const added = formatColumn(layers.map((layer) => ({ value: layer.added, standardError: null })));
  const table = formatTable(
    [
      [
        "layer",
        "SQNR dB",
        "cosine",
        "zeros",
        "near",
        "saturated",
        "kurtosis",
        "input dB",
        "max/rms",
        `added${added.unit}`,
        "share",
      ],
      ...layers.map(({ name, weights, input, share }, i) => [
        name,
        optional(weights?.sqnrDb, 2),
        optional(weights?.cosine, 3),
        percent(weights?.zero),
        percent(weights?.nearThreshold),
        percent(weights?.saturated),
        optional(weights?.kurtosis, 2),
        optional(input.sqnrDb, 1),
        optional(input.peakToRms.mean, 1),
        added.cells[i],
        percent(share),
      ]),
    ],
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  return `${facts}\n${table}\n`;
}

function compare(results: readonly (ErrorAnalysis & { model: string })[]): string {
  const mean = (values: readonly (number | null | undefined)[]) => {
    const known = values.filter((value) => typeof value === "number");
    return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
  };
  return formatTable(
    [
      ["model", "loss", "rise", "KL", "top-1", "error", "mean SQNR dB", "zeros"],
      ...results.map(({ model, quantized, rise, logits, finalError, layers }) => [
        model,
        quantized.lossNats.toFixed(4),
        rise.value.toFixed(4),
        logits.klNats.toFixed(4),
        percent(logits.top1Agreement),
        finalError.toPrecision(4),
        optional(mean(layers.map(({ weights }) => weights?.sqnrDb)), 2),
        percent(mean(layers.map(({ weights }) => weights?.zero))),
      ]),
    ],
    [1, 2, 3, 4, 5, 6, 7],
  );
}
