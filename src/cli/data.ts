/** `bitnet data prepare | inspect | generate`, with `dedup` (data-dedup.ts). The work is data/'s; here are options, files and lines. */
import { Command, Option } from "commander";
import type {
  ArithmeticOperator,
  DatasetManifest,
  PrepareProgress,
  ProblemSet,
  ProblemSplit,
  SplitName,
} from "../data/index.ts";
import { checkFilterFields, filterCommand } from "./data-filter.ts";
import {
  describeLengths,
  describeSamples,
  describeSources,
  describeSpread,
  describeStages,
} from "./support/data-report.ts";
import { dedupCommand } from "./data-dedup.ts";
import { mixCommand } from "./data-mix.ts";
import { scoreCommand } from "./data-score.ts";
import { formatBytes, formatCount, formatDuration, formatRate, formatShare, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { decimalNumber, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";
import {
  addSourceOptions,
  readSourceOptions,
  type SourceCommandOptions,
  sourcesHelp,
} from "./support/source-options.ts";
import { openOutput } from "./support/token-files.ts";

export function dataCommand(): Command {
  return new Command("data")
    .summary("turn text into token shards; look into them; generate problems")
    .description("Prepares text for training, once for many runs; and writes texts whose answers can be checked.")
    .addCommand(prepareCommand())
    .addCommand(dedupCommand())
    .addCommand(filterCommand())
    .addCommand(mixCommand())
    .addCommand(scoreCommand())
    .addCommand(inspectCommand())
    .addCommand(generateCommand())
    .addHelpText(
      "after",
      `
Examples:
  bitnet data prepare stories.txt.gz --tokenizer tokenizer.json --val-fraction 0.01 -o stories
  bitnet data filter crawl.jsonl.gz --filters gopher-quality,c4 -o clean.jsonl.gz
  bitnet data inspect stories
  bitnet data dedup web.jsonl.gz --against exam.txt -o clean
  bitnet data generate arithmetic --count 100000 -o sums.txt

docs/data.md tells which files are read, how documents are told apart, and what a shard holds.`,
    );
}

interface PrepareCommandOptions extends SourceCommandOptions {
  tokenizer: string;
  output?: string;
  cacheDir: string;
  valFraction?: number;
  val?: string[];
  filters?: string;
  shardTokens?: number;
  threads?: number;
  json?: boolean;
}

function prepareCommand(): Command {
  const command = new Command("prepare")
    .summary("encode text into a dataset of token shards")
    .description("Encodes documents over worker threads and writes them as a dataset, whole or not at all.")
    .argument("<paths...>", sourcesHelp)
    .requiredOption("-t, --tokenizer <path>", "tokenizer.json, tokenizer.model, or a folder with one")
    .option("-o, --output <folder>", "the dataset's folder; a dataset that is there is replaced")
    .option("--cache-dir <folder>", "without -o: the dataset is kept there, named by its content", "runs/cache")
    .option("--val-fraction <share>", "hold out this share of the documents for validation", decimalNumber(0, 1))
    .option("--val <paths...>", "or: validate on these files")
    .option("--filters <list>", "a YAML file of filters, or their names with commas between (see bitnet data filter)");
  return addSourceOptions(command)
    .option("--shard-tokens <n>", "close a shard past so many tokens (default: 67108864)", wholeNumber(1))
    .option("--threads <n>", "worker threads; 0: none (default: one for each processor)", wholeNumber(0, 256))
    .option("--json", "print the dataset's description as JSON")
    .addHelpText(
      "after",
      `
A second run over the same text, tokenizer and options finds the dataset and does nothing. Ctrl-C leaves nothing behind.

Examples:
  bitnet data prepare stories.txt --tokenizer tokenizer.json -o stories
  bitnet data prepare a.jsonl.gz b.jsonl.gz -t tokenizer.json --field content --val-fraction 0.01 -o web
  bitnet data prepare crawl/*.parquet -t tokenizer.json --filters web.yaml --on-bad-record skip -o clean
  bitnet data prepare qa.jsonl -t tokenizer.json --field instruction --field story -o qa
  bitnet data prepare train.txt --val valid.txt -t tokenizer.json -o split
  bitnet train tiny --data stories --tokenizer tokenizer.json`,
    )
    .action(runPrepare);
}

async function runPrepare(paths: string[], options: PrepareCommandOptions): Promise<void> {
  const { prepareTokens, readFilters } = await import("../data/index.ts");
  const { systemClock } = await import("../platform/system.ts");
  const { createDocumentEncoder, loadTokenizer } = await import("../tokenizer/index.ts");
  const tokenizer = loadTokenizer(options.tokenizer);
  const stages = options.filters === undefined ? [] : await readFilters(options.filters);
  await checkFilterFields(stages, options);
  const interruption = listenForInterrupts();
  const { signal } = interruption;
  const lines = { hash: createProgressLine("hashing"), encode: createProgressLine("encoding") };
  const start = systemClock.monotonicMs();
  const onProgress = ({ phase, bytesDone, bytesTotal, tokens }: PrepareProgress) => {
    if (phase === "encode") lines.hash.close();
    const elapsed = Math.max(1, systemClock.monotonicMs() - start);
    const left = bytesDone > 0 ? `, ${formatDuration((elapsed * (bytesTotal - bytesDone)) / bytesDone)} left` : "";
    const note = phase === "hash" ? "" : `${formatRate((1000 * tokens) / elapsed, "tokens")}${left}`;
    lines[phase].update(bytesDone, bytesTotal, note);
  };
  const encoder = createDocumentEncoder(tokenizer, { threads: options.threads, signal });
  try {
    const { folder, manifest, reused } = await prepareTokens({
      sources: paths,
      tokenizer: encoder,
      ...(options.output === undefined ? { cacheDir: options.cacheDir } : { outDir: options.output }),
      validFraction: options.valFraction,
      validSources: options.val,
      ...readSourceOptions(options, { signal, line: lines.hash }),
      stages,
      shardTokens: options.shardTokens,
      onProgress,
      signal,
    });
    lines.encode.close();
    const ms = systemClock.monotonicMs() - start;
    const { train, valid } = manifest.splits;
    const speed = formatRate((1000 * (train.tokens + (valid?.tokens ?? 0))) / Math.max(1, ms), "tokens");
    process.stderr.write(
      reused
        ? `bitnet: ${folder}: was prepared before from the same text, tokenizer and options; nothing to do\n`
        : `bitnet: prepared in ${formatDuration(ms)}, ${speed}\n`,
    );
    await printDataset(folder, manifest, options.json);
  } finally {
    lines.hash.close();
    lines.encode.close();
    interruption.release();
    await encoder.close();
  }
}

interface InspectCommandOptions {
  verify?: boolean;
  samples?: number;
  json?: boolean;
}

function inspectCommand(): Command {
  return new Command("inspect")
    .summary("documents, tokens, bytes and shards of a prepared dataset")
    .description("Tells what a prepared dataset holds, after checking every shard's header against the bytes there.")
    .argument("<folder>", "of the dataset")
    .option("--samples <n>", "dropped documents to show for each reason (default: none)", wholeNumber(0))
    .option("--verify", "read all of it, and compare with the hashes it was written with")
    .option("--json", "print the dataset's description as JSON")
    .addHelpText(
      "after",
      `
Examples:
  bitnet data inspect stories
  bitnet data inspect stories --verify`,
    )
    .action(runInspect);
}

async function runInspect(folder: string, { verify, json, samples }: InspectCommandOptions): Promise<void> {
  const { openShards, readManifest } = await import("../data/index.ts");
  const manifest = readManifest(folder);
  const splits = (Object.keys(manifest.splits) as SplitName[]).filter((split) => manifest.splits[split]);
  const interruption = listenForInterrupts();
  const line = createProgressLine("verifying");
  const all = splits.reduce((sum, split) => sum + manifest.splits[split]!.shards.length, 0);
  let done = 0;
  try {
    for (const split of splits) {
      const shards = openShards(folder, split);
      try {
        for (const shard of verify ? shards : []) {
          line.update(done++, all, shard.path);
          shard.verify();
          // A signal is heard between two shards.
          await new Promise((resolve) => setImmediate(resolve));
          interruption.signal.throwIfAborted();
        }
      } finally {
        for (const shard of shards) shard.close();
      }
    }
  } finally {
    line.close();
    interruption.release();
  }
  if (verify) process.stderr.write(`bitnet: ${folder}: all ${done} shards are as they were written\n`);
  await printDataset(folder, manifest, json, samples);
}

/** What a dataset holds: for people, or its manifest with the folder's name, lengths and account. */
async function printDataset(folder: string, manifest: DatasetManifest, json?: boolean, samples = 0): Promise<void> {
  const { histogramOfLengths, openShards, readPrepareReport } = await import("../data/index.ts");
  const account = readPrepareReport(folder);
  const lengths = Object.fromEntries(
    (Object.keys(manifest.splits) as SplitName[]).map((split) => {
      const shards = openShards(folder, split);
      try {
        return [split, histogramOfLengths(shards)];
      } finally {
        for (const shard of shards) shard.close();
      }
    }),
  );
  if (json) {
    process.stdout.write(`${JSON.stringify({ folder, ...manifest, lengths, account }, null, 2)}\n`);
    return;
  }
  const { tokenizer, splits, sources, options } = manifest;
  const all = splits.train.documents + (splits.valid?.documents ?? 0);
  const entries = Object.entries(splits);
  const table = entries.map(([name, { documents, tokens, textBytes, shards }]) => [
    name,
    formatCount(documents),
    formatShare(documents / all),
    formatCount(tokens),
    formatCount(textBytes),
    // End-of-text tokens stand for no byte and are left out of the ratio.
    textBytes > 0 ? ((tokens - documents) / textBytes).toFixed(4) : "-",
    String(shards.length),
  ]);
  const head = ["split", "documents", "share", "tokens", "bytes", "tokens/byte", "shards"];
  const shown = sources.slice(0, 8).map(({ name, split }) => (split === "valid" ? `${name} (validation)` : name));
  const more = sources.length > shown.length ? `, and ${sources.length - shown.length} more` : "";
  const facts = [
    ["dataset", folder],
    ["key", manifest.key],
    ["tokenizer", `${formatCount(tokenizer.vocabSize)} tokens, hash ${tokenizer.hash}`],
    ["sources", shown.join(", ") + more],
    ["options", describeOptions(options)],
  ];
  const files = entries.flatMap(([, { shards }]) =>
    shards.map(({ file, tokens, documents, contentHash }) => [
      file,
      `${formatCount(tokens)} tokens`,
      `${formatCount(documents)} documents`,
      formatBytes(tokens * (tokenizer.vocabSize <= 65536 ? 2 : 4)),
      contentHash.slice(0, 16),
    ]),
  );
  const right = [1, 2, 3, 4, 5, 6];
  const stages = account?.stages ?? [];
  const parts = [
    formatTable(facts),
    account && (account.sources.bad > 0 || account.sources.blank > 0 || stages.length > 0)
      ? describeSources(account.sources)
      : "",
    describeStages(stages),
    describeSamples(stages, samples),
    formatTable([head, ...table], right),
    describeSpread(lengths.train) + describeLengths(lengths.train.bins, "tokens"),
    formatTable(files, [1, 2, 3]),
  ];
  process.stdout.write(parts.filter((part) => part !== "").join("\n"));
}

function describeOptions({ separator, field, validFraction }: DatasetManifest["options"]): string {
  const held = validFraction === null ? "" : `, ${formatShare(Number(validFraction))} held out by document`;
  return `separator ${JSON.stringify(separator)}, field ${JSON.stringify(field)}${held}`;
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
  const { problemText, take, takeDistinct } = await import("../data/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  const { systemClock } = await import("../platform/system.ts");
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
      await new Promise((resolve) => setImmediate(resolve));
      interruption.signal.throwIfAborted();
    }
    await output.finish();
    line.close();
    if (path !== undefined)
      process.stderr.write(`bitnet: ${formatCount(count)} problems, ${formatBytes(output.sizeBytes)} in ${path}\n`);
  } catch (error) {
    output.abort();
    throw error;
  } finally {
    line.close();
    interruption.release();
  }
}

async function chooseSet(name: string, operators: ArithmeticOperator[] | undefined): Promise<ProblemSet> {
  const { createArithmetic, problemSets } = await import("../data/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  if (!Object.hasOwn(problemSets, name))
    throw new UsageError(`unknown set "${name}"; sets are: ${Object.keys(problemSets).join(", ")}`);
  if (!operators) return problemSets[name];
  if (name !== "arithmetic") throw new UsageError("--operators is for arithmetic; leave it out");
  return createArithmetic(operators);
}
