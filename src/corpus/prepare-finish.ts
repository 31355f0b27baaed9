/**
 * The end of a preparation: manifest and account from what the stages left, checked against each other. Nothing in them
 * tells of time, machine or interruptions, so the same documents and settings give the same bytes.
 */
import { joinPath, sha256Of, writeAtomically } from "../platform/files.ts";
import { type DatasetManifest, datasetVersion, manifestName, type SplitSummary } from "../data/dataset.ts";
import { cut, type DropReason, dropReasons } from "./dedup/write.ts";
import type { DedupReport } from "./dedup/report.ts";
import type { PackingCounts, ShardPlan } from "./packing/write-shards.ts";
import { mergeStageReports, type StageReport } from "./pipeline.ts";
import type { BlockAccount } from "./prepare-blocks.ts";
import { checkSides, nothingLeft } from "./prepare-checks.ts";
import type { StageContext } from "./prepare-context.ts";
import type { InputFile } from "./prepare-inputs.ts";
import { writePrepareReport } from "./prepare-report.ts";
import { accountOf, blocksOf, dedupName, dedupReports, textOf, writtenShards } from "./prepare-stages.ts";
import { addSourceReport, createSourceReport, type SourceReport } from "./records.ts";

/**
 * Writes what makes the result a dataset.
 *
 * @throws DataError for no documents, or none on one side; UsageError for a part that is not there
 */
export async function finishDataset(
  context: StageContext,
  plans: readonly ShardPlan[],
  key: string,
  extra: Record<string, Uint8Array>,
): Promise<DatasetManifest> {
  const { given, files, work } = context;
  const result = work.folder("result");
  const blocks = files.flatMap((file) => blocksOf(work, file).map((block) => ({ file, block })));
  const source = mergeSources(files.map((file) => accountOf(work, file)!.source));
  const stages = mergeStageReports([
    ...files.map((file) => accountOf(work, file)!.stages ?? []),
    ...blocks.map(({ file, block }) => named(file, block)),
  ]);
  const dedup = given.dedup
    ? mergeDedup(
        await withTexts(
          context,
          dedupReports(context).map(({ report }) => report),
        ),
      )
    : undefined;
  const splits = plans.map((plan) => summarise(context, plan));
  const [train, valid] = splits;
  checkSplits(context, splits, stages, source);

  const sum = (value: (block: BlockAccount) => number) => blocks.reduce((all, { block }) => all + value(block), 0);
  const filtered = Object.fromEntries(
    stages.flatMap(({ name, dropped }) =>
      Object.entries(dropped).map(([reason, { documents }]) => [`${name}: ${reason}`, documents]),
    ),
  );
  const counts = {
    read: source.documents,
    bad: source.bad,
    blank: source.blank,
    filtered,
    emptied: sum(({ emptied }) => emptied),
    duplicates: dedup?.dropped ?? {},
    leftOver: plans.reduce((all, { order }, i) => all + order.documents - splits[i].documents, 0),
    train: train.documents,
    valid: valid.documents,
  };
  const all = (record: Record<string, number>) => Object.values(record).reduce((sum, n) => sum + n, 0);
  const accounted =
    all(filtered) + counts.emptied + all(counts.duplicates) + counts.leftOver + counts.train + counts.valid;
  // A stage that sees several documents may give back more than it took.
  if (accounted !== counts.read && !files.some((file) => file.stages))
    throw new Error(`${work.path}: ${accounted} of ${counts.read} documents accounted for`);

  const { packing, shuffle, validFraction } = given;
  const manifest: DatasetManifest = {
    format: "bitnet-dataset",
    version: datasetVersion,
    key,
    tokenizer: tokenizerOf(plans[0]),
    sources: files.map(({ name, split, identity, sizeBytes, input }, i) => ({
      name,
      split,
      hash: identity,
      source: input.name,
      licence: input.licence ?? null,
      sizeBytes,
      documents: accountOf(work, files[i])!.source.documents,
    })),
    options: given.recorded ?? {
      validFraction: validFraction > 0 ? validFraction : null,
      shardTokens: plans[0].shardTokens,
    },
    splits: valid.documents > 0 ? { train, valid } : { train },
    counts,
    packing: { kind: packing.kind, sequence: packing.kind === "documents" ? null : packing.sequence },
    shuffle,
    settings: given.settings,
    about: given.about,
    files: Object.fromEntries(Object.entries(extra).map(([name, content]) => [name, sha256Of(content)])),
  };
  for (const [name, content] of Object.entries(extra)) writeAtomically(joinPath(result, name), content);
  writePrepareReport(result, { sources: source, stages, ...(dedup ? { dedup } : {}) });
  writeAtomically(joinPath(result, manifestName), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

const tokenizerOf = ({ tokenizerHash, vocabSize, endOfText }: ShardPlan) => ({
  hash: tokenizerHash,
  vocabSize,
  endOfText,
});

/** A block's stages; filters of one input alone are told from those of all by its name. */
function named({ input }: InputFile, { stages }: BlockAccount): StageReport[] {
  const own = input.stages?.length ?? 0;
  return stages.map((stage, i) => (i < own ? { ...stage, name: `${input.name}/${stage.name}` } : stage));
}

function mergeSources(reports: readonly SourceReport[]): SourceReport {
  const merged = createSourceReport();
  for (const report of reports) addSourceReport(merged, report);
  return merged;
}

/** One machine's report, or the shares of several: clusters are those that the first tells. Files by their own names. */
function mergeDedup(shares: readonly DedupReport[]): DedupReport | undefined {
  const plainName = (name: string) => name.replace(/^\d+ /, "");
  const plain = <T extends { source: string }>(one: T): T => ({ ...one, source: plainName(one.source) });
  const reports = shares.map((report) => ({
    ...report,
    sources: report.sources.map((source) => ({ ...source, name: plainName(source.name) })),
    pairs: report.pairs.map((pair) => ({ ...pair, dropped: plain(pair.dropped), other: plain(pair.other) })),
  }));
  if (reports.length <= 1) return reports[0];
  const total = (value: (report: DedupReport) => number) => reports.reduce((sum, report) => sum + value(report), 0);
  return {
    ...reports[0],
    share: null,
    documents: total(({ documents }) => documents),
    kept: total(({ kept }) => kept),
    dropped: Object.fromEntries(
      dropReasons.map((reason) => [reason, total(({ dropped }) => dropped[reason])]),
    ) as Record<DropReason, number>,
    characters: total(({ characters }) => characters),
    keptCharacters: total(({ keptCharacters }) => keptCharacters),
    // In the order of their numbers, as one machine has them.
    sources: shares
      .flatMap(({ sources }) => sources)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((source) => ({ ...source, name: plainName(source.name) })),
    pairs: reports.flatMap(({ pairs }) => pairs).slice(0, reports[0].pairs.length),
  };
}

function summarise(context: StageContext, plan: ShardPlan): SplitSummary {
  const summary: SplitSummary = { tokens: 0, documents: 0, textBytes: 0, shards: [] };
  const packing: PackingCounts = { sequences: 0, padding: 0, cut: 0, overLength: 0 };
  for (const { entry, counts } of writtenShards(context, plan)) {
    summary.shards.push(entry);
    for (const name of ["tokens", "documents", "textBytes"] as const) summary[name] += entry[name];
    for (const name of ["sequences", "padding", "cut", "overLength"] as const) packing[name] += counts[name];
  }
  return plan.packing.kind === "documents" ? summary : { ...summary, packing };
}

function checkSplits(
  { given, files }: StageContext,
  [train, valid]: readonly SplitSummary[],
  stages: readonly StageReport[],
  source: SourceReport,
): void {
  if (train.documents + valid.documents === 0)
    throw nothingLeft(
      files.map(({ name }) => name),
      source,
      stages,
    );
  const { validFraction } = given;
  const wantsValid = validFraction > 0 || files.some(({ split }) => split === "valid");
  checkSides(train, valid, { validFraction, wantsValid });
}

/** @throws DataError if reading and filters left no text: said before the stages that look at all of it */
export function checkAnyText({ files, work }: StageContext): void {
  const blocks = files.flatMap((file) => blocksOf(work, file));
  if (blocks.some(({ kept }) => kept > 0)) return;
  throw nothingLeft(
    files.map(({ name }) => name),
    mergeSources(files.map((file) => accountOf(work, file)!.source)),
    mergeStageReports(blocks.map(({ stages }) => stages)),
  );
}

/** A machine's report shows the texts of its own share; here, where all are, the others are read too. */
async function withTexts(context: StageContext, reports: readonly DedupReport[]): Promise<DedupReport[]> {
  const sides = reports.flatMap(({ pairs }) => pairs.flatMap(({ dropped, other }) => [dropped, other]));
  const keyOf = ({ source, document }: { source: string; document: number }) => `${source}:${document}`;
  const found = new Map<string, { id?: string; text: string }>();
  for (const file of context.files) {
    const name = dedupName(file);
    const wanted = new Set(sides.filter(({ source, text }) => source === name && text === "").map(keyOf));
    let document = 0;
    if (wanted.size > 0)
      for await (const { text, id } of textOf(context, file)) {
        const key = keyOf({ source: name, document: ++document });
        if (wanted.delete(key)) found.set(key, { ...(id === null ? {} : { id }), text: cut(text) });
        if (wanted.size === 0) break;
      }
  }
  const shown = <T extends { source: string; document: number; text: string }>(side: T): T => {
    const { text, ...others } = side;
    return { ...others, ...(found.get(keyOf(side)) ?? { text }) } as T;
  };
  const pairsOf = ({ pairs }: DedupReport) =>
    pairs.map((pair) => ({ ...pair, dropped: shown(pair.dropped), other: shown(pair.other) }));
  return reports.map((report) => ({ ...report, pairs: pairsOf(report) }));
}
