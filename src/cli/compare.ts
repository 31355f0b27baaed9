/** `bitnet compare`: trains a ternary model and its full-precision twin on the same tokens, measures both, draws the report. */
import { Command } from "commander";
import { backendNames } from "../backends/registry.ts";
import { layersOf, type TrainCommandOptions } from "./train.ts";
import { countOf, formatDuration } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { decimalNumber, wholeNumber } from "./support/options.ts";
import {
  addReportOptions,
  checkReportFlags,
  makeReport,
  type ReportFlags,
  tasksOf,
  typedCommand,
} from "./support/report-options.ts";
import { twinLayers } from "./support/twin.ts";
import { untrainedTwins } from "./support/untrained.ts";

interface Options extends ReportFlags, Omit<TrainCommandOptions, "backend" | "isa" | "threads"> {
  evalData?: string[];
  randomWeights?: boolean;
  weights?: string[];
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function compareCommand(): Command {
  const command = new Command("compare")
    .summary("train both twins, measure both, write the report")
    .description(
      "Trains the ternary and the full-precision variant of one preset on the same tokens in the same order, evaluates both, and writes the report. Called again, it goes on where it was. With --random-weights or --weights nothing is trained: the preset is timed and weighed at full size.",
    )
    .usage("[preset | config.yaml] --data FILE [options] [--section.key VALUE ...]")
    .argument("[preset]", "a preset (bitnet inspect presets lists them), or a config file (.yaml)")
    .option("--data <file>", "text to train on; may be repeated", collect)
    .option(
      "--val-data <file>",
      "text to validate on, and to score both on; else some of the data is held out",
      collect,
    )
    .option("--eval-data <file>", "text to score both on, if not the validation text; may be repeated", collect)
    .option("--random-weights", "train nothing: time and weigh both variants of the preset with random weights")
    .option(
      "--weights <folder>",
      "train nothing: take the weights of a Hugging Face folder of the preset's shape; of one that is full precision the ternary variant is it, rounded. May be repeated, once for each variant",
      collect,
    )
    .option("--tokenizer <file>", "a tokenizer.json to use; else one is trained on the data")
    .option("--steps <n>", "train each for n steps in all", wholeNumber(1))
    .option("--epochs <x>", "or for x passes over the data", decimalNumber(1e-9))
    .option("--tokens <n>", "or for n tokens", wholeNumber(1))
    .option("--seed <n>", "names the initial weights and the order of the data", wholeNumber(0))
    .option("--log-every <n>", "steps between lines of progress where the output is no terminal", wholeNumber(1), 10)
    .option("--threads <n>", "threads; else one for each processor", wholeNumber(1, 256))
    .option("--backend <name>", `where to compute: ${backendNames.join(", ")}`, "auto")
    .option("--isa <name>", "instruction set, such as avx2; else the best that the processor has");
  return addReportOptions(command, "compare")
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText(
      "after",
      `
The two runs are <output>/runs/bitnet and <output>/runs/full: folders as bitnet train makes them. Ctrl-C saves; the same
command then goes on, and does nothing twice. --section.key VALUE changes the config of both, as for bitnet train.

Examples:
  bitnet compare tiny --data stories.txt --val-data held-out.txt --epochs 3
  bitnet compare tiny --data stories.txt --steps 20 --no-speed -o try
  bitnet compare tiny --data stories.txt --val-data held-out.txt --task arc_easy --task-data tasks/ -o docs/benchmarks --name latest
  bitnet compare tinyllama-1.1b --random-weights --samples 2
  bitnet compare tinyllama-1.1b --weights TinyLlama-1.1B/ --eval-data held-out.txt --task arc_easy --task-data tasks/`,
    )
    .action((_: unknown, options: Options, self: Command) => run(options, self));
}

async function run(options: Options, command: Command): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { exists, joinPath } = await import("../platform/files.ts");
  if (!backendNames.includes(options.backend))
    throw new UsageError(`--backend ${options.backend}: is none of ${backendNames.join(", ")}`);
  if (command.args.includes("--variant") || command.args.some((word) => word.startsWith("--model.variant")))
    throw new UsageError("compare trains both variants; leave out the variant");
  await checkReportFlags(options);
  const scored = options.evalData ?? options.valData;
  for (const path of scored ?? []) if (!exists(path)) throw new UsageError(`${path}: there is no such file to score`);
  // Commander gives undefined where a flag is absent; the config wants it so.
  const threads = options.threads;
  const backend = { backend: options.backend, isa: options.isa, threads };
  if (options.randomWeights || options.weights) {
    const twins = await untrainedTwins(options, command);
    return makeReport(twins, scored, { ...options, ...backend }, typedCommand());
  }
  await tasksOf(options); // what is wrong with them is said now, not after the training
  const runs = joinPath(options.output, "runs");
  const made: { name: string; path: string }[] = [];
  for (const variant of ["bitnet", "full"] as const) {
    const path = joinPath(runs, variant);
    const layers = await layersOf({ ...options, threads, variant, resume: undefined } as TrainCommandOptions, command);
    await trainOne(variant, path, { bitnet: layers, full: twinLayers(layers) }[variant], options);
    made.push({ name: { bitnet: "BitNet", full: "full precision" }[variant], path });
  }
  await makeReport(made, scored, { ...options, ...backend }, typedCommand());
}

/** Trains, or goes on, or sees that there is nothing left to do. */
async function trainOne(
  variant: "bitnet" | "full",
  path: string,
  layers: Awaited<ReturnType<typeof layersOf>>,
  { logEvery }: Options,
): Promise<void> {
  const { train } = await import("../train/index.ts");
  const { createTrainProgress } = await import("./support/train-progress.ts");
  const { createSampler } = await import("./support/train-sampler.ts");
  const progress = createTrainProgress(logEvery);
  const interruption = listenForInterrupts(() =>
    progress.say("finishing the step and saving; press Ctrl-C again to leave at once"),
  );
  try {
    const report = await train({
      config: layers,
      runFolder: path,
      resume: "auto",
      callbacks: [progress.callback],
      onNote: progress.say,
      onReady: progress.begin,
      signal: interruption.signal,
      sampler: createSampler(),
    });
    const { step, elapsedMs, after } = report;
    const measured =
      after && `validation loss ${after.loss.toFixed(4)}${after.step < step ? ` at step ${after.step}` : ""}`;
    progress.say(
      `${variant}: ${countOf(step, "step")}, ${formatDuration(elapsedMs)} in all${measured ? `, ${measured}` : ""}`,
    );
    if (report.reason === "interrupted") throw interruption.signal.reason;
  } finally {
    progress.end();
    interruption.release();
  }
}
