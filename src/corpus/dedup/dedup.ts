/**
 * Deduplication of documents from start to end, out of core and resumable: signatures by worker threads, clusters by SQL
 * in DuckDB, texts written by their decisions. Each stage leaves whole files in a work folder; a run that was killed goes
 * on there, and the result's folder appears when it is complete. The result depends on the documents, their sources'
 * names and the options alone: not on the order of sources, threads, memory or interruptions.
 */
import { DataError, UsageError } from "../../platform/errors.ts";
import {
  exists,
  joinPath,
  listFolder,
  makeFolder,
  recoverFolder,
  removePath,
  replaceFolder,
  writeAtomically,
} from "../../platform/files.ts";
import { lockFolders } from "../../platform/lock.ts";
import { checkShare, isInShare, type Share, shareName } from "../../data/share.ts";
import { processorCount } from "../../platform/machine.ts";
import { addSourceReport, createSourceReport, type SourceReport } from "../records.ts";
import { indexHeldOut } from "./contamination.ts";
import { openEngine, parquetView, type Row, runStep, type SqlEngine, tableFiles } from "./engine.ts";
import { type DedupOptions, resolveDedup } from "./options.ts";
import { type DedupPlan, dedupPlan } from "./plan.ts";
import {
  choosePairs,
  type DedupReport,
  describeClusters,
  type HeldOutCounts,
  readDedupReport,
  reportName,
  type ShownRow,
  showPairs,
} from "./report.ts";
import { createSignaturePool, markerName, runTextStage, type SourceCounts, writeEmptyShingles } from "./signatures.ts";
import { type DedupSource, documentNumber, orderSources, placeOf } from "./sources.ts";
import { dedupVersion, describeRun, openWorkFolder, type RunDescription, type WorkFolder } from "./work-folder.ts";
import { type DropReason, dropReasons, partName, type SourceResult, writeSource } from "./write.ts";

/** In order. `candidates` and `clusters` are SQL alone, which another engine can run (`planText`). */
export const dedupStages = ["signatures", "candidates", "shingles", "clusters", "write"] as const;
export type DedupStage = (typeof dedupStages)[number];

export interface DedupProgress {
  stage: DedupStage;
  /** Documents for the stages that read text, else steps. `total` is 0 while it is not known. */
  done: number;
  total: number;
  note: string;
}

export interface DeduplicateOptions extends DedupOptions {
  sources: readonly DedupSource[];
  /** Evaluation texts: documents that share n-grams with them are dropped. */
  heldOut?: readonly DedupSource[];
  /** The result's folder; one that holds another deduplication is replaced once the new one is complete. */
  outDir: string;
  /** Default: outDir + ".work". */
  workDir?: string;
  /** Leave the work folder there when all is done. */
  keepWork?: boolean;
  /** Throw away an unfinished run of other sources or options. */
  restart?: boolean;
  /** Write the documents that stay (default true), or only what is dropped. */
  documents?: boolean;
  /** Worker threads for signatures; 0: this thread. Default: one for each processor, at most 8. */
  threads?: number;
  /** Bound of DuckDB's memory (default "768MB"); beyond it, it spills to the work folder. */
  memory?: string;
  /** Run this stage alone, on what those before it left in the work folder. */
  stage?: DedupStage;
  /** One machine's share of the sources in the stages that read text: those whose number modulo `count` is `index`. */
  share?: Share;
  /** @deprecated The name of `share` before. */
  shard?: Share;
  onProgress?: (progress: DedupProgress) => void;
  /** Told, for people, that the lock of a process that is gone was taken over. */
  onNote?: (text: string) => void;
  signal?: AbortSignal;
}

export interface DeduplicationResult {
  folder: string;
  /** Null when one stage was asked for that is not the last. */
  report: DedupReport | null;
  /** True if the same was there already. */
  reused: boolean;
}

/**
 * Deduplicates, or finds it done.
 *
 * @throws UsageError for options that contradict, another process at work on the same output, or a folder that may not be
 *   replaced; DataError for no documents, or
 *   sources that changed meanwhile; UnsupportedError without DuckDB; FileError when the disk refuses
 */
export async function deduplicate(given: DeduplicateOptions): Promise<DeduplicationResult> {
  const options = resolveDedup(given);
  const sources = orderSources(given.sources);
  const heldOut = given.heldOut?.length ? orderSources(given.heldOut) : [];
  const { outDir, stage, share = given.shard } = given;
  if (given.share && given.shard) throw new UsageError("name the machine's part once: as share, not as shard too");
  if (share) checkShare(share);
  const run = describeRun(options, sources, heldOut, given.documents ?? true);
  const shareText = share ? shareName(share) : null;
  const before = findResult(outDir);
  if (before && before.key === run.key && before.share === shareText && before.version === dedupVersion && !stage)
    return { folder: outDir, report: before, reused: true };
  // Machines that share the work are many processes at once, each on parts of its own.
  const lock = share ? null : lockFolders([outDir, given.workDir ?? `${outDir}.work`], given.onNote);
  try {
    return await runStages(given, { options, sources, heldOut, run, shareText });
  } finally {
    lock?.release();
  }
}

async function runStages(
  given: DeduplicateOptions,
  {
    options,
    sources,
    heldOut,
    run,
    shareText,
  }: Pick<Context, "options" | "sources" | "heldOut"> & { run: RunDescription; shareText: string | null },
): Promise<DeduplicationResult> {
  const { outDir, stage, share = given.shard, signal } = given;
  const work = openWorkFolder(given.workDir ?? `${outDir}.work`, run, given.restart ?? false);
  sweep(work, resultFolder({ given, work }));
  const context: Context = {
    given,
    options,
    sources,
    heldOut,
    work,
    plan: dedupPlan(options),
    mine: (number) => !share || isInShare(number, share),
    say: (stage, done, total, note) => {
      signal?.throwIfAborted();
      given.onProgress?.({ stage, done, total, note });
    },
    engine: lazy(() =>
      openEngine({
        memory: given.memory ?? "768MB",
        threads: processorCount(),
        spillFolder: work.folder("spill"),
        signal,
      }),
    ),
  };
  const wants = (name: DedupStage) => !stage || stage === name;
  try {
    if (wants("signatures")) await signatureStage(context);
    if (wants("candidates")) await candidateStage(context);
    if (wants("shingles")) await shingleStage(context);
    if (wants("clusters")) await clusterStage(context);
    if (!wants("write")) return { folder: work.path, report: null, reused: false };
    const report = await writeStage(context, shareText);
    if (!given.keepWork) {
      context.engine.close();
      removePath(work.path);
    }
    return { folder: outDir, report, reused: false };
  } catch (error) {
    context.engine.close();
    work.removeIfUnused();
    throw error;
  } finally {
    context.engine.close();
  }
}

interface Context {
  given: DeduplicateOptions;
  options: ReturnType<typeof resolveDedup>;
  sources: DedupSource[];
  heldOut: DedupSource[];
  work: WorkFolder;
  plan: DedupPlan;
  mine(source: number): boolean;
  /** Tells progress, and ends here if the work was asked to end. */
  say(stage: DedupStage, done: number, total: number, note: string): void;
  engine: Lazy;
}

interface Lazy {
  open(): Promise<SqlEngine>;
  close(): void;
}

function lazy(make: () => Promise<SqlEngine>): Lazy {
  let engine: SqlEngine | undefined;
  return {
    open: async () => {
      engine ??= await make();
      return engine;
    },
    close() {
      engine?.close();
      engine = undefined;
    },
  };
}

/** What is there in the result's folder. @throws UsageError for something that is no deduplication */
function findResult(outDir: string): DedupReport | null {
  recoverFolder(outDir);
  if (!exists(outDir) || listFolder(outDir).length === 0) return null;
  if (exists(joinPath(outDir, reportName))) return readDedupReport(outDir);
  throw new UsageError(`${outDir}: exists and holds no deduplication; name another folder or remove it`);
}

/** Where the result grows: on the disk that it will lie on, since it gets its name by renaming. */
const resultFolder = ({ given, work }: Pick<Context, "given" | "work">): string =>
  given.workDir === undefined ? joinPath(work.path, "result") : `${given.outDir.replace(/[/\\]+$/, "")}.result`;

/** Removes what a killed run left half-written. */
function sweep(work: WorkFolder, result: string): void {
  const below = (folder: string) => {
    for (const name of listFolder(folder)) if (/\.tmp(-\d+-\d+)?$/.test(name)) removePath(joinPath(folder, name));
  };
  for (const name of ["signatures", "shingles", "tables"] as const) below(work.folder(name));
  for (const name of ["documents", "dropped"]) {
    const folder = joinPath(result, name);
    if (exists(folder)) below(folder);
  }
  removePath(work.folder("spill"));
}

const defaultThreads = (): number => Math.min(8, processorCount());

async function signatureStage({ given, options, sources, heldOut, work, mine, say }: Context): Promise<void> {
  const left = sources.map((_, i) => i).filter((i) => mine(i) && !work.marker(markerName("signatures", i)));
  const { signal } = given;
  if (left.length > 0) {
    const counts: HeldOutCounts = { sources: [], texts: 0, bad: 0, ngrams: 0, tooShort: 0 };
    async function* heldOutTexts(): AsyncGenerator<string> {
      for (const source of heldOut) {
        const entry = { name: source.name, texts: 0 };
        counts.sources.push(entry);
        const read = createSourceReport();
        for await (const document of source.documents(read)) {
          entry.texts++;
          yield typeof document === "string" ? document : document.text;
        }
        counts.bad += read.bad;
        say("signatures", 0, 0, `held-out texts: ${source.name}`);
      }
    }
    const index = heldOut.length > 0 ? await indexHeldOut(heldOutTexts(), options.ngram) : null;
    if (index) {
      const { texts, ngrams, tooShort } = index;
      work.mark("held-out", { ...counts, texts, ngrams, tooShort });
    }
    const pool = createSignaturePool(options, index, given.threads ?? defaultThreads());
    let done = 0;
    try {
      for (const number of left) {
        const onBlock = (documents: number) => {
          done += documents;
          say("signatures", done, 0, sources[number].name);
        };
        await runTextStage(sources[number], number, { kind: "signatures", work, pool, options, signal, onBlock });
      }
    } finally {
      await pool.close();
    }
  }
  const counted = sources.map((_, i) => work.marker<SourceCounts>(markerName("signatures", i)));
  if (counted.every((counts) => counts?.documents === 0)) {
    const [bad] = counted.flatMap((counts) => counts?.read?.badRecords ?? []);
    const why = bad ? `; bad records were passed over, the first: ${bad.file}: ${bad.reason}` : "";
    const shown = sources.slice(0, 3).map(({ name }) => name);
    const more = sources.length > 3 ? ` and ${sources.length - 3} more` : "";
    removePath(joinPath(work.path, "markers"));
    throw new DataError(`${shown.join(", ")}${more}: hold no document; expected text${why}`);
  }
}

/** The views that every query may use. @throws UsageError naming what the stages before should have left */
async function openTables({ sources, work, engine, options }: Context, wanted: readonly string[]): Promise<SqlEngine> {
  const sql = await engine.open();
  const missing = sources.filter((_, i) => !work.marker(markerName("signatures", i)));
  const signatures = joinPath(work.folder("signatures"), "*.parquet");
  if (wanted.includes("signatures")) {
    if (missing.length > 0)
      throw new UsageError(
        `${work.path}: has no signatures of ${missing.length} of ${sources.length} sources (first: ${missing[0].name}); run the stage "signatures" first, or copy what other machines wrote (signatures/ and markers/)`,
      );
    await sql.run(parquetView("signatures", signatures));
  }
  for (const name of wanted) {
    if (name === "signatures") continue;
    if (name === "shingles") {
      await sql.run(parquetView(name, joinPath(work.folder("shingles"), "*.parquet")));
      continue;
    }
    const found = tableFiles(work.folder("tables"), name);
    if (!found)
      throw new UsageError(
        `${work.path}: has no table "${name}"; run the stages before this one first (of ${options.near ? dedupStages.join(", ") : "signatures, candidates, clusters, write"})`,
      );
    await sql.run(parquetView(name, found));
  }
  return sql;
}

async function candidateStage(context: Context): Promise<void> {
  const { plan, work, say } = context;
  const sql = await openTables(context, ["signatures"]);
  for (const [i, step] of plan.candidates.entries()) {
    say("candidates", i, plan.candidates.length, step.what);
    await runStep(sql, step, work.folder("tables"));
  }
}

async function shingleStage(context: Context): Promise<void> {
  const { given, options, sources, work, mine, say } = context;
  if (!options.near || options.verify !== "exact") return;
  const { signal } = given;
  const left = sources.map((_, i) => i).filter((i) => mine(i) && !work.marker(markerName("shingles", i)));
  if (left.length === 0) return;
  writeEmptyShingles(work);
  const sql = await openTables(context, ["candidates"]);
  const docs = "SELECT a AS doc FROM candidates UNION SELECT b AS doc FROM candidates";
  const total = Number((await sql.rows(`SELECT COUNT(*) AS n FROM (${docs}) t`))[0].n);
  const pool = createSignaturePool(options, null, given.threads ?? defaultThreads());
  let done = 0;
  try {
    for (const number of left) {
      const onBlock = (documents: number) => {
        done += documents;
        say("shingles", done, total, sources[number].name);
      };
      const rows = sql.stream(
        `SELECT doc FROM (${docs}) t WHERE doc >= ${documentNumber(number, 0)} AND doc < ${documentNumber(number + 1, 0)} ORDER BY doc`,
      );
      const places = placesOf(rows);
      try {
        await runTextStage(sources[number], number, { kind: "shingles", work, pool, options, signal, onBlock }, places);
      } finally {
        await places.return(undefined);
      }
    }
  } finally {
    await pool.close();
  }
}

async function* placesOf(rows: AsyncIterable<Row>): AsyncGenerator<number> {
  for await (const { doc } of rows) yield placeOf(Number(doc));
}

async function clusterStage(context: Context): Promise<void> {
  const { options, plan, sources, work, say } = context;
  const tables = work.folder("tables");
  if (tableFiles(tables, "decisions")) return;
  const exact = options.near && options.verify === "exact";
  if (exact) {
    const missing = sources.filter((_, i) => !work.marker(markerName("shingles", i)));
    if (missing.length > 0)
      throw new UsageError(
        `${work.path}: has no shingles of ${missing.length} of ${sources.length} sources (first: ${missing[0].name}); run the stage "shingles" first, or copy what other machines wrote (shingles/ and markers/)`,
      );
  }
  const sql = await openTables(context, [
    "signatures",
    "exact_drops",
    ...(options.near ? ["candidates"] : []),
    ...(exact ? ["shingles"] : []),
  ]);
  let steps = 0;
  const run = async (step: Parameters<typeof runStep>[1]) => {
    say("clusters", steps++, 0, step.what);
    await runStep(sql, step, tables);
  };
  for (const step of plan.edges) await run(step);
  let round = 0;
  if (options.near) {
    await run(plan.labels(0));
    do await run(plan.labels(++round));
    while (Number((await sql.rows(plan.changed(round)))[0].changed) > 0);
  }
  for (const step of plan.decisions(round)) await run(step);
}

/** What all sources of this share could not read, as the first stage that read them counted it. */
function readingOf({ sources, work, mine }: Context): SourceReport | null {
  const all = createSourceReport();
  for (const i of sources.keys()) {
    const read = mine(i) ? work.marker<SourceCounts>(markerName("signatures", i))?.read : undefined;
    if (read) addSourceReport(all, read);
  }
  return all.files > 0 ? all : null;
}

async function writeStage(context: Context, share: string | null): Promise<DedupReport> {
  const { given, options, sources, heldOut, work, plan, mine, say } = context;
  const { outDir, signal } = given;
  const sql = await openTables(context, ["decisions"]);
  const names = sources.map(({ name }) => name);
  const counts = work.marker<HeldOutCounts>("held-out");
  const heldOutText = (number: number) => {
    let first = 0;
    for (const { name, texts } of counts?.sources ?? []) {
      if (number < first + texts) return { source: name, document: number - first + 1 };
      first += texts;
    }
    throw new DataError(`${work.path}: held-out text ${number} is not among those counted; start anew with --restart`);
  };
  const rows: ShownRow[] = await choosePairs(sql, options.samples);
  const show = new Set(rows.flatMap(({ doc, kept, reason }) => (reason === "contaminated" ? [doc] : [doc, kept])));
  const result = resultFolder(context);
  if (!sources.some((_, i) => work.marker(markerName("write", i)))) removePath(result);
  const total = sources.reduce(
    (sum, _, i) => sum + (mine(i) ? (work.marker<SourceCounts>(markerName("signatures", i))?.documents ?? 0) : 0),
    0,
  );
  const results: (SourceResult | null)[] = [];
  let done = 0;
  for (const [number, source] of sources.entries()) {
    if (!mine(number)) {
      results.push(null);
      continue;
    }
    const marker = markerName("write", number);
    let found = work.marker<SourceResult>(marker);
    if (!found || !exists(joinPath(result, "dropped", partName(source.name, number)))) {
      const range = `doc >= ${documentNumber(number, 0)} AND doc < ${documentNumber(number + 1, 0)}`;
      found = await writeSource(source, number, result, {
        names,
        decisions: sql.stream(`SELECT * FROM decisions WHERE ${range} ORDER BY doc`),
        show,
        heldOutText,
        documents: given.documents ?? true,
        signal,
        onDocuments: (documents) => {
          done += documents;
          say("write", done, total, source.name);
        },
      });
      work.mark(marker, found);
    } else done += found.documents;
    results.push(found);
  }
  const mineResults = results.filter((one) => one !== null);
  const sum = (value: (one: SourceResult) => number) => mineResults.reduce((all, one) => all + value(one), 0);
  const droppedSum = Object.fromEntries(dropReasons.map((reason) => [reason, sum((r) => r.dropped[reason])]));
  const tables = ["exact_drops", "pairs", "candidates", "edges"];
  // Another engine's clusters, or one machine's share of the signatures: what the tables would tell is not here.
  const whole =
    options.near &&
    tables.every((name) => tableFiles(work.folder("tables"), name)) &&
    sources.every((_, i) => work.marker(markerName("signatures", i)));
  if (whole) {
    await openTables(context, ["signatures", ...tables]);
    for (const step of plan.candidates) if (step.kind === "view") await runStep(sql, step, "");
  }
  const report: DedupReport = {
    format: "bitnet-dedup",
    version: dedupVersion,
    key: work.run.key,
    share,
    options,
    read: readingOf(context),
    documents: sum((r) => r.documents),
    kept: sum((r) => r.kept),
    dropped: droppedSum as Record<DropReason, number>,
    characters: sum((r) => r.characters),
    keptCharacters: sum((r) => r.keptCharacters),
    ...(await describeClusters(sql, options, whole)),
    joinedThroughOthers: Number(
      (await sql.rows("SELECT COUNT(*) AS n FROM decisions WHERE reason <> 'contaminated' AND similarity IS NULL"))[0]
        .n,
    ),
    heldOut: counts,
    sources: sources.flatMap(({ name, identity }, i) => {
      const one = results[i];
      return one
        ? [{ name, identity, file: partName(name, i), documents: one.documents, kept: one.kept, dropped: one.dropped }]
        : [];
    }),
    pairs: await showPairs(rows, results, names, heldOut, heldOutText),
  };
  signal?.throwIfAborted();
  // No document is lost or counted twice, whatever the tables say.
  const accounted = report.kept + dropReasons.reduce((all, reason) => all + report.dropped[reason], 0);
  if (accounted !== report.documents)
    throw new Error(`dedup: ${accounted} of ${report.documents} documents accounted for`);
  makeFolder(result);
  writeAtomically(joinPath(result, reportName), `${JSON.stringify(report, null, 2)}\n`);
  findResult(outDir);
  replaceFolder(result, outDir);
  return report;
}
