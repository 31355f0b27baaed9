/**
 * `bitnet data`: the list of its commands, one file each beside this one, and `bitnet data generate`. The work is corpus/'s;
 * here are options, files and lines.
 */
import { Command, Option } from "commander";
import type { ArithmeticOperator, ProblemSet, ProblemSplit } from "../../corpus/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import { filterCommand } from "./filter.ts";
import { dedupCommand } from "./dedup.ts";
import { inspectCommand } from "./inspect.ts";
import { prepareCommand } from "./prepare.ts";
import { mixCommand } from "./mix.ts";
import { scoreCommand } from "./score.ts";
import { streamCommand } from "./stream.ts";
import { countOf, formatBytes, formatDuration, formatRate } from "../support/format.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import { wholeNumber } from "../support/options.ts";
import { createProgressLine } from "../support/progress.ts";
import { openOutput } from "../support/token-files.ts";

export function dataCommand(): Command {
  return new Command("data")
    .summary("turn text into token shards; look into them; generate problems")
    .description("Prepares text for training, once for many runs; and writes texts whose answers can be checked.")
    .addCommand(prepareCommand())
    .addCommand(dedupCommand())
    .addCommand(filterCommand())
    .addCommand(mixCommand())
    .addCommand(scoreCommand())
    .addCommand(streamCommand())
    .addCommand(inspectCommand())
    .addCommand(generateCommand())
    .addHelpText(
      "after",
      `
Examples:
  bitnet data prepare stories.txt.gz --tokenizer tokenizer.json --val-fraction 0.01 -o stories
  bitnet data filter crawl.jsonl.gz --filters gopher-quality,c4 -o clean.jsonl.gz
  bitnet data inspect crawl.jsonl.gz -t tokenizer.json --html look.html
  bitnet data dedup web.jsonl.gz --against exam.txt -o clean
  bitnet data generate arithmetic --count 100000 -o sums.txt

docs/data.md tells which files are read, how documents are told apart, and what a shard holds.`,
    );
}

interface GenerateCommandOptions {
  count: number;
  split: ProblemSplit;
  seed: number;
  operators?: ArithmeticOperator[];
  distinct?: boolean;
  output?: string;
}

function generateCommand(): Command {
  return new Command("generate")
    .summary("write problems whose answers can be checked")
    .description("Writes problems with their answers, one after another. A held-out problem is in no training text.")
    .argument("<set>", "arithmetic, python or json")
    .requiredOption("-n, --count <n>", "problems", wholeNumber(1))
    .addOption(new Option("--split <name>", "which side of the split").choices(["train", "heldout"]).default("train"))
    .option("-s, --seed <n>", "the same seed writes the same text", wholeNumber(0), 0)
    .addOption(
      new Option("--operators <list...>", "arithmetic: only these (default: all)").choices(["+", "-", "*", "//"]),
    )
    .option("--distinct", "no problem twice")
    .option("-o, --output <file>", "write there, not to the standard output; .jsonl gives prompt and answer apart")
    .addHelpText(
      "after",
      `
Examples:
  bitnet data generate arithmetic --count 100000 -o sums.txt
  bitnet data generate arithmetic -n 500 --split heldout --distinct --operators + - -o test.jsonl
  bitnet data generate python -n 3 --seed 7`,
    )
    .action(runGenerate);
}

/** Problems between two looks at the signal and the terminal. */
const problemsAtOnce = 2000;

async function runGenerate(name: string, options: GenerateCommandOptions): Promise<void> {
  const { problemText, take, takeDistinct } = await import("../../corpus/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const { split, seed, count, output: path } = options;
  const set = await chooseSet(name, options.operators);
  if (path?.endsWith(".gz")) throw new UsageError(`${path}: problems are written uncompressed; leave out .gz`);
  const jsonl = path !== undefined && /\.(jsonl|ndjson)$/.test(path);
  const interruption = listenForInterrupts();
  const line = createProgressLine("generating");
  const start = systemClock.monotonicMs();
  const output = openOutput(path);
  try {
    const problems = options.distinct ? takeDistinct(set, split, seed, count) : take(set.generate(split, seed), count);
    let done = 0;
    for (const problem of problems) {
      const [prompt, answer] = [set.prompt(problem), set.answer(problem)];
      const row = { text: problemText(set, problem).trimEnd(), prompt, answer };
      output.text(jsonl ? `${JSON.stringify(row)}\n` : problemText(set, problem));
      if (++done % problemsAtOnce > 0) continue;
      const elapsed = Math.max(1, systemClock.monotonicMs() - start);
      const left = formatDuration((elapsed * (count - done)) / done);
      line.update(done, count, `${formatRate((1000 * done) / elapsed, "problems")}, ${left} left`);
      await output.drained();
      await nextTurn();
      interruption.signal.throwIfAborted();
    }
    await output.finish();
    line.close();
    if (path !== undefined)
      process.stderr.write(`bitnet: ${countOf(count, "problem")}, ${formatBytes(output.sizeBytes)} in ${path}\n`);
  } catch (error) {
    output.abort();
    throw error;
  } finally {
    line.close();
    interruption.release();
  }
}

async function chooseSet(name: string, operators: ArithmeticOperator[] | undefined): Promise<ProblemSet> {
  const { createArithmetic, problemSets } = await import("../../corpus/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  if (!Object.hasOwn(problemSets, name))
    throw new UsageError(`unknown set "${name}"; sets are: ${Object.keys(problemSets).join(", ")}`);
  if (!operators) return problemSets[name];
  if (name !== "arithmetic") throw new UsageError("--operators is for arithmetic; leave it out");
  return createArithmetic(operators);
}
