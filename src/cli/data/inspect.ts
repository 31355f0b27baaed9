/** `bitnet data inspect`: what text, a prepared dataset or a deduplication holds. The work is corpus/inspect's; here are options and files. */
import { Command, Option } from "commander";
import type { Inspection } from "../../corpus/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import { checkFilterFields } from "./filter.ts";
import { printDataset } from "./support/dataset-text.ts";
import { countOf, formatCount } from "../support/format.ts";
import { describeInspection, describePairs } from "./support/inspection-text.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import { wholeNumber } from "../support/options.ts";
import { createProgressLine } from "../support/progress.ts";
import {
  addSourceOptions,
  readSourceOptions,
  type SourceCommandOptions,
  sourcesHelp,
} from "./support/source-options.ts";

interface InspectCommandOptions extends SourceCommandOptions {
  tokenizer?: string;
  filters?: string;
  duplicates?: true | "exact" | "near";
  limit?: number;
  samples?: number;
  threads?: number;
  memory?: string;
  verify?: boolean;
  json?: boolean;
  html?: string;
}

export function inspectCommand(): Command {
  const command = new Command("inspect")
    .summary("counts, lengths, what was dropped, duplicates, tokens per byte: of text, a dataset, a deduplication")
    .description(
      "Looks into text as it is (files, folders, what bitnet data prepare reads), into a prepared dataset, after checking\n" +
        "every shard's header against the bytes there, or into what bitnet data dedup wrote. On the terminal, as JSON, and as\n" +
        "a page with charts.",
    )
    .argument("<paths...>", `a dataset's or a deduplication's folder; or ${sourcesHelp}`)
    .option("-t, --tokenizer <path>", "of text: count tokens, and tokens per byte for each source")
    .option("--filters <list>", "of text: what filters would drop (a YAML file, or names; see bitnet data filter)")
    .addOption(
      new Option("--duplicates [which]", "of text: look for duplicates, near ones too (default: near)").choices([
        "exact",
        "near",
      ]),
    )
    .option("--limit <n>", "of text: read no more than so many documents of each file", wholeNumber(1))
    .option(
      "--samples <n>",
      "dropped documents, and pairs of duplicates, to show for each reason (default: 2; of a dataset 0)",
      wholeNumber(0, 1000),
    )
    .option("--html <file>", "write a page with charts there")
    .option("--json", "print all of it as JSON")
    .option("--verify", "of a dataset: read all of it, and compare with the hashes it was written with");
  return addSourceOptions(command)
    .option("--threads <n>", "of text: worker threads; 0: none (default: one for each processor)", wholeNumber(0, 256))
    .option("--memory <size>", "with --duplicates: bound of DuckDB's memory (default: 1GB)")
    .addHelpText(
      "after",
      `
Examples:
  bitnet data inspect crawl.jsonl.gz books.parquet -t tokenizer.json --html look.html
  bitnet data inspect "crawl/*.parquet" --field contents --filters gopher-quality,c4 --samples 3
  bitnet data inspect web.jsonl.gz --duplicates --limit 20000 --html look.html
  bitnet data inspect redpajama.jsonl --source-field meta.source -t llama2/tokenizer.model --json
  bitnet data inspect stories --html stories.html
  bitnet data inspect stories --verify
  bitnet data inspect clean --samples 5              # what bitnet data dedup -o clean wrote`,
    )
    .action(runInspect);
}

async function runInspect(paths: string[], options: InspectCommandOptions): Promise<void> {
  const { kindOfFolder } = await import("../../corpus/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  const kinds = paths.map(kindOfFolder);
  const prepared = kinds.findIndex((kind) => kind !== null);
  if (prepared >= 0 && paths.length > 1)
    throw new UsageError(`${paths[prepared]}: is a ${kinds[prepared]}; inspect it by itself`);
  const kind = kinds[0] ?? "sources";
  await refuseOthers(kind, options);
  if (kind === "sources") return lookIntoText(paths, options);
  if (kind === "dataset") return lookIntoDataset(paths[0], options);
  const { inspectDeduplication } = await import("../../corpus/index.ts");
  await show(inspectDeduplication(paths[0]), options);
}

/** @throws UsageError for an option that has no meaning for what is looked into */
async function refuseOthers(kind: "sources" | "dataset" | "deduplication", options: InspectCommandOptions) {
  const { UsageError } = await import("../../platform/errors.ts");
  const everywhere = ["samples", "json", "html"];
  const meant = (name: string) =>
    everywhere.includes(name) || (name === "verify" ? kind === "dataset" : kind === "sources");
  const wrong = Object.entries(options).find(([name, value]) => value !== undefined && !meant(name));
  if (wrong) {
    const flag = `--${wrong[0].replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new UsageError(
      kind === "sources"
        ? `${flag} is for a prepared dataset, which has hashes; this is text`
        : `${flag} is for text; a ${kind} is shown as it was made`,
    );
  }
  if (options.memory !== undefined && options.duplicates === undefined)
    throw new UsageError("--memory has a meaning only with --duplicates");
}

const defaultSamples = 2;

async function lookIntoText(paths: string[], options: InspectCommandOptions): Promise<void> {
  const { inspectSources, readFilters } = await import("../../corpus/index.ts");
  const { createDocumentEncoder, loadTokenizer } = await import("../../tokenizer/index.ts");
  const stages = options.filters === undefined ? [] : await readFilters(options.filters);
  await checkFilterFields(stages, options);
  const interruption = listenForInterrupts();
  const { signal } = interruption;
  const line = createProgressLine("inspecting");
  const { samples = defaultSamples, threads, memory, duplicates, tokenizer } = options;
  const encoder = tokenizer === undefined ? null : createDocumentEncoder(loadTokenizer(tokenizer), { threads, signal });
  try {
    const inspection = await inspectSources({
      ...readSourceOptions(options, { signal, line }),
      sources: paths,
      stages,
      samples,
      limit: options.limit,
      ...(encoder ? { tokenizer: encoder } : {}),
      duplicates: duplicates === undefined ? null : { near: duplicates !== "exact", samples, threads, memory },
      onProgress: ({ stage, done, total, note }) => line.update(done, total, `${stage}: ${formatCount(done)} ${note}`),
      signal,
    });
    line.close();
    await show(inspection, { ...options, samples });
  } finally {
    line.close();
    interruption.release();
    await encoder?.close();
  }
}

async function lookIntoDataset(folder: string, options: InspectCommandOptions): Promise<void> {
  const { inspectDataset } = await import("../../corpus/index.ts");
  const { readManifest } = await import("../../data/index.ts");
  const manifest = readManifest(folder);
  if (options.verify) await verify(folder);
  const inspection = inspectDataset(folder);
  await writePage(inspection, options, [
    ["key", manifest.key],
    ["tokenizer", `${countOf(manifest.tokenizer.vocabSize, "token")}, hash ${manifest.tokenizer.hash}`],
    ["sources", manifest.sources.map(({ name }) => name).join(", ")],
    ["options", JSON.stringify(manifest.options)],
  ]);
  const { samples = 0 } = options;
  await printDataset(folder, manifest, options.json, samples);
  const pairs = options.json ? "" : await describePairs(inspection, look(samples));
  if (pairs !== "") process.stdout.write(`\n${pairs}`);
}

async function verify(folder: string): Promise<void> {
  const { openShards, readManifest } = await import("../../data/index.ts");
  const { splits } = readManifest(folder);
  const interruption = listenForInterrupts();
  const line = createProgressLine("verifying");
  const all = splits.train.shards.length + (splits.valid?.shards.length ?? 0);
  let done = 0;
  try {
    for (const split of ["train", "valid"] as const) {
      const shards = splits[split] ? openShards(folder, split) : [];
      try {
        for (const shard of shards) {
          line.update(done++, all, shard.path);
          shard.verify();
          // A signal is heard between two shards.
          await nextTurn();
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
  process.stderr.write(`bitnet: ${folder}: all ${done} shards are as they were written\n`);
}

async function show(inspection: Inspection, options: InspectCommandOptions): Promise<void> {
  const facts = [
    ...(inspection.tokenizer ? [tokenizerFact(inspection.tokenizer)] : []),
    ["paths", inspection.of.join(", ")],
  ];
  await writePage(inspection, options, facts as [string, string][]);
  process.stdout.write(
    options.json
      ? `${JSON.stringify(inspection, null, 2)}\n`
      : await describeInspection(inspection, look(options.samples ?? defaultSamples)),
  );
}

const tokenizerFact = ({ vocabSize, hash }: NonNullable<Inspection["tokenizer"]>) => [
  "tokenizer",
  `${countOf(vocabSize, "token")}, hash ${hash}`,
];

/** How lines are drawn: as wide as the terminal, within reason. */
const look = (samples: number) => ({
  samples,
  columns: Math.min(160, Math.max(60, process.stdout.columns ?? 100)),
  color: process.stdout.isTTY === true && !process.env.NO_COLOR,
});

async function writePage(
  inspection: Inspection,
  { html }: InspectCommandOptions,
  facts: [string, string][],
): Promise<void> {
  if (html === undefined) return;
  const { writeAtomically } = await import("../../platform/files.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const { inspectionPage } = await import("../../report/index.ts");
  writeAtomically(html, inspectionPage(inspection, { createdMs: systemClock.epochMs(), facts }));
  process.stderr.write(`bitnet: the page is in ${html}\n`);
}
