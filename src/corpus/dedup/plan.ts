/**
 * The cluster stage as SQL over Parquet files: a list of named SELECTs, each made of the tables before it. They keep to
 * what SQL engines share (joins, GROUP BY, UNION ALL, ROW_NUMBER, FIRST_VALUE, CASE), so that DuckDB runs them here and
 * Spark SQL, or another engine that reads Parquet, runs the same text on many machines. Knows no engine and no file.
 *
 * signatures -> exact_drops -> eligible -> pairs_00 .. -> pairs -> paired -> candidates (-> shingles) -> edges
 *   -> labels_00 .. (least label until nothing changes) -> labels -> near -> decisions
 */
import type { KeepRule, ResolvedDedup } from "./options.ts";
import { bandName, valueName } from "./signature-worker.ts";

export interface PlanStep {
  name: string;
  /** A view is a name for a query; a table is written as Parquet. */
  kind: "view" | "table";
  what: string;
  select: string;
}

export interface DedupPlan {
  /** Up to `candidates`. With verification "exact" the shingles of the candidates' documents are needed then. */
  candidates: PlanStep[];
  edges: PlanStep[];
  /** Round k of label propagation: labels_k from labels_(k - 1); round 0 starts it. */
  labels(round: number): PlanStep;
  /** How many labels changed in a round; the last round is the one with 0. */
  changed(round: number): string;
  decisions(lastRound: number): PlanStep[];
}

const real = (value: number): string => `CAST('${value}' AS DOUBLE)`;
const labelsName = (round: number): string => `labels_${String(round).padStart(2, "0")}`;

/** Best first. */
const orders: Record<KeepRule, (table: string) => string> = {
  first: (t) => `${t}.doc`,
  longest: (t) => `${t}.characters DESC, ${t}.doc`,
  score: (t) => `${t}.score DESC, ${t}.doc`,
};

export function dedupPlan(options: ResolvedDedup): DedupPlan {
  const order = orders[options.keep];
  const clean = (t: string) => `${t}.overlap < ${options.overlap}`;
  const bandNames = Array.from({ length: options.bands }, (_, b) => bandName(b));

  const exactDrops: PlanStep = {
    name: "exact_drops",
    kind: "table",
    what: "documents whose text another one has, and which of them stays",
    select: `SELECT doc, rep FROM (
  SELECT s.doc, FIRST_VALUE(s.doc) OVER (PARTITION BY s.exact_a, s.exact_b ORDER BY ${order("s")}) AS rep
  FROM signatures s
  JOIN (SELECT exact_a, exact_b FROM signatures g WHERE ${clean("g")}
        GROUP BY exact_a, exact_b HAVING COUNT(*) > 1) g
    ON g.exact_a = s.exact_a AND g.exact_b = s.exact_b
  WHERE ${clean("s")}
) t WHERE doc <> rep`,
  };
  const eligible: PlanStep = {
    name: "eligible",
    kind: "view",
    what: "documents that may have near duplicates: no exact drop, not contaminated, long enough for a shingle",
    select: `SELECT s.* FROM signatures s
WHERE ${clean("s")} AND s.words >= ${options.shingle}
  AND NOT EXISTS (SELECT 1 FROM exact_drops d WHERE d.doc = s.doc)`,
  };
  const bandPairs = bandNames.map(
    (band, b): PlanStep => ({
      name: pairsName(b),
      kind: "table",
      what: `pairs that agree in band ${b}`,
      select: `WITH shared AS (
  SELECT ${band} AS bucket, COUNT(*) AS members FROM eligible GROUP BY ${band} HAVING COUNT(*) > 1
), placed AS (
  SELECT e.doc, h.bucket, h.members, ROW_NUMBER() OVER (PARTITION BY h.bucket ORDER BY e.doc) AS place
  FROM eligible e JOIN shared h ON h.bucket = e.${band}
), few AS (SELECT doc, bucket FROM placed WHERE members <= ${options.maxBucket}
), many AS (SELECT doc, bucket, place FROM placed WHERE members > ${options.maxBucket})
SELECT x.doc AS a, y.doc AS b FROM few x JOIN few y ON y.bucket = x.bucket AND x.doc < y.doc
UNION ALL
SELECT x.doc AS a, y.doc AS b FROM many x JOIN many y ON y.bucket = x.bucket WHERE x.place = 1 AND y.place > 1
UNION ALL
SELECT x.doc AS a, y.doc AS b FROM many x JOIN many y ON y.bucket = x.bucket AND y.place = x.place + 1 WHERE x.place > 1`,
    }),
  );
  const pairs: PlanStep = {
    name: "pairs",
    kind: "table",
    what: "each pair once",
    select: `SELECT a, b FROM (
${bandNames.map((_, b) => `  SELECT a, b FROM ${pairsName(b)}`).join("\n  UNION ALL\n")}
) t GROUP BY a, b`,
  };
  const values = Array.from({ length: options.permutations }, (_, p) => valueName(p));
  const paired: PlanStep = {
    name: "paired",
    kind: "table",
    what: "signatures of the documents in pairs",
    select: `SELECT s.doc, ${values.map((v) => `s.${v}`).join(", ")}
FROM signatures s JOIN (SELECT a AS doc FROM pairs UNION SELECT b AS doc FROM pairs) p ON p.doc = s.doc`,
  };
  const agreeing = values.map((v) => `CASE WHEN x.${v} = y.${v} THEN 1 ELSE 0 END`).join("\n    + ");
  const candidates: PlanStep = {
    name: "candidates",
    kind: "table",
    what: "pairs with the share of agreeing MinHash values, an estimate of their Jaccard similarity",
    select: `SELECT a, b, estimate FROM (
  SELECT p.a, p.b, (${agreeing}) / ${real(options.permutations)} AS estimate
  FROM pairs p JOIN paired x ON x.doc = p.a JOIN paired y ON y.doc = p.b
) t WHERE estimate >= ${real(options.leastEstimate)}`,
  };
  const edges: PlanStep = {
    name: "edges",
    kind: "table",
    what: `pairs of similarity ${options.threshold} or more`,
    select:
      options.verify === "signature"
        ? `SELECT a, b, estimate AS similarity FROM candidates WHERE estimate >= ${real(options.threshold)}`
        : `WITH sizes AS (SELECT doc, COUNT(*) AS shingles FROM shingles GROUP BY doc
), common AS (
  SELECT c.a, c.b, COUNT(*) AS shingles FROM candidates c
  JOIN shingles x ON x.doc = c.a JOIN shingles y ON y.doc = c.b AND y.shingle = x.shingle
  GROUP BY c.a, c.b
)
SELECT a, b, similarity FROM (
  SELECT m.a, m.b, CAST(m.shingles AS DOUBLE) / CAST(p.shingles + q.shingles - m.shingles AS DOUBLE) AS similarity
  FROM common m JOIN sizes p ON p.doc = m.a JOIN sizes q ON q.doc = m.b
) t WHERE similarity >= ${real(options.threshold)}`,
  };
  const labels = (round: number): PlanStep => {
    const [name, before] = [labelsName(round), labelsName(round - 1)];
    if (round === 0)
      return {
        name,
        kind: "table",
        what: "connected components: each document starts with a label of its own",
        select: "SELECT doc, doc AS label FROM (SELECT a AS doc FROM edges UNION SELECT b AS doc FROM edges) t",
      };
    return {
      name,
      kind: "table",
      what: "each takes the least label of itself, its neighbours, and the document its label names",
      select: `SELECT doc, MIN(label) AS label FROM (
  SELECT doc, label FROM ${before}
  UNION ALL SELECT e.b AS doc, l.label FROM edges e JOIN ${before} l ON l.doc = e.a
  UNION ALL SELECT e.a AS doc, l.label FROM edges e JOIN ${before} l ON l.doc = e.b
  UNION ALL SELECT l.doc, m.label FROM ${before} l JOIN ${before} m ON m.doc = l.label
) t GROUP BY doc`,
    };
  };
  const changed = (round: number): string =>
    `SELECT COUNT(*) AS changed FROM ${labelsName(round)} n JOIN ${labelsName(round - 1)} o ON o.doc = n.doc WHERE n.label <> o.label`;

  const decisions = (lastRound: number): PlanStep[] => {
    const near: PlanStep = {
      name: "near",
      kind: "table",
      what: "members of clusters, which one stays, and their similarity where the two were compared",
      select: options.near
        ? `SELECT r.doc, r.label AS cluster, r.kept, e.similarity FROM (
  SELECT l.doc, l.label, FIRST_VALUE(l.doc) OVER (PARTITION BY l.label ORDER BY ${order("s")}) AS kept
  FROM ${labelsName(lastRound)} l JOIN signatures s ON s.doc = l.doc
) r LEFT JOIN edges e ON e.a = LEAST(r.doc, r.kept) AND e.b = GREATEST(r.doc, r.kept)`
        : "SELECT doc, doc AS cluster, doc AS kept, score AS similarity FROM signatures WHERE doc < 0",
    };
    const all: PlanStep = {
      name: "decisions",
      kind: "table",
      what: "every dropped document: why, its cluster, the one that stays, their similarity (null: joined through others)",
      select: `SELECT doc, reason, cluster, kept, similarity, held, overlap FROM (
  SELECT s.doc, 'contaminated' AS reason, s.doc AS cluster, CAST(-1 AS BIGINT) AS kept,
    CAST(NULL AS DOUBLE) AS similarity, s.held, s.overlap
  FROM signatures s WHERE s.overlap >= ${options.overlap}
  UNION ALL
  SELECT n.doc, 'near' AS reason, n.cluster, n.kept, n.similarity, -1 AS held, 0 AS overlap
  FROM near n WHERE n.doc <> n.kept
  UNION ALL
  SELECT x.doc, 'exact' AS reason, COALESCE(n.cluster, x.rep) AS cluster, COALESCE(n.kept, x.rep) AS kept,
    CASE WHEN n.kept IS NULL OR n.kept = x.rep THEN ${real(1)} ELSE n.similarity END AS similarity,
    -1 AS held, 0 AS overlap
  FROM exact_drops x LEFT JOIN near n ON n.doc = x.rep
) t ORDER BY doc`,
    };
    return [near, all];
  };
  return options.near
    ? {
        candidates: [exactDrops, eligible, ...bandPairs, pairs, paired, candidates],
        edges: [edges],
        labels,
        changed,
        decisions,
      }
    : { candidates: [exactDrops], edges: [], labels, changed, decisions };
}

const pairsName = (band: number): string => `pairs_${String(band).padStart(2, "0")}`;
