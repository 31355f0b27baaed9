/** `bitnet data filter`: documents through filters, and the account of what they leave out. */
import { Command } from "commander";
import type { FilterReport, TextDocument } from "../../corpus/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import { describeLengths, describeSamples, describeSources, describeStages } from "./support/data-report.ts";
import { countOf, formatRate } from "../support/format.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import { wholeNumber } from "../support/options.ts";
import { createProgressLine } from "../support/progress.ts";
import {
  addSourceOptions,
  readSourceOptions,
  type SourceCommandOptions,
  sourcesHelp,
} from "./support/source-options.ts";
import { type Output, openOutput } from "../support/token-files.ts";

interface FilterCommandOptions extends SourceCommandOptions {
  filters?: string;
  output?: string;
  dropped?: string;
  limit?: number;
  samples: number;
  json?: boolean;
}

export function filterCommand(): Command {
  return addSourceOptions(
    new Command("filter")
      .summary("put documents through filters; see what each leaves out, and why")
      .description(
        "Reads documents, puts them through filters, and tells what each dropped. With -o, writes what is left as JSON lines.",
      )
      .argument("<paths...>", sourcesHelp)
      .option("--filters <list>", "a YAML file, or names with commas between; without it, documents are only read"),
  )
    .option("-o, --output <file>", "write what is left there: .jsonl, or .jsonl.gz")
    .option("--dropped <file>", "write what was dropped there, each with its stage and reason: .jsonl or .jsonl.gz")
    .option("--limit <n>", "read no more than so many documents", wholeNumber(1))
    .option("--samples <n>", "dropped documents to show for each reason", wholeNumber(0, 1000), 2)
    .option("--json", "print the account as JSON")
    .addHelpText(
      "after",
      `
Filters: unicode, length, language, score, lines, gopher-quality, gopher-repetition, c4, mask. They work in the order in
which they are named. A YAML file gives them options:

  filters:
    - language: { languages: [en], threshold: 0.5 }
    - score: { min: 3 }
    - gopher-quality
    - gopher-repetition
    - c4: { badWordsFile: bad-words.txt }

docs/data.md lists all options, with the papers that they come from.

Examples:
  bitnet data filter crawl.jsonl.gz --filters gopher-quality,gopher-repetition,c4
  bitnet data filter "crawl/*.parquet" --field contents --filters web.yaml -o clean.jsonl.gz --dropped out.jsonl.gz
  bitnet data filter hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT --score-field int_score --filters score --limit 1000`,
    )
    .action(runFilter);
}

async function runFilter(paths: string[], options: FilterCommandOptions): Promise<void> {
  const { documentLine, filterDocuments, readFilters } = await import("../../corpus/index.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const stages = options.filters === undefined ? [] : await readFilters(options.filters);
  await checkFilterFields(stages, options);
  const interruption = listenForInterrupts();
  const { signal } = interruption;
  const line = createProgressLine("filtering");
  const start = systemClock.monotonicMs();
  const outputs: { left?: Lines; dropped?: Lines } = {};
  let [bytesRead, documents] = [0, 0];
  const progress = () => {
    const elapsed = Math.max(1, systemClock.monotonicMs() - start);
    line.update(0, 0, `${countOf(documents, "document")} left, ${formatRate(bytesRead / 1.048576e3 / elapsed, "MiB")}`);
  };
  try {
    outputs.left = await openLines(options.output);
    outputs.dropped = await openLines(options.dropped);
    const report = await filterDocuments({
      ...readSourceOptions(options, { signal, line }),
      sources: paths,
      stages,
      limit: options.limit,
      samples: options.samples,
      signal,
      onRead: (bytes) => {
        bytesRead += bytes;
      },
      onDrop: (document, stage, reason, detail) =>
        outputs.dropped?.write(documentLine(document, { stage, reason, detail, ...placeOf(document) })),
      onDocument: async (document) => {
        outputs.left?.write(documentLine(document));
        if (++documents % documentsAtOnce > 0) return;
        progress();
        await nextTurn();
        signal.throwIfAborted();
      },
    });
    await outputs.left?.finish();
    await outputs.dropped?.finish();
    line.close();
    print(report, options);
  } catch (error) {
    outputs.left?.abort();
    outputs.dropped?.abort();
    throw error;
  } finally {
    line.close();
    interruption.release();
  }
}

/** Documents between two looks at the signal and the terminal. */
const documentsAtOnce = 500;

const placeOf = ({ file, place }: TextDocument) => ({ file, place });

/** @throws UsageError for a filter by a field that no option names */
export async function checkFilterFields(
  stages: readonly { name: string; options: Record<string, unknown> }[],
  { scoreField, languageField }: SourceCommandOptions,
): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  if (scoreField === undefined && stages.some(({ name }) => name === "score"))
    throw new UsageError("the filter score needs the field with the score; name it with --score-field");
  if (languageField === undefined && stages.some(({ name, options }) => name === "language" && options.by === "field"))
    throw new UsageError("the filter language goes by the field with the language; name it with --language-field");
}

interface Lines {
  write(line: string): void;
  finish(): Promise<void>;
  abort(): void;
  readonly sizeBytes: number;
}

/** Compressed in pieces of this size, each a member of its own, as gzip allows. */
const memberCharacters = 1 << 20;

async function openLines(path: string | undefined): Promise<Lines | undefined> {
  if (path === undefined) return undefined;
  const { UsageError } = await import("../../platform/errors.ts");
  const { gzip } = await import("../../platform/compress.ts");
  const match = /\.(?:jsonl|ndjson)(\.gz)?$/i.exec(path);
  if (!match) throw new UsageError(`${path}: documents are written as JSON lines; end the name in .jsonl or .jsonl.gz`);
  const output: Output = openOutput(path);
  let waiting = "";
  const flush = () => {
    if (waiting !== "") match[1] ? output.bytes(gzip(new TextEncoder().encode(waiting))) : output.text(waiting);
    waiting = "";
  };
  return {
    write(line) {
      waiting += line;
      if (waiting.length >= memberCharacters) flush();
    },
    async finish() {
      flush();
      await output.finish();
    },
    abort: () => output.abort(),
    get sizeBytes() {
      return output.sizeBytes;
    },
  };
}

function print(report: FilterReport, { output, json }: FilterCommandOptions): void {
  const { sources, stages, documents, characters, lengths } = report;
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...report, ...(output === undefined ? {} : { output }) }, null, 2)}\n`);
    return;
  }
  const where = output === undefined ? "" : ` in ${output}`;
  const parts = [
    describeSources(sources),
    describeStages(stages),
    describeSamples(stages),
    describeLengths(lengths, "characters"),
    `left       ${countOf(documents, "document")}, ${countOf(characters, "character")}${where}\n`,
  ];
  process.stdout.write(parts.filter((part) => part !== "").join("\n"));
}
