/** `bitnet bench`: how fast a model reads and writes, and what it takes; beside its twin, in turns. docs/report.md. */
import { Command, Option } from "commander";
import type { ModelConfig } from "../model/index.ts";
import type { TimedModel, TimedResult } from "../report/index.ts";
import { UsageError } from "../platform/errors.ts";
import { countOf, formatBytes, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { modelName } from "./support/model-name.ts";
import { addPreOption, type PreFlags } from "./support/model-options.ts";
import { addBackendOptions, type BackendOptions, backendChoice, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";

interface Options extends BackendOptions, PreFlags {
  model: string;
  compareModel?: string;
  variant?: ModelConfig["variant"];
  prompt: number;
  generate: number;
  samples: number;
  json?: boolean;
  output?: string;
}

export function benchCommand(): Command {
  const command = new Command("bench")
    .summary("speed and memory of a model, and of its twin")
    .description(
      "Times reading a prompt, writing token by token, and the first token, each model in its turn, after its answer was checked.",
    )
    .requiredOption(
      "-m, --model <model>",
      "a run, checkpoint, model folder, compact or GGUF file; or a preset, with random weights",
    )
    .option(
      "--compare-model <model>",
      "another; `full` or `bitnet`: the same shape in that variant, with random weights",
    )
    .addOption(new Option("--variant <name>", "of a preset; default bitnet").choices(["bitnet", "full"]))
    .option("-p, --prompt <n>", "tokens of the prompt; at most the context", wholeNumber(1), 512)
    .option("-n, --generate <n>", "tokens written one by one", wholeNumber(1), 128)
    .option("--samples <n>", "of each speed and model", wholeNumber(2), 6)
    .option("--json", "print the result as JSON")
    .option("-o, --output <file>", "write the result there as JSON");
  return addBackendOptions(addPreOption(command))
    .addHelpText(
      "after",
      `
A ternary model runs on the packed engine with 2-bit weights; a full-precision one there with half-precision weights, and as
in training, and each row is the faster of the two. Speed does not depend on what the weights are: random ones are labelled so.

Examples:
  bitnet bench -m runs/tiny-bitnet-1
  bitnet bench -m runs/tiny-bitnet-1 --compare-model full
  bitnet bench -m runs/tiny-bitnet-1 --compare-model runs/tiny-full-1 --json
  bitnet bench -m tinyllama-1.1b --compare-model full --samples 2`,
    )
    .action(run);
}

interface Opened extends TimedModel {
  random: boolean;
}

async function run(options: Options): Promise<void> {
  const { presets } = await import("../model/index.ts");
  const models = [options.model, options.compareModel ?? ""];
  if (options.variant && !models.some((model) => Object.hasOwn(presets, model)))
    throw new UsageError("--variant is of a preset; a model has its own");
  if (options.pre !== undefined && models.every((model) => model === "" || Object.hasOwn(presets, model)))
    throw new UsageError("--pre is of GGUF files, and a preset has none; leave it out");
  const { timeModels } = await import("../report/index.ts");
  const { systemClock, describeMachine, packageVersion } = await import("../platform/system.ts");
  const interruption = listenForInterrupts();
  const progress = createProgressLine("bench");
  const opened: Opened[] = [];
  try {
    opened.push(await open(options.model, options));
    const { compareModel: other } = options;
    if (other !== undefined) {
      const twin = other === "full" || other === "bitnet";
      opened.push(twin ? await openRandom(opened[0].config, other, options) : await open(other, options));
    }
    let step = 0;
    // A check each; a try of each row, where a model has two engines; two rounds of each row.
    const steps = opened.reduce((sum, { contenders: { length } }) => sum + length * (length > 1 ? 10 : 7), 0);
    const results = await timeModels(opened, {
      clock: systemClock,
      promptTokens: options.prompt,
      generatedTokens: options.generate,
      samples: options.samples,
      signal: interruption.signal,
      onProgress: (what) => progress.update(++step, steps, what),
    });
    progress.close();
    const models = results.map((result, i) => {
      const { name, random, config, backend } = opened[i];
      const { name: kind, isa, threads } = backend;
      return { name, randomWeights: random, variant: config.variant, backend: { name: kind, isa, threads }, ...result };
    });
    const json = `${JSON.stringify({ machine: describeMachine(), software: packageVersion(), models }, null, 2)}\n`;
    if (options.output !== undefined) {
      const { writeAtomically } = await import("../platform/files.ts");
      writeAtomically(options.output, json);
    }
    process.stdout.write(options.json ? json : describe(models));
  } finally {
    progress.close();
    interruption.release();
    for (const one of opened) one.close();
  }
}

/** A model from disk, or a preset with random weights. */
async function open(what: string, options: Options): Promise<Opened> {
  const { presetConfig, presets } = await import("../model/index.ts");
  const { variant = "bitnet" } = options;
  if (Object.hasOwn(presets, what)) return openRandom(presetConfig(what, variant), variant, options, what);
  const { openTimed } = await import("../report/index.ts");
  const { loadModel } = await import("../exchange/index.ts");
  const { downloaded, noteOpened } = await import("./support/model.ts");
  const timed = await openTimed(modelName(what), backendChoice(options), async (runtime) => {
    const opened = await loadModel(await downloaded(what), runtime, { pre: options.pre });
    noteOpened(opened);
    return opened.model;
  });
  return { ...timed, random: false };
}

async function openRandom(
  config: ModelConfig,
  variant: ModelConfig["variant"],
  options: Options,
  name = "same shape",
): Promise<Opened> {
  const { createRandomModel, openTimed } = await import("../report/index.ts");
  const timed = await openTimed(`${name}, ${variant} (random weights)`, backendChoice(options), async (runtime) =>
    createRandomModel(runtime, { ...config, variant }),
  );
  return { ...timed, random: true };
}

type Model = TimedResult & {
  name: string;
  backend: { name: string; isa: string; threads: number };
};

function describe(models: readonly Model[]): string {
  // Never in powers of ten.
  const digits = (x: number, many: number) => Number(x.toPrecision(many)).toLocaleString("en-US");
  const rate = ({ mean, deviation }: { mean: number; deviation: number | null }) =>
    `${digits(mean, 4)}${deviation === null ? "" : ` ± ${digits(deviation, 2)}`}`;
  const rows = models.map(({ name, prompt, decode, firstToken, loadedBytes, peakBytes, backend }) => [
    name,
    `${rate(prompt)} tokens/s`,
    `${rate(decode)} tokens/s`,
    `${rate(firstToken)} ms`,
    formatBytes(loadedBytes),
    formatBytes(peakBytes),
    `${backend.name} ${backend.isa}, ${countOf(backend.threads, "thread")}`,
  ]);
  const [{ prompt, decode, firstToken }] = models;
  const head = [
    "model",
    prompt.name,
    decode.name,
    `first token (${firstToken.tokens} before)`,
    "loaded",
    "peak",
    "backend",
  ];
  const lines = [formatTable([head, ...rows], [1, 2, 3, 4, 5])];
  if (models.length > 1) {
    const [a, b] = models;
    const ratio = (x: number, y: number) => `${(x / y).toFixed(2)} times`;
    lines.push(
      `${a.name} against ${b.name}: reads ${ratio(a.prompt.mean, b.prompt.mean)} as fast, writes ${ratio(a.decode.mean, b.decode.mean)} as fast, takes ${ratio(a.peakBytes, b.peakBytes)} the memory\n`,
    );
  }
  return lines.join("");
}
