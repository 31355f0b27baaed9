/** `bitnet calibrate`: a model's inputs and scales on a text, what other scales cost, and post-training ternarization. */
import { Command, Option } from "commander";
import type { CalibrationResult, Effect, InputStatistics, Measured, StaticMethod } from "../analysis/index.ts";
import type { QuantizationConfig, Transformer } from "../model/index.ts";
import { countOf, formatCount, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { addMeasureOptions, type MeasureFlags, openForMeasuring, sampleOptions } from "./support/measure-options.ts";
import type { OpenedForUse } from "./support/model.ts";
import { createProgressLine } from "./support/progress.ts";

interface CalibrateFlags extends MeasureFlags {
  ternarize?: string;
  static?: StaticMethod;
  scales: "own" | "least-squares";
  foldTemperature?: boolean;
  output?: string;
  json?: boolean;
}

const methods = ["min-max", "percentile", "mse", "entropy"] as const;
const defaultTokens = 2 ** 14;

export function calibrateCommand(): Command {
  const command = new Command("calibrate")
    .summary("inputs and scales on a text; post-training ternarization")
    .description(
      "Shows what the inputs of a model's layers are like on a text, and what fixed input scales, least-squares weight scales and one temperature do to its perplexity on the part that they were not fitted to. Makes a full-precision model ternary without training.",
    );
  return addMeasureOptions(command, defaultTokens)
    .option(
      "--ternarize <quantizer>",
      "make a full-precision model ternary first, by this quantizer (absmean, ...), and calibrate that; -o writes it as a model folder",
    )
    .addOption(
      new Option(
        "--static <method>",
        "which fixed input scales -o writes: into the overrides file, or the folder of --ternarize (default: none)",
      ).choices(methods),
    )
    .addOption(
      new Option("--scales <which>", "weight scales of the folder that -o writes")
        .choices(["own", "least-squares"])
        .default("own"),
    )
    .option("--fold-temperature", "divide the last norm's gain in the folder that -o writes by the temperature")
    .option(
      "-o, --output <path>",
      "write an overrides file (with --static alone), or a model folder (with --ternarize, --scales least-squares or --fold-temperature)",
    )
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The first half of the text's sequences is observed and fitted to; every loss and perplexity is of the second half.
docs/calibration.md defines each number.

Examples:
  bitnet calibrate runs/a --data held-out.txt
  bitnet calibrate runs/a --data held-out.txt --json
  bitnet calibrate runs/a --data held-out.txt --static mse -o overrides.yaml
  bitnet calibrate runs/full --data held-out.txt --ternarize absmean --scales least-squares -o rounded
  bitnet eval rounded --data held-out.txt`,
    )
    .action(run);
}

async function run(argument: string | undefined, flags: CalibrateFlags): Promise<void> {
  const { calibrate } = await import("../analysis/index.ts");
  const folderAsked =
    flags.ternarize !== undefined || flags.scales === "least-squares" || flags.foldTemperature === true;
  await checkOutput(flags, folderAsked);
  const interruption = listenForInterrupts();
  const progress = createProgressLine("calibrating");
  let opened: Awaited<ReturnType<typeof openForMeasuring>> | null = null;
  try {
    opened = await openForMeasuring("calibrate", argument, flags, interruption);
    const { model, tokens, folder } = opened;
    const result = await calibrate(model, tokens, {
      ...sampleOptions(flags),
      ternarize: flags.ternarize,
      signal: interruption.signal,
      onProgress: (done, total, what) => progress.update(done, total, what),
    });
    progress.close();
    if (flags.output !== undefined) {
      if (folderAsked) await writeFolder(flags.output, opened, result, flags);
      else await writeStatic(flags.output, result, flags, folder);
    }
    if (flags.json) {
      const about = { model: folder, data: flags.data, output: flags.output ?? null };
      // The folder's name and the model's losses are two things.
      const { model: losses, ...rest } = result;
      process.stdout.write(`${JSON.stringify({ ...about, base: losses, ...rest }, null, 2)}\n`);
      return;
    }
    process.stdout.write(describe(result, folder));
    if (flags.output !== undefined) process.stdout.write(`\nwrote ${flags.output}\n`);
  } finally {
    progress.close();
    interruption.release();
    opened?.close();
  }
}

async function checkOutput(flags: CalibrateFlags, folderAsked: boolean): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { output } = flags;
  if (output !== undefined && !folderAsked && flags.static === undefined)
    throw new UsageError(
      "-o writes fixed input scales (--static METHOD) or a model folder (--ternarize, --scales least-squares, --fold-temperature); say which",
    );
  if (output !== undefined) return;
  const idle =
    flags.static !== undefined
      ? "--static"
      : flags.scales === "least-squares"
        ? "--scales"
        : flags.foldTemperature
          ? "--fold-temperature"
          : null;
  if (idle) throw new UsageError(`${idle} says what -o writes; give -o PATH too`);
}

const staticOf = ({ static: found }: CalibrationResult, method: StaticMethod | undefined): QuantizationConfig | null =>
  found.find((one) => one.method === method)?.quantization ?? null;

async function writeStatic(
  path: string,
  result: CalibrationResult,
  flags: CalibrateFlags,
  folder: string,
): Promise<void> {
  const { overridesText } = await import("../exchange/index.ts");
  const { writeAtomically } = await import("../platform/files.ts");
  const comments = [
    `bitnet calibrate ${folder} --static ${flags.static}: fixed scales of ${result.inputs.length} inputs,`,
    `from ${countOf(result.tokens.fit, "token")} of ${flags.data!.join(", ")}`,
  ];
  writeAtomically(path, overridesText(staticOf(result, flags.static)!, comments));
}

/** The model as asked for, written as a folder that eval, export and train --from take. */
async function writeFolder(
  path: string,
  { model, tokenizer, folder }: OpenedForUse,
  result: CalibrationResult,
  flags: CalibrateFlags,
): Promise<void> {
  const { foldTemperature, ternarize, withScales } = await import("../analysis/index.ts");
  const { saveModelFolder } = await import("../checkpoint/index.ts");
  const { requantize, withQuantization } = await import("../model/index.ts");
  const { UnsupportedError } = await import("../platform/errors.ts");
  const made: Transformer[] = [];
  const next = async (one: Promise<Transformer>) => {
    made.push(await one);
    return made.at(-1)!;
  };
  try {
    let now = flags.ternarize === undefined ? model : await next(ternarize(model, flags.ternarize));
    const least = flags.scales === "least-squares";
    if (least && !result.leastSquares)
      throw new UnsupportedError(`--scales least-squares: ${result.leastSquaresReason}`);
    if (least) now = await next(withScales(now, result.leastSquares!.matrices));
    const fixed = staticOf(result, flags.static);
    if (fixed) now = await next(requantize(now, withQuantization(now.config, fixed)));
    if (flags.foldTemperature) await foldTemperature(now, (least ? result.both! : result.temperature).temperature);
    await saveModelFolder(path, now, tokenizer, folder);
  } finally {
    for (const one of made) one.dispose();
  }
}

const number = (x: number): string =>
  x === 0 || (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e4) ? Number(x.toPrecision(4)).toString() : x.toExponential(2);
const decibels = (x: number | null): string => (x === null ? "exact" : x.toFixed(1));
const shown = (x: number) => (x !== 0 && Math.abs(x) < 5e-4 ? x.toExponential(1) : x.toFixed(4));
const withError = ({ value, standardError }: Measured): string =>
  standardError === null ? shown(value) : `${shown(value)} ± ${shown(standardError)}`;

/** "layers.0.self_attn.q_proj, k_proj, v_proj" */
function inputName({ layers }: Pick<InputStatistics, "layers">): string {
  const [first, ...rest] = layers.map((name) => name.replace(/^model\./, ""));
  const ends = rest.map((name) =>
    name
      .split(".")
      .at(-1)!
      .replace(/_proj$/, ""),
  );
  return [first.replace(/_proj$/, ""), ...ends].join(",");
}

function describe(result: CalibrationResult, folder: string): string {
  const { ternarized, plan, tokens, sequences, full, inputs } = result;
  const facts = formatTable([
    ["model", `${folder} (${ternarized === null ? plan : `made ternary by ${ternarized}`})`],
    [
      "text",
      `${countOf(tokens.fit, "token")} in ${countOf(sequences.fit, "sequence")} to fit, ${formatCount(tokens.heldOut)} in ${formatCount(sequences.heldOut)} held out`,
    ],
  ]);
  const table = formatTable(
    [
      ["input of", "absmax", "99.99 %", "99 %", "rms", "peak/rms", "kurtosis", "dB", "dB, worst"],
      ...inputs.map((input) => [
        inputName(input),
        number(input.absmax),
        number(input.percentiles["99.99"]),
        number(input.percentiles["99"]),
        number(input.rms),
        input.peakToRms.mean.toFixed(1),
        number(input.kurtosis),
        decibels(input.sqnrDb),
        decibels(input.tokenSqnrDb.least),
      ]),
    ],
    [1, 2, 3, 4, 5, 6, 7, 8],
  );
  const row = (what: string, { loss, difference }: Effect, against: string): string[] => [
    what,
    loss.lossNats.toFixed(4),
    loss.perplexity.toPrecision(5),
    withError(difference),
    against,
  ];
  const model = ternarized === null ? "the model" : `ternary by ${ternarized}`;
  const losses = formatTable(
    [
      ["held out", "loss", "perplexity", "difference", "to"],
      ...(full ? [["full precision", full.lossNats.toFixed(4), full.perplexity.toPrecision(5), "", ""]] : []),
      full
        ? row(model, result.model, "full precision")
        : [model, result.model.loss.lossNats.toFixed(4), result.model.loss.perplexity.toPrecision(5), "", ""],
      row("inputs not rounded", result.floatInputs, model),
      row("input scales by token", result.dynamic, model),
      ...result.static.map((one) => row(`fixed scales, ${one.method}`, one, "by token")),
      ...(result.leastSquares ? [row("least-squares scales", result.leastSquares, model)] : []),
      row(`temperature ${result.temperature.temperature.toFixed(3)}`, result.temperature, model),
      ...(result.both ? [row(`both, temperature ${result.both.temperature.toFixed(3)}`, result.both, model)] : []),
    ],
    [1, 2, 3],
  );
  const missing = result.leastSquares ? "" : `least-squares scales: not measured, for ${result.leastSquaresReason}\n`;
  return `${facts}\n${table}dB: signal over the noise of int8 with a scale for each token; worst: of any token\n\n${losses}${missing}`;
}
