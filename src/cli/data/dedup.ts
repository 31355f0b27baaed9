/** `bitnet data dedup`. The work is corpus/dedup's; here are options and lines. */
import { Command, Option } from "commander";
import type {
  DedupOptions,
  DedupProgress,
  DedupReport,
  DedupStage,
  PlanDialect,
  ShownPair,
} from "../../corpus/index.ts";
import { describeSources } from "./support/data-report.ts";
import { UsageError } from "../../platform/errors.ts";
import { countOf, formatCount, formatDuration, formatShare, formatTable } from "../support/format.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import type { Share } from "../../data/share.ts";
import { decimalNumber, readShare, shareOption, wholeNumber } from "../support/options.ts";
import { createProgressLine } from "../support/progress.ts";
import {
  addSourceOptions,
  readSourceOptions,
  type SourceCommandOptions,
  sourcesHelp,
} from "./support/source-options.ts";

interface DedupCommandOptions
  extends SourceCommandOptions,
    Pick<
      DedupOptions,
      | "threshold"
      | "shingle"
      | "permutations"
      | "bands"
      | "rows"
      | "recall"
      | "verify"
      | "keep"
      | "ngram"
      | "overlap"
      | "maxBucket"
      | "seed"
      | "samples"
    > {
  output?: string;
  against?: string[];
  againstField?: string[];
  near: boolean;
  verbatim?: boolean;
  documents: boolean;
  work?: string;
  keepWork?: boolean;
  restart?: boolean;
  threads?: number;
  memory?: string;
  stage?: DedupStage;
  share?: Share;
  /** The name of `share` before. */
  shard?: Share;
  printPlan?: boolean;
  engine: PlanDialect;
  location: string;
  rounds?: number;
  json?: boolean;
}

export function dedupCommand(): Command {
  const command = new Command("dedup")
    .summary("drop exact and near duplicates, and documents that hold evaluation text")
    .description(
      "Finds documents that are there more than once, word for word or nearly (MinHash of word shingles, banded), and\n" +
        "those that share n-grams with held-out text. Writes the rest, and a line for each dropped one with the reason.",
    )
    .argument("[paths...]", sourcesHelp)
    .option("-o, --output <folder>", "the result's folder; an earlier deduplication there is replaced")
    .option("--against <paths...>", "evaluation texts: documents that share an n-gram with them are dropped")
    .option("--against-field <names...>", "with their text, where it is another one than --field; several are joined")
    .option("--ngram <n>", "words in such an n-gram (default: 13)", wholeNumber(2, 1000))
    .option("--overlap <n>", "drop documents that share so many n-grams (default: 1)", wholeNumber(1))
    .option("--no-near", "exact duplicates only")
    .option("--verbatim", "exact duplicates agree in every character (default: but for case and white space)")
    .option("--threshold <j>", "Jaccard similarity of near duplicates (default: 0.8)", decimalNumber(0, 1))
    .option("--shingle <n>", "words in a shingle (default: 5)", wholeNumber(1, 100))
    .option("--permutations <n>", "MinHash values a document (default: 128)", wholeNumber(2, 1024))
    .option(
      "--recall <p>",
      "choose bands that find a pair at the threshold so often (default: 0.99)",
      decimalNumber(0, 1),
    )
    .option("--bands <n>", "or: this number of bands, with --rows", wholeNumber(1, 1024))
    .option("--rows <n>", "values in a band", wholeNumber(1, 1024))
    .addOption(
      new Option(
        "--verify <how>",
        "candidates: by their shingles, or by the signatures' estimate (default: exact)",
      ).choices(["exact", "signature"]),
    )
    .addOption(
      new Option("--keep <rule>", "which document of a cluster stays (default: first)").choices([
        "first",
        "longest",
        "score",
      ]),
    )
    .option(
      "--max-bucket <n>",
      "compare all pairs of documents that share a band up to so many (default: 64)",
      wholeNumber(2),
    )
    .option("--seed <n>", "of the permutations (default: 1)", wholeNumber(0))
    .option("--samples <n>", "pairs shown for each reason (default: 5)", wholeNumber(0, 1000));
  return addSourceOptions(command)
    .option("--no-documents", "write only what is dropped")
    .option("--threads <n>", "worker threads; 0: none (default: one for each processor)", wholeNumber(0, 256))
    .option("--memory <size>", "bound of DuckDB's memory; beyond it, it uses the disk (default: 768MB)")
    .option("--work <folder>", "of the unfinished run (default: the output's name with .work)")
    .option("--keep-work", "leave signatures and tables there when all is done")
    .option("--restart", "throw away an unfinished run")
    .addOption(
      new Option("--stage <name>", "one stage alone, on what those before it left").choices([
        "signatures",
        "candidates",
        "shingles",
        "clusters",
        "write",
      ]),
    )
    .addOption(shareOption("one machine's part of the files, counted from 0"))
    .addOption(new Option("--shard <I/N>", "the name of --share before").argParser(readShare).hideHelp())
    .option("--print-plan", "print the SQL of the cluster stage, and how to run it on many machines")
    .addOption(
      new Option("--engine <name>", "with --print-plan: whose SQL")
        .choices(["duckdb", "spark", "generic"])
        .default("spark"),
    )
    .option("--location <address>", "with --print-plan: where the tables lie", "s3a://BUCKET/dedup")
    .option("--rounds <n>", "with --print-plan: rounds of label propagation (default: 24)", wholeNumber(1, 1000))
    .option("--json", "print the report as JSON")
    .addHelpText(
      "after",
      `
A run that was ended goes on where it was; the order of files, the threads and the memory change nothing in the result:
documents/ (JSON lines of what stays), dropped/ (a line for each dropped document) and report.json.

Examples:
  bitnet data dedup web.jsonl.gz more/ -o clean
  bitnet data dedup web.jsonl.gz --against hellaswag.jsonl --against-field ctx --threshold 0.7 -o clean
  bitnet data dedup "crawl/*.parquet" --field contents --score-field quality --keep score --on-bad-record skip -o clean
  bitnet data dedup stories.txt --no-near --no-documents --json -o counts
  bitnet data dedup --print-plan --verify signature --location s3a://corpus/dedup > dedup.sql
  bitnet data prepare clean/documents -t tokenizer.json -o shards

docs/dedup.md tells how duplicates are found, and how several machines share the work.`,
    )
    .action(runDedup);
}

/** --share, or --shard as it was called before. */
function shareOf({ share, shard }: DedupCommandOptions): Share | undefined {
  if (shard === undefined) return share;
  if (share !== undefined) throw new UsageError("--shard is --share's name of before; leave it out");
  process.stderr.write("bitnet: --shard is called --share now; the old name still works\n");
  return shard;
}

async function runDedup(paths: string[], options: DedupCommandOptions): Promise<void> {
  const { dedupStages, deduplicate, fileSources, planText, resolveDedup } = await import("../../corpus/index.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const share = shareOf(options);
  const asked: DedupOptions = {
    near: options.near,
    exactText: options.verbatim ? "verbatim" : "normalised",
    threshold: options.threshold,
    shingle: options.shingle,
    permutations: options.permutations,
    bands: options.bands,
    rows: options.rows,
    recall: options.recall,
    verify: options.verify,
    keep: options.keep,
    ngram: options.ngram,
    overlap: options.overlap,
    maxBucket: options.maxBucket,
    seed: options.seed,
    samples: options.samples,
  };
  if (options.printPlan) {
    const { engine, location, rounds, stage: part } = options;
    if (part !== undefined && part !== "candidates" && part !== "clusters")
      throw new UsageError(`stage ${part} reads text and has no SQL; plans are of the stages candidates and clusters`);
    process.stdout.write(planText(resolveDedup(asked), { dialect: engine, location, rounds, part }));
    return;
  }
  if (paths.length === 0) throw new UsageError("name at least one text file or folder (or ask for --print-plan)");
  if (options.output === undefined) throw new UsageError("name the result's folder with -o FOLDER");
  if (options.keep === "score" && options.scoreField === undefined)
    throw new UsageError("--keep score needs the field with the score; name it with --score-field");
  const interruption = listenForInterrupts();
  const lines = Object.fromEntries(
    ["hashing", ...dedupStages].map((stage) => [stage, createProgressLine(stage)]),
  ) as Record<DedupStage | "hashing", ReturnType<typeof createProgressLine>>;
  const close = () => {
    for (const line of Object.values(lines)) line.close();
  };
  const start = systemClock.monotonicMs();
  let stage: DedupStage | "hashing" = "hashing";
  let stageStart = start;
  const spent: string[] = [];
  const enter = (next: DedupStage | "hashing") => {
    if (next === stage) return;
    const now = systemClock.monotonicMs();
    spent.push(`${stage} ${formatDuration(now - stageStart)}`);
    lines[stage].close();
    [stage, stageStart] = [next, now];
  };
  const onProgress = ({ stage: now, done, total, note }: DedupProgress) => {
    enter(now);
    lines[now].update(done, Math.max(done, total), `${formatCount(done)} ${note}`);
  };
  try {
    const reading = readSourceOptions(options, { signal: interruption.signal, line: lines.hashing });
    const onFile = (done: number, total: number) => lines.hashing.update(done, total, "files");
    const { folder, report, reused } = await deduplicate({
      ...asked,
      sources: await fileSources(paths, reading, onFile),
      heldOut: options.against ? await fileSources(options.against, heldOutReading(reading, options), onFile) : [],
      outDir: options.output,
      workDir: options.work,
      keepWork: options.keepWork,
      restart: options.restart,
      documents: options.documents,
      threads: options.threads,
      memory: options.memory,
      stage: options.stage,
      share,
      onProgress,
      onNote: (text) => process.stderr.write(`bitnet: ${text}\n`),
      signal: interruption.signal,
    });
    close();
    const elapsed = systemClock.monotonicMs() - start;
    spent.push(`${stage} ${formatDuration(systemClock.monotonicMs() - stageStart)}`);
    process.stderr.write(
      reused
        ? `bitnet: ${folder}: was made before from the same text and options; nothing to do\n`
        : report
          ? `bitnet: deduplicated in ${formatDuration(elapsed)} (${spent.join(", ")})\n`
          : `bitnet: stage ${options.stage} is done, in ${folder} (${formatDuration(elapsed)})\n`,
    );
    if (report)
      process.stdout.write(
        options.json ? `${JSON.stringify({ folder, ...report }, null, 2)}\n` : describeReport(folder, report),
      );
  } finally {
    close();
    interruption.release();
  }
}

/** Held-out files have a text alone: what else is known of training documents need not be there. */
const heldOutReading = <T extends object>(reading: T, { againstField, field, fieldJoin }: DedupCommandOptions): T => ({
  ...reading,
  field: undefined,
  fields: { text: againstField ?? field, join: fieldJoin },
});

/** A report for people. */
function describeReport(folder: string, report: DedupReport): string {
  const { documents, kept, dropped, options, near, clusters, heldOut } = report;
  const share = (n: number) => formatShare(documents > 0 ? n / documents : 0);
  const row = (name: string, n: number) => [name, formatCount(n), share(n)];
  const counts = [
    ["", "documents", "share"],
    row("read", documents),
    row("exact duplicates", dropped.exact),
    row("near duplicates", dropped.near),
    ...(heldOut ? [row("holding evaluation text", dropped.contaminated)] : []),
    row("kept", kept),
  ];
  const facts = [
    ["result", folder],
    ...(report.share ? [["share", report.share]] : []),
    [
      "clusters",
      `${formatCount(clusters.count)}, the largest of ${formatCount(clusters.largest)}; ${countOf(report.joinedThroughOthers, "document")} joined through others`,
    ],
    ...(near
      ? [
          [
            "near",
            `${options.bands} bands of ${options.rows}: a pair at ${options.threshold} is found with probability ${options.recall.toFixed(4)}`,
          ],
          [
            "pairs",
            `${formatCount(near.pairs)} agree in a band, ${formatCount(near.candidates)} verified (${options.verify}), ${formatCount(near.duplicates)} are duplicates`,
          ],
          [
            "too short",
            `${countOf(near.tooShort, "document")} have under ${options.shingle} words: exact duplicates only`,
          ],
          ...(near.largeBuckets.groups > 0
            ? [
                [
                  "large groups",
                  `${formatCount(near.largeBuckets.groups)} with ${countOf(near.largeBuckets.documents, "document")}: not all pairs were compared (--max-bucket)`,
                ],
              ]
            : []),
        ]
      : []),
    ...(heldOut
      ? [
          [
            "held out",
            `${formatCount(heldOut.texts)} texts, ${formatCount(heldOut.ngrams)} n-grams of ${options.ngram} words; ${formatCount(heldOut.tooShort)} texts too short to match${heldOut.bad > 0 ? `; ${formatCount(heldOut.bad)} bad records passed over` : ""}`,
          ],
        ]
      : []),
  ];
  const pairs = report.pairs.map(describePair).join("");
  return `${report.read ? `${describeSources(report.read)}\n` : ""}${formatTable(counts, [1, 2])}\n${formatTable(facts)}${pairs === "" ? "" : `\n${pairs}`}`;
}

function describePair({ reason, similarity, dropped, other }: ShownPair): string {
  const line = (text: string) => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
  const how = similarity === null ? "" : ` ${similarity.toFixed(3)}`;
  return (
    `${reason}${how}\n` +
    `  dropped ${dropped.source}:${dropped.document}  ${line(dropped.text)}\n` +
    `  ${reason === "contaminated" ? "held out" : "kept   "} ${other.source}:${other.document}  ${line(other.text)}\n`
  );
}
