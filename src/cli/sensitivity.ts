/** `bitnet sensitivity`: what each layer's quantization costs on a text, and which layers to keep more exact. */
import { Command, Option } from "commander";
import type { BudgetPlan, Measured, Sensitivity, SensitivityGroup, SensitivityMeasure } from "../analysis/index.ts";
import { formatBytes, formatColumn, formatCount, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { addMeasureOptions, type MeasureFlags, openForMeasuring, sampleOptions } from "./support/measure-options.ts";
import { decimalNumber, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";

interface SensitivityFlags extends MeasureFlags {
  group: SensitivityGroup;
  measures?: SensitivityMeasure[];
  quantizer?: string;
  budgetBytes?: number;
  budgetLoss?: number;
  output?: string;
  html?: string;
  json?: boolean;
}

const groups = ["layer", "block", "role"] as const;
const measureNames = ["leave-one-out", "put-one-back", "first-order", "fisher"] as const;
const defaultTokens = 2 ** 14;

export function sensitivityCommand(): Command {
  const command = new Command("sensitivity")
    .summary("what each layer's quantization costs; budgets")
    .description(
      "Measures on a text how much the loss rises when one layer alone is quantized, and falls when one alone is put back to float, with standard errors; scores by gradients beside them. With a budget, chooses the layers to keep in int8 or float and writes them as an overrides file.",
    );
  return addMeasureOptions(command, defaultTokens)
    .addOption(new Option("--group <by>", "what is measured together").choices(groups).default("layer"))
    .option(
      "--measures <names>",
      `which, with commas between; the first ranks: ${measureNames.join(", ")} (default: all)`,
      (value) => value.split(",").map((name) => name.trim()),
    )
    .option(
      "--quantizer <name>",
      "measure as if every layer's weights had this quantizer, such as absmean (default: the model's own; absmean for a full-precision model)",
    )
    .option(
      "--budget-bytes <n>",
      "choose the layers to raise so that the model takes n bytes at most: ternary weights at 2 bits, int8 as Q8_0, float as float16",
      wholeNumber(1),
    )
    .option(
      "--budget-loss <x>",
      "choose as few bytes as reach a loss of x nats per token on this text",
      decimalNumber(0),
    )
    .option("-o, --output <file>", "where the overrides of a budget are written (default: overrides.yaml)")
    .option("--html <file>", "write a page with the ranking as a chart and a table")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Rise and fall are in nats per token, each with its standard error over sequences. --budget-bytes and --budget-loss measure
each ternary layer in int8 and in float, and raise layers by the measured fall in loss for each byte. The overrides file is
for --overrides of train, eval and export. docs/sensitivity.md defines each number.

Examples:
  bitnet sensitivity runs/a --data held-out.txt
  bitnet sensitivity runs/a --data held-out.txt --json
  bitnet sensitivity runs/a --data held-out.txt --group role --measures leave-one-out,fisher
  bitnet sensitivity runs/full --data held-out.txt --quantizer absmean --html sensitivity.html
  bitnet sensitivity runs/full --data held-out.txt --budget-bytes 6000000 -o overrides.yaml
  bitnet eval runs/full --data held-out.txt --overrides overrides.yaml`,
    )
    .action(run);
}

async function run(argument: string | undefined, flags: SensitivityFlags): Promise<void> {
  const { measureSensitivity, planBudget } = await import("../analysis/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  const { group, measures, quantizer, budgetBytes, budgetLoss } = flags;
  if (budgetBytes !== undefined && budgetLoss !== undefined)
    throw new UsageError("name one of --budget-bytes and --budget-loss");
  const budgeted = budgetBytes !== undefined || budgetLoss !== undefined;
  if (flags.output !== undefined && !budgeted)
    throw new UsageError("-o is where a budget's overrides are written; give --budget-bytes or --budget-loss too");
  const interruption = listenForInterrupts();
  const progress = createProgressLine("measuring");
  const onProgress = (done: number, total: number, what: string) => progress.update(done, total, what);
  let opened: Awaited<ReturnType<typeof openForMeasuring>> | null = null;
  try {
    opened = await openForMeasuring("sensitivity", argument, flags, interruption);
    const { model, tokens, folder } = opened;
    const options = { ...sampleOptions(flags), quantizer, signal: interruption.signal, onProgress };
    const result = await measureSensitivity(model, tokens, { ...options, group, measures });
    const budget = budgeted
      ? await planBudget(model, tokens, { ...options, bytes: budgetBytes, lossNats: budgetLoss })
      : null;
    progress.close();
    const output = budget ? await writeBudget(budget, flags, folder) : null;
    if (flags.html !== undefined) await writePage(flags.html, result, budget, flags, folder);
    if (flags.json) {
      const about = { model: folder, data: flags.data };
      const content = { ...about, ...result, ...(budget ? { budget: { ...budget, output } } : {}) };
      process.stdout.write(`${JSON.stringify(content, null, 2)}\n`);
      return;
    }
    process.stdout.write(describe(result, folder));
    if (budget) process.stdout.write(`\n${describeBudget(budget, output!)}`);
    if (flags.html !== undefined) process.stdout.write(`page        ${flags.html}\n`);
  } finally {
    progress.close();
    interruption.release();
    opened?.close();
  }
}

async function writeBudget(budget: BudgetPlan, flags: SensitivityFlags, folder: string): Promise<string> {
  const { overridesText } = await import("../exchange/index.ts");
  const { writeAtomically } = await import("../platform/files.ts");
  const output = flags.output ?? "overrides.yaml";
  const asked =
    flags.budgetBytes !== undefined ? `--budget-bytes ${flags.budgetBytes}` : `--budget-loss ${flags.budgetLoss}`;
  const comments = [
    `bitnet sensitivity ${folder} ${asked}: ${budget.raised.length} layers raised, ${budget.bytes} bytes,`,
    `loss ${budget.loss.lossNats.toFixed(4)} on ${flags.data!.join(", ")} (all ternary: ${budget.ternaryLoss.lossNats.toFixed(4)})`,
  ];
  writeAtomically(output, overridesText(budget.quantization, comments));
  return output;
}

async function writePage(
  path: string,
  result: Sensitivity,
  budget: BudgetPlan | null,
  flags: SensitivityFlags,
  folder: string,
): Promise<void> {
  const { sensitivityPage } = await import("../report/index.ts");
  const { writeAtomically } = await import("../platform/files.ts");
  const { systemClock } = await import("../platform/system.ts");
  const facts: [string, string][] = [
    ["model", folder],
    ["text", flags.data!.join(", ")],
  ];
  writeAtomically(path, sensitivityPage(result, { createdMs: systemClock.epochMs(), budget, facts }));
}

const heads: Record<SensitivityMeasure, string> = {
  "leave-one-out": "rise",
  "put-one-back": "fall",
  "first-order": "1st order",
  fisher: "Fisher",
};
const legends: Record<SensitivityMeasure, string> = {
  "leave-one-out": "rise: loss with this alone quantized, over that with nothing quantized; nats per token",
  "put-one-back": "fall: loss with everything quantized, over that with all but this; nats per token",
  "first-order": "1st order: |sum of gradient x change of the weights|; nats per token",
  fisher: "Fisher: sum of squared gradient x squared change of the weights",
};

/** 0.0312 ± 0.0009: four digits behind the point, powers of ten for what they would not show. */
function withError({ value, standardError }: Measured): string {
  const shown = (x: number) => (x !== 0 && Math.abs(x) < 5e-4 ? x.toExponential(1) : x.toFixed(4));
  return standardError === null ? shown(value) : `${shown(value)} ± ${shown(standardError)}`;
}

function describe(result: Sensitivity, folder: string): string {
  const { asIf, plan, float, quantized, rise, rows, measures, agreement, group } = result;
  const facts = formatTable([
    ["model", `${folder}${asIf === null ? ` (${plan})` : `, as if its weights were ${asIf}`}`],
    ["text", `${formatCount(result.tokens)} tokens in ${formatCount(result.sequences)} sequences`],
    ["no layer quantized", `loss ${withError({ value: float.lossNats, standardError: float.standardError })}`],
    [
      "all layers quantized",
      `loss ${withError({ value: quantized.lossNats, standardError: quantized.standardError })}; the difference ${withError(rise)}`,
    ],
  ]);
  const columns = measures.map((measure) => formatColumn(rows.map(({ scores }) => scores[measure]!)));
  const table = formatTable(
    [
      ["", group, ...measures.map((measure, k) => `${heads[measure]}${columns[k].unit}`)],
      ...rows.map(({ name }, i) => [String(i + 1), name, ...columns.map(({ cells }) => cells[i])]),
    ],
    [0, ...measures.map((_, k) => k + 2)],
  );
  const [first, ...others] = measures;
  const agreements = others
    .filter((measure) => agreement[measure] !== null)
    .map((measure) => `${heads[measure]} ${agreement[measure]!.toFixed(2)}`);
  const lines = measures.map((measure) => legends[measure]);
  if (agreements.length > 0) lines.push(`rank correlation with ${heads[first]}: ${agreements.join(", ")}`);
  return `${facts}\n${table}\n${lines.join("\n")}\n`;
}

function describeBudget(budget: BudgetPlan, output: string): string {
  const { raised, bytes, ternaryBytes, loss, ternaryLoss } = budget;
  const counts = new Map<string, number>();
  for (const { weights } of raised) counts.set(weights, (counts.get(weights) ?? 0) + 1);
  const kinds = [...counts].map(([weights, n]) => `${n} in ${weights === "none" ? "float" : weights}`).join(", ");
  return formatTable([
    ["budget", raised.length === 0 ? "no layer is worth its bytes" : `${raised.length} layers raised: ${kinds}`],
    ["bytes", `${formatBytes(bytes)} (${formatCount(bytes)}); all ternary ${formatBytes(ternaryBytes)}`],
    ["loss", `${loss.lossNats.toFixed(4)}; all ternary ${ternaryLoss.lossNats.toFixed(4)}`],
    ["written", output],
  ]);
}
