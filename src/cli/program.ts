/**
 * The commands of `bitnet`, put together. Only the command that is called is loaded, so that `bitnet --help` answers at
 * once; the others are their names and a line each. To add one: a file beside this, and an entry here.
 */
import { Command } from "commander";
import { UsageError } from "../platform/errors.ts";
import { acceptForeignFlags } from "./support/foreign-flags.ts";

interface Entry {
  name: string;
  /** The same as the command's own (a test compares them). */
  summary: string;
  load(): Promise<Command>;
}

export const entries: readonly Entry[] = [
  {
    name: "quickstart",
    summary: "see it work: learn arithmetic in about four minutes",
    load: async () => (await import("./quickstart.ts")).quickstartCommand(),
  },
  {
    name: "train",
    summary: "train a model on text",
    load: async () => (await import("./train.ts")).trainCommand(),
  },
  {
    name: "eval",
    summary: "perplexity on a text; ARC, HellaSwag, HumanEval ...",
    load: async () => (await import("./eval.ts")).evalCommand(),
  },
  {
    name: "generate",
    summary: "write text with a model",
    load: async () => (await import("./generate.ts")).generateCommand(),
  },
  {
    name: "run",
    summary: "answer one prompt",
    load: async () => (await import("./run.ts")).runCommand(),
  },
  {
    name: "chat",
    summary: "talk with a model in the terminal",
    load: async () => (await import("./chat.ts")).chatCommand(),
  },
  {
    name: "serve",
    summary: "a model behind OpenAI's HTTP API, and a chat page",
    load: async () => (await import("./serve.ts")).serveCommand(),
  },
  {
    name: "perplexity",
    summary: "perplexity as llama.cpp computes it",
    load: async () => (await import("./perplexity.ts")).perplexityCommand(),
  },
  {
    name: "study",
    summary: "arms times seeds, resumable, into one report with errors",
    load: async () => (await import("./study.ts")).studyCommand(),
  },
  {
    name: "compare",
    summary: "train both twins, measure both, write the report",
    load: async () => (await import("./compare.ts")).compareCommand(),
  },
  {
    name: "report",
    summary: "measure runs and draw a report: HTML, JSON, Markdown",
    load: async () => (await import("./report.ts")).reportCommand(),
  },
  {
    name: "bench",
    summary: "speed and memory of a model, and of its twin",
    load: async () => (await import("./bench.ts")).benchCommand(),
  },
  {
    name: "audit",
    summary: "check the papers' claims on a checkpoint, by computing them",
    load: async () => (await import("./audit.ts")).auditCommand(),
  },
  {
    name: "sensitivity",
    summary: "what each layer's quantization costs; mixed precision",
    load: async () => (await import("./sensitivity.ts")).sensitivityCommand(),
  },
  {
    name: "calibrate",
    summary: "inputs and scales on a text; post-training ternarization",
    load: async () => (await import("./calibrate.ts")).calibrateCommand(),
  },
  {
    name: "inspect",
    summary: "layers, parameters and memory of a preset, config or checkpoint",
    load: async () => (await import("./inspect.ts")).inspectCommand(),
  },
  {
    name: "export",
    summary: "write a model for other programs",
    load: async () => (await import("./export.ts")).exportCommand(),
  },
  {
    name: "import",
    summary: "read another program's model into a model folder",
    load: async () => (await import("./import.ts")).importCommand(),
  },
  {
    name: "tokenizer",
    summary: "train a tokenizer; turn text into tokens and back",
    load: async () => (await import("./tokenizer.ts")).tokenizerCommand(),
  },
  {
    name: "data",
    summary: "turn text into token shards; look into them; generate problems",
    load: async () => (await import("./data/data.ts")).dataCommand(),
  },
  {
    name: "runs",
    summary: "list training runs: state, steps, best loss, size",
    load: async () => (await import("./runs.ts")).runsCommand(),
  },
  {
    name: "analyze",
    summary: "quantization errors of layers, followed through the network",
    load: async () => (await import("./analyze.ts")).analyzeCommand(),
  },
  {
    name: "diagnose",
    summary: "what is wrong with a training run, why, and what to do",
    load: async () => (await import("./diagnose.ts")).diagnoseCommand(),
  },
];

const help = `
Examples:
  bitnet quickstart
  bitnet train tiny --data stories.txt --steps 300
  bitnet eval -m runs/tiny-bitnet-1 --data held-out.txt
  bitnet generate -m runs/tiny-bitnet-1 -p "Once upon a time" -n 100
  bitnet inspect 2b4t

\`bitnet <command> --help\` tells about one. What a command is asked for goes to the standard output, all else to the
standard error. \`--extension FILE\`, with any command, loads parts of your own (docs/extending.md). It exits with 0; with 2 if it was called wrongly, 1 if it failed, 130 after Ctrl-C.`;

/**
 * @param args what follows `bitnet`: says which command to load
 * @throws UsageError for help about a command that there is not
 */
export async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command("bitnet")
    .description("Trains, evaluates and runs BitNet b1.58 language models: weights of -1, 0 and +1, on this computer.")
    .option("-V, --version", "print the version, and the backends that work here")
    .option("--debug", "on an error, print where in the code it arose")
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .addHelpText("after", help);
  // Options before the command are flags, so the first word is the command.
  const words = args.filter((word) => !word.startsWith("-"));
  const wanted = words[0] === "help" ? words[1] : words[0];
  if (words[0] === "help" && wanted !== undefined && !entries.some(({ name }) => name === wanted))
    throw new UsageError(`unknown command "${wanted}"; commands are: ${entries.map(({ name }) => name).join(", ")}`);
  for (const { name, summary, load } of entries) {
    const command = name === wanted ? await load() : new Command(name).summary(summary);
    acceptForeignFlags(command);
    program.addCommand(command);
  }
  return program;
}
