/** `bitnet report`: measures runs and draws what was found. What the numbers are: docs/report.md. */
import { Command } from "commander";
import { addBackendOptions } from "./support/options.ts";
import { addReportOptions, makeReport, namesOf, type ReportFlags, typedCommand } from "./support/report-options.ts";

interface Options extends ReportFlags {
  data?: string[];
  label?: string[];
  pre?: string[];
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function reportCommand(): Command {
  const command = new Command("report")
    .summary("measure runs and draw a report: HTML, JSON, Markdown")
    .description(
      "Compares a ternary model with its full-precision twin, or any runs with each other: quality on a text, calibration, ternary histograms, training, speed, memory and size, as one page that needs nothing else.",
    )
    .argument(
      "<models...>",
      "runs, checkpoints, model folders, compact or GGUF files; the first bitnet one against the first full one",
    )
    .option("-d, --data <path>", "text to score; may be repeated; else the validation text that the runs name", collect)
    .option("--label <name>", "of a model, in their order; may be repeated; else its folder's name", collect)
    .option(
      "--pre <[name=]cut>",
      "how a GGUF file's byte-level BPE cuts text, by llama.cpp's name (llama-bpe, gpt-2, ...): of the model of that name, or of every model; may be repeated",
      collect,
    );
  return addBackendOptions(addReportOptions(command, "report"))
    .addHelpText(
      "after",
      `
What was measured is kept in <output>/measurements, part by part: a report that was interrupted goes on there, and one made
again measures only what changed. Models are timed in turns; leave the machine alone meanwhile, or say --no-speed.

Examples:
  bitnet report runs/tiny-bitnet runs/tiny-full --data held-out.txt -o report
  bitnet report runs/tiny-bitnet runs/tiny-full --task arc_easy,hellaswag --task-data tasks/ --limit 200
  bitnet report runs/tiny-bitnet runs/tiny-full --task all --task-data tasks/ --task-data wiki.test.raw
  bitnet report runs/tiny-bitnet runs/tiny-full --results bitnet.json --results full.json
  bitnet report runs/a runs/b runs/c --no-speed --title "Three learning rates"
  bitnet report runs/tiny-bitnet`,
    )
    .action(run);
}

async function run(models: string[], options: Options): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const labels = options.label ?? [];
  if (labels.length > models.length)
    throw new UsageError(`${labels.length} labels came for ${models.length} models; give one --label for each at most`);
  const names = namesOf(models).map((name, i) => labels[i] ?? name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`two models are called "${twice}"; tell them apart by --label`);
  const preOf = preByName(options.pre, names);
  await makeReport(
    models.map((path, i) => ({ name: names[i], path, ...preOf(names[i]) })),
    options.data,
    options,
    typedCommand(),
  );
}

/** Of `--pre [name=]cut`: a model's own, else the one for every model. */
function preByName(words: readonly string[] = [], names: readonly string[]): (name: string) => { pre?: string } {
  const named = new Map<string | null, string>();
  for (const word of words) {
    const name = names.find((candidate) => word.startsWith(`${candidate}=`)) ?? null;
    named.set(name, name === null ? word : word.slice(name.length + 1));
  }
  return (name) => {
    const pre = named.get(name) ?? named.get(null);
    return pre === undefined ? {} : { pre };
  };
}
