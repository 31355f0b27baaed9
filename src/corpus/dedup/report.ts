/** What a deduplication came to, as JSON: counts that add up, cluster sizes, how pairs were found, pairs shown. */
import { exists, joinPath } from "../../platform/files.ts";
import { FormatError, UsageError } from "../../platform/errors.ts";
import type { SourceReport } from "../records.ts";
import type { Row, SqlEngine } from "./engine.ts";
import { lshCurve } from "./lsh.ts";
import type { ResolvedDedup } from "./options.ts";
import { bandName } from "./signature-worker.ts";
import { type DedupSource, placeOf, sourceOf } from "./sources.ts";
import {
  cut,
  type DroppedDocument,
  type DropReason,
  dropReasons,
  readDroppedFile,
  type SourceResult,
} from "./write.ts";
import { readJson } from "./work-folder.ts";

export const reportName = "report.json";

export interface HeldOutCounts {
  /** Texts of each held-out source, in order. */
  sources: { name: string; texts: number }[];
  texts: number;
  /** Records that could not be read and were passed over. */
  bad: number;
  ngrams: number;
  /** Texts too short to match anything. */
  tooShort: number;
}

export interface ShownDocument {
  source: string;
  document: number;
  id?: string;
  text: string;
}

/** A dropped document and why, side by side. */
export interface ShownPair {
  reason: DropReason;
  similarity: number | null;
  dropped: ShownDocument;
  /** The one that stays, or the held-out text. */
  other: ShownDocument;
}

export interface DedupReport {
  format: "bitnet-dedup";
  version: number;
  key: string;
  /** "2/8" where this is one of several machines' shares; counts of documents are the share's. */
  share: string | null;
  options: ResolvedDedup;
  /** What reading came to: blank documents and bad records, which are no documents. Null for sources that do not count it. */
  read: SourceReport | null;
  documents: number;
  kept: number;
  dropped: Record<DropReason, number>;
  characters: number;
  keptCharacters: number;
  clusters: {
    count: number;
    largest: number;
    /** How many clusters have so many members. */
    sizes: { members: number; clusters: number }[];
  };
  /** Dropped documents that were joined to the kept one through others, not compared with it. */
  joinedThroughOthers: number;
  /** How near duplicates were found; null without near duplicates, or where another engine made the clusters. */
  near: {
    /** Documents with fewer words than a shingle. */
    tooShort: number;
    pairs: number;
    /** Pairs whose estimated similarity was high enough to be verified. */
    candidates: number;
    duplicates: number;
    /** Groups over maxBucket that agree in a band, in which not all pairs were compared, and their documents. */
    largeBuckets: { groups: number; documents: number };
    curve: { similarity: number; probability: number }[];
  } | null;
  heldOut: HeldOutCounts | null;
  sources: {
    name: string;
    identity: string;
    /** Its file's name in documents/ and dropped/. */
    file: string;
    documents: number;
    kept: number;
    dropped: Record<DropReason, number>;
  }[];
  pairs: ShownPair[];
}

/** A finished deduplication's report. @throws FormatError if the folder holds none */
export function readDedupReport(folder: string): DedupReport {
  const path = joinPath(folder, reportName);
  if (!exists(path)) throw new FormatError(`${folder}: holds no deduplication (${reportName} is not there)`);
  // Reports of version 0.1 call the share "shard".
  const { shard, ...report } = readJson(path) as DedupReport & { shard?: string | null };
  if (report.format !== "bitnet-dedup") throw new FormatError(`${path}: is no report of a deduplication`);
  return { ...report, share: report.share ?? shard ?? null };
}

/** What a finished deduplication dropped of one source, by the name it had, in order. */
export async function* readDropped(folder: string, name: string): AsyncGenerator<DroppedDocument> {
  const { sources } = readDedupReport(folder);
  const source = sources.find((one) => one.name === name);
  if (!source)
    throw new UsageError(
      `${folder}: has no source "${name}"; its sources are: ${sources.map((one) => one.name).join(", ")}`,
    );
  yield* readDroppedFile(joinPath(folder, "dropped", source.file));
}

export interface ShownRow {
  doc: number;
  reason: DropReason;
  kept: number;
  similarity: number | null;
  held: number;
}

/**
 * Pairs to show, the same in every run: for near duplicates those of least similarity and others from all over; for the
 * rest from all over.
 */
export async function choosePairs(engine: SqlEngine, count: number): Promise<ShownRow[]> {
  // Spreads over the documents without chance; multiplying the whole number could overflow.
  const spread = "((doc % 1000003) * 7919) % 1000003, doc";
  const rows: Row[] = [];
  for (const reason of dropReasons) {
    const from = `SELECT doc, reason, kept, similarity, held FROM decisions WHERE reason = '${reason}'`;
    const least = reason === "near" ? Math.ceil(count / 2) : 0;
    const picked = least
      ? await engine.rows(`${from} AND similarity IS NOT NULL ORDER BY similarity, doc LIMIT ${least}`)
      : [];
    const others = await engine.rows(`${from} ORDER BY ${spread} LIMIT ${count}`);
    const docs = new Set(picked.map(({ doc }) => doc));
    rows.push(...picked, ...others.filter(({ doc }) => !docs.has(doc)).slice(0, count - picked.length));
  }
  return rows as unknown as ShownRow[];
}

/** The part of a report that queries tell. @param whole  all tables are there, not only `decisions` */
export async function describeClusters(
  engine: SqlEngine,
  options: ResolvedDedup,
  whole: boolean,
): Promise<Pick<DedupReport, "clusters" | "near">> {
  const sizes = (await engine.rows(
    `SELECT members, COUNT(*) AS clusters FROM (
       SELECT kept, COUNT(*) + 1 AS members FROM decisions WHERE reason <> 'contaminated' GROUP BY kept
     ) t GROUP BY members ORDER BY members`,
  )) as { members: number; clusters: number }[];
  const clusters = {
    count: sizes.reduce((sum, { clusters }) => sum + clusters, 0),
    largest: sizes.at(-1)?.members ?? 0,
    sizes,
  };
  if (!whole) return { clusters, near: null };
  const count = async (sql: string) => Number((await engine.rows(sql))[0].n);
  const largeBuckets = { groups: 0, documents: 0 };
  for (let b = 0; b < options.bands; b++) {
    const [row] = await engine.rows(
      `SELECT COUNT(*) AS n, CAST(COALESCE(SUM(members), 0) AS BIGINT) AS documents FROM (
         SELECT COUNT(*) AS members FROM eligible GROUP BY ${bandName(b)} HAVING COUNT(*) > ${options.maxBucket}) t`,
    );
    largeBuckets.groups += Number(row.n);
    largeBuckets.documents += Number(row.documents);
  }
  return {
    clusters,
    near: {
      tooShort: await count(`SELECT COUNT(*) AS n FROM signatures WHERE words < ${options.shingle}`),
      pairs: await count("SELECT COUNT(*) AS n FROM pairs"),
      candidates: await count("SELECT COUNT(*) AS n FROM candidates"),
      duplicates: await count("SELECT COUNT(*) AS n FROM edges"),
      largeBuckets,
      curve: lshCurve(options),
    },
  };
}

/** The pairs with their texts. A text of another machine's share is told by its name alone. */
export async function showPairs(
  rows: readonly ShownRow[],
  results: readonly (SourceResult | null)[],
  names: readonly string[],
  heldOut: readonly DedupSource[],
  heldOutText: (number: number) => { source: string; document: number },
): Promise<ShownPair[]> {
  const shown = (doc: number): ShownDocument => ({
    source: names[sourceOf(doc)],
    document: placeOf(doc) + 1,
    ...(results[sourceOf(doc)]?.shown[doc] ?? { text: "" }),
  });
  const wanted = new Set(rows.filter(({ reason }) => reason === "contaminated").map(({ held }) => held));
  const texts = new Map<number, string>();
  let number = 0;
  for (const source of wanted.size > 0 ? heldOut : [])
    for await (const document of source.documents()) {
      if (wanted.has(number)) texts.set(number, cut(typeof document === "string" ? document : document.text));
      number++;
    }
  return rows.map(({ doc, reason, kept, similarity, held }) => ({
    reason,
    similarity,
    dropped: shown(doc),
    other: reason === "contaminated" ? { ...heldOutText(held), text: texts.get(held) ?? "" } : shown(kept),
  }));
}
