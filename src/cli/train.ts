/** `bitnet train`: options to a config, progress to the standard error, a report at the end. The run itself is train/. */
import { Command, Option } from "commander";
import type { BackendChoice } from "../backends/index.ts";
import { backendNames } from "../backends/registry.ts";
import type { ConfigLayer, RunConfig, RunConfigPatch, TrainReport } from "../train/index.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatRate, formatShare } from "./support/format.ts";
import { configWord } from "./support/foreign-flags.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { decimalNumber, wholeNumber } from "./support/options.ts";

export interface TrainCommandOptions {
  data?: string[];
  mix?: string[];
  localCopy?: string;
  valData?: string[];
  tokenizer?: string;
  variant?: "bitnet" | "full";
  steps?: number;
  epochs?: number;
  tokens?: number;
  seed?: number;
  threads?: number;
  backend?: BackendChoice["backend"];
  isa?: string;
  recipe?: string;
  runDir?: string;
  from?: string;
  teacher?: string;
  quantRamp?: number;
  overrides?: string;
  resume?: string | true;
  logEvery: number;
  printConfig?: true;
  plot?: true;
}

const help = `
A preset, or a config file that names one, gives every value; options change single ones. Any key of the config is an
option: --section.key VALUE, the sections being model, data, tokenizer, optimizer, schedule, train, distill, evaluation,
samples, checkpoints, metrics and backend. --print-config shows all keys with the values that would be used.

Examples:
  # A text file of your own; the documents in it are separated by <|endoftext|>, or it is one
  bitnet train tiny --data stories.txt --steps 300

  # A data set of the hub, files elsewhere, patterns: downloaded once, encoded once, kept
  bitnet train tiny --data "hf://datasets/roneneldan/TinyStories/data/*.parquet" --steps 300
  bitnet train tiny --data "crawl/**/*.jsonl.gz"

  # Datasets that bitnet data prepare made, by themselves or mixed by weight (bitnet data mix shows what comes of it)
  bitnet train tiny --data stories --epochs 1
  bitnet train tiny --mix stories=0.7:stories,sums=0.3:sums.txt --steps 300
  bitnet train tiny --data mixture.yaml --tokens 100000000

  # The full-precision twin, three times over the text, with validation text of its own
  bitnet train tiny --variant full --data stories.txt --val-data more.txt --epochs 3

  # Begin from weights that are there: another run's, an imported model's (bitnet import --help)
  bitnet train tiny --from runs/tiny-bitnet-1 --data more.txt --epochs 1

  # A full-precision model made ternary, quantized progressively over the first 1000 steps
  bitnet import path/to/llama --to bitnet --no-sub-norms -o converted
  bitnet train tiny --from converted --quant-ramp 1000 --data FILE

  # Learn from a teacher's probabilities as well as from the text (docs/distillation.md)
  bitnet train tiny --data stories.txt --teacher runs/full --distill.alpha 0.5 --distill.temperature 2
  # Some layers in int8 or float, as bitnet sensitivity found them
  bitnet train tiny --data stories.txt --overrides overrides.yaml

  # Other ways to quantize progressively (docs/progressive-quantization.md), and a look at them before training
  bitnet train tiny --data stories.txt --steps 300 --train.progressive.kind cosine --train.progressive.end 40%
  bitnet train tiny --steps 300 --train.progressive.kind full-first --print-config --plot

  # Other values
  bitnet train tiny --data stories.txt --optimizer.learningRate 1e-3 --schedule.kind constant --train.batch 16

  # A recipe: named values over the preset, under all other options
  bitnet train tiny --data stories.txt --recipe paper

  # AdamW's moments in 8 bits: a quarter of their memory
  bitnet train tiny --data stories.txt --optimizer.kind adamw8bit

  # Muon for the matrices of the blocks, AdamW for the rest
  bitnet train tiny --data stories.txt --optimizer.kind muon

  # Write the config to a file, edit it, train from it
  bitnet train tiny --data stories.txt --print-config > mine.yaml
  bitnet train mine.yaml

  # Go on after Ctrl-C or a crash with the newest run; or with one, for more steps
  bitnet train --resume
  bitnet train --resume runs/tiny-bitnet-20260131-120000 --steps 600

Ctrl-C finishes the step, saves a checkpoint and exits with 130; a second Ctrl-C exits at once. The run's folder holds
config.yaml, meta.json, metrics/scalars.jsonl and a TensorBoard file, samples/samples.jsonl, and checkpoints/, each of
which is a model folder for eval, generate and inspect.`;

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function trainCommand(): Command {
  return new Command("train")
    .summary("train a model on text")
    .description("Trains a ternary model, or its full-precision twin, on text, with a tokenizer made for that text.")
    .usage("[preset | config.yaml] --data FILE [options] [--section.key VALUE ...]")
    .argument("[preset]", "a preset (bitnet inspect presets lists them), or a config file (.yaml)")
    .option(
      "--data <path>",
      "text to train on: files, folders, globs, addresses, hf://datasets/org/name; prepared datasets; or a mixture.yaml; may be repeated",
      collect,
    )
    .option("--mix <sources>", "or a mixture: name=weight:path, with commas between several; may be repeated", collect)
    .option("--local-copy <folder>", "take what is far away from here: a clone of the data set, say")
    .option("--val-data <file>", "text to validate on; else some of the data is held out; may be repeated", collect)
    .option("--tokenizer <file>", "a tokenizer.json to use; else one is trained on the data")
    .addOption(new Option("--variant <name>", "ternary, or its full-precision twin").choices(["bitnet", "full"]))
    .option("--steps <n>", "train for n steps in all; 0: evaluate and save the initial weights", wholeNumber(0))
    .option("--epochs <x>", "or for x passes over the data", decimalNumber(1e-9))
    .option("--tokens <n>", "or for n tokens", wholeNumber(1))
    .option("--seed <n>", "names the initial weights and the order of the data", wholeNumber(0))
    .option("--threads <n>", "threads; 0: one for each processor", wholeNumber(0, 256))
    .addOption(new Option("--backend <name>", "where to compute").choices(backendNames))
    .option("--isa <name>", "instruction set, such as avx2; else the best that the processor has")
    .option(
      "--recipe <name>",
      "lay a recipe over the preset: a name in recipes/training/ of the package (paper), or a .yaml file of your own",
    )
    .option("--run-dir <folder>", "the run's folder; else a new one in runs/")
    .option(
      "--from <model>",
      "begin from the weights, model config and tokenizer of a model folder, checkpoint or run; without a preset: with the training settings of its run, or of the preset nearest in size",
    )
    .option(
      "--teacher <model>",
      "learn from this model's probabilities too: a run, checkpoint, model folder, .gguf or .bitnet file, or org/name on the hub",
    )
    .option(
      "--quant-ramp <steps>",
      "quantize progressively over this many steps, for a model made by import --to bitnet: short for --train.progressive.kind linear with its end there",
      wholeNumber(0),
    )
    .option(
      "--resume [run]",
      "go on with a run or checkpoint; without a path, or auto: with that in --run-dir, else the newest in runs/. A run without a checkpoint begins again",
    )
    .option(
      "--overrides <file>",
      "quantizers of single layers, over those of the preset or config: a file with model.quantization, as bitnet sensitivity writes it",
    )
    .option("--log-every <n>", "steps between lines of progress where the output is no terminal", wholeNumber(1), 10)
    .option("--print-config", "print the config that would be used, and do nothing")
    .option("--plot", "with --print-config: draw learning rate, weight decay and lambda over the steps, as comments")
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText("after", help)
    .action((_: unknown, options: TrainCommandOptions, command: Command) => run(options, command));
}

async function run(options: TrainCommandOptions, command: Command): Promise<void> {
  const { checkProgressive, configToYaml, plannedConfig, train } = await import("../train/index.ts");
  const asked = {
    config: await layersOf(options, command),
    runFolder: options.runDir,
    from: options.from,
    resume: options.resume === true ? "auto" : options.resume,
  };
  if (options.printConfig) {
    const config = await plannedConfig(asked);
    checkProgressive(config);
    process.stdout.write(configToYaml(config) + (options.plot ? await plotOf(config) : ""));
    return;
  }
  if (options.plot) {
    const { UsageError } = await import("../platform/errors.ts");
    throw new UsageError("--plot draws what --print-config prints; name both, or leave it out");
  }
  const { createSampler } = await import("./support/train-sampler.ts");
  const { createTrainProgress } = await import("./support/train-progress.ts");
  const progress = createTrainProgress(options.logEvery);
  const interruption = listenForInterrupts(() =>
    progress.say("finishing the step and saving; press Ctrl-C again to leave at once"),
  );
  let report: TrainReport;
  try {
    report = await train({
      ...asked,
      callbacks: [progress.callback],
      onNote: progress.say,
      onReady: progress.begin,
      signal: interruption.signal,
      sampler: createSampler(),
    });
  } finally {
    progress.end();
    interruption.release();
  }
  process.stdout.write(describeReport(report));
  if (report.reason === "interrupted") throw interruption.signal.reason;
}

/** Columns of a chart. */
const plotWidth = 72;

/** The run's schedules as comments of YAML, so that what is printed stays a config. */
async function plotOf(config: RunConfig): Promise<string> {
  const { runCurves } = await import("../train/index.ts");
  const { drawChart, drawLines } = await import("./support/text-chart.ts");
  const { totalSteps, assumed, curves } = runCurves(config, plotWidth);
  const axis = { from: "step 1", to: formatCount(totalSteps) };
  const byLayer = curves.filter(({ name }) => name.startsWith("lambda of "));
  const others = curves.filter((curve) => !byLayer.includes(curve));
  const lines = [
    ...(assumed
      ? [`Drawn for ${countOf(totalSteps, "step")}: how many train.epochs makes depends on the data.`, ""]
      : []),
    ...others.flatMap((curve) => [...drawChart(curve, axis), ""]),
    ...(byLayer.length > 0 ? [...drawLines(byLayer), ""] : []),
  ];
  return lines.map((line) => `${`# ${line}`.trimEnd()}\n`).join("");
}

/** The preset or file, then the short options, then `--section.key VALUE`, each over the ones before. */
export async function layersOf(options: TrainCommandOptions, command: Command): Promise<ConfigLayer[]> {
  const { parseOverrides, presetNames } = await import("../train/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  const { names, overrides } = sortWords(command.args);
  if (names.length > 1)
    throw new UsageError(`train takes one preset or config file, but ${names.map((n) => `"${n}"`).join(" and ")} came`);
  if (names.length === 0 && options.resume === undefined && options.from === undefined)
    throw new UsageError(`name a preset (${presetNames.join(", ")}) or a config file; bitnet train --help tells more`);
  if ([options.steps, options.epochs, options.tokens].filter((x) => x !== undefined).length > 1)
    throw new UsageError("name one of --steps, --epochs and --tokens");
  const { variant, steps, epochs, tokens, seed, threads, backend, isa, valData, tokenizer, localCopy } = options;
  const patch = {
    recipe: options.recipe,
    model: { variant },
    data: { ...(await textOf(options)), validFiles: valData, localCopy },
    tokenizer: { file: tokenizer },
    train: { steps, epochs, tokens, seed, quantRampSteps: options.quantRamp },
    distill: { teacher: options.teacher },
    backend: { name: backend, isa, threads },
  };
  return [
    ...(names.length > 0 ? [await baseLayer(names[0])] : []),
    ...(await overridesLayer(options)),
    { from: "options", patch: withoutUndefined(patch) as RunConfigPatch },
    ...parseOverrides(
      overrides,
      command.options.map((option) => option.long!.slice(2)),
    ),
  ];
}

/** What --data and --mix name: files, or a mixture. */
export async function textOf({
  data,
  mix,
}: Pick<TrainCommandOptions, "data" | "mix">): Promise<RunConfigPatch["data"]> {
  const { isMixtureFile, parseMix, readMixture } = await import("../data/mixing/spec.ts");
  const { UsageError } = await import("../platform/errors.ts");
  if (data && mix) throw new UsageError("name the text with --data or with --mix, not both");
  if (mix) return { mixture: parseMix(mix) };
  const file = data?.find(isMixtureFile);
  if (file === undefined) return { files: data };
  if (data!.length > 1)
    throw new UsageError(`${file}: a mixture stands alone; name other text among its sources, not with --data`);
  return { mixture: readMixture(file) };
}

/**
 * Commander leaves the words that it does not know: a preset's name, and options of the config with their values. Names that
 * other programs use for a key are read as that key.
 */
export function sortWords(words: readonly string[]): { names: string[]; overrides: string[] } {
  const names: string[] = [];
  const overrides: string[] = [];
  for (let i = 0; i < words.length; i++) {
    if (!words[i].startsWith("-")) names.push(words[i]);
    else
      overrides.push(configWord(words[i]), ...(words[i].includes("=") || i + 1 === words.length ? [] : [words[++i]]));
  }
  return { names, overrides };
}

async function baseLayer(name: string): Promise<ConfigLayer> {
  if (!/\.ya?ml$/i.test(name)) return { from: "preset", patch: { preset: name } };
  const { parseConfig } = await import("../train/index.ts");
  const { readWhole } = await import("../platform/files.ts");
  return { from: name, patch: parseConfig(new TextDecoder().decode(readWhole(name, 2 ** 20)), name) };
}

/** --overrides: checked as the file that it is, so that what else stands in it is refused. */
async function overridesLayer({ overrides: file }: TrainCommandOptions): Promise<ConfigLayer[]> {
  if (file === undefined) return [];
  const { readOverrides } = await import("../exchange/index.ts");
  return [{ from: file, patch: { model: { quantization: readOverrides(file) } } }];
}

/** Keys without a value would count as set. */
export const withoutUndefined = (value: object): object => JSON.parse(JSON.stringify(value));

/** A share of the time that somebody should hear of. */
const waitWorthSaying = 0.01;

export function describeReport(report: TrainReport): string {
  const { before, after, best, checkpoint, bestCheckpoint, folder, epochs } = report;
  const ended = report.reason === "early-stopping" ? "stopped early" : report.reason;
  const lines = [
    `${ended} after step ${formatCount(report.step)}: ${countOf(report.totalTokens, "token")} in ${formatDuration(report.elapsedMs)} (${formatRate(report.tokensPerSecond, "tokens")}), at most ${formatBytes(report.peakMemoryBytes)} of memory`,
  ];
  for (const { name, drawnTokens, epochs: passes } of report.sources ?? [])
    lines.push(`source      ${name}: ${countOf(drawnTokens, "token")}, ${passes.toPrecision(3)} passes`);
  if (report.dataWaitMs > waitWorthSaying * report.elapsedMs)
    lines.push(
      `waited      ${formatDuration(report.dataWaitMs)} for data, ${formatShare(report.dataWaitMs / report.elapsedMs, 1)} of the time; data.prefetch reads more ahead`,
    );
  if (report.skippedSteps > 0)
    lines.push(
      `skipped     ${countOf(report.skippedSteps, "step")} that changed nothing: their loss or gradient was not finite, or a callback skipped them`,
    );
  for (const { epoch, loss } of epochs)
    lines.push(`epoch ${String(epoch + 1).padEnd(5)} training loss ${loss.toFixed(4)}`);
  if (before && after) {
    const bits = after.bitsPerByte === null ? "" : `, ${after.bitsPerByte.toFixed(3)} bits per byte`;
    const at = best ? `; best ${best.loss.toFixed(4)} at step ${best.step}` : "";
    const ppl = ({ perplexity }: { perplexity: number }) => perplexity.toPrecision(4);
    const figures = `loss ${after.loss.toFixed(4)}${bits}`;
    const since = report.step > after.step ? `; not evaluated since step ${formatCount(after.step)}` : "";
    lines.push(
      after.step === before.step && since
        ? `validation  perplexity ${ppl(before)} at step ${formatCount(before.step)} (${figures})${since}`
        : `validation  perplexity ${ppl(before)} before, ${ppl(after)} ${since ? `at step ${formatCount(after.step)}` : "after"} (${figures}${at})${since}`,
    );
  }
  lines.push(`run         ${folder}`);
  if (checkpoint) lines.push(`checkpoint  ${checkpoint}`);
  if (bestCheckpoint && bestCheckpoint !== checkpoint) lines.push(`best        ${bestCheckpoint}`);
  if (report.reason === "interrupted") lines.push(`resume      bitnet train --resume ${folder}`);
  else if (checkpoint) lines.push(`try         bitnet generate -m ${folder} -p "Once upon a time" -n 100`);
  if (report.step > 0) {
    lines.push(`curves      tensorboard --logdir ${folder}   (from PyPI: pip install tensorboard)`);
    if (checkpoint) lines.push(`report      bitnet report ${folder} --data FILE`);
  }
  return `${lines.join("\n")}\n`;
}
