/** The plan as a script for an engine: DuckDB, Spark SQL, or the bare statements. Text out; `--print-plan` prints it. */
import type { ResolvedDedup } from "./options.ts";
import { dedupPlan, type PlanStep } from "./plan.ts";

export type PlanDialect = "duckdb" | "spark" | "generic";

export interface PlanTextOptions {
  dialect: PlanDialect;
  /** Where the tables lie: a folder or s3:// address; `signatures/` is below it. */
  location: string;
  /** Rounds of label propagation to write out (default 24); the script ends with a count that tells if they were enough. */
  rounds?: number;
  /** Only the part up to the candidates, or only what comes after (default both, one after the other). */
  part?: "candidates" | "clusters";
}

const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Names tables that are there, and writes new ones. */
const dialects: Record<
  PlanDialect,
  { open(name: string, at: string): string; create(step: PlanStep, at: string): string; intro(at: string): string[] }
> = {
  duckdb: {
    intro: (at) => [
      "DuckDB: duckdb < dedup.sql",
      ...(at.includes("://")
        ? ["INSTALL httpfs; LOAD httpfs; CREATE SECRET (TYPE s3, PROVIDER credential_chain);"]
        : []),
    ],
    open: (name, at) =>
      `CREATE OR REPLACE VIEW ${name} AS SELECT * FROM read_parquet(${quote(`${at}/${name}/*.parquet`)});`,
    create: (step, at) =>
      `COPY (\n${step.select}\n) TO ${quote(`${at}/${step.name}`)} (FORMAT PARQUET, PER_THREAD_OUTPUT true, OVERWRITE true);\n` +
      `CREATE OR REPLACE VIEW ${step.name} AS SELECT * FROM read_parquet(${quote(`${at}/${step.name}/*.parquet`)});`,
  },
  spark: {
    intro: () => [
      "Spark SQL: spark-sql --master yarn --conf spark.sql.adaptive.enabled=true -f dedup.sql",
      "(for S3: --packages org.apache.hadoop:hadoop-aws:VERSION-OF-YOUR-HADOOP, and s3a:// addresses)",
    ],
    open: (name, at) =>
      `CREATE OR REPLACE TEMPORARY VIEW ${name} USING parquet OPTIONS (path ${quote(`${at}/${name}`)});`,
    create: (step, at) =>
      `INSERT OVERWRITE DIRECTORY ${quote(`${at}/${step.name}`)} USING parquet\n${step.select};\n` +
      `CREATE OR REPLACE TEMPORARY VIEW ${step.name} USING parquet OPTIONS (path ${quote(`${at}/${step.name}`)});`,
  },
  generic: {
    intro: () => [
      "Any engine: make the Parquet files of each folder named below readable as a table of that name first.",
    ],
    open: (name, at) => `-- table ${name}: the Parquet files of ${at}/${name}/`,
    create: (step) => `CREATE TABLE ${step.name} AS\n${step.select};`,
  },
};

/** @returns the script, up to and with the table `decisions` */
export function planText(options: ResolvedDedup, { dialect, location, rounds = 24, part }: PlanTextOptions): string {
  const at = location.replace(/\/+$/, "");
  const { intro, open, create } = dialects[dialect];
  const plan = dedupPlan(options);
  const exact = options.near && options.verify === "exact";
  const step = (one: PlanStep): string =>
    `-- ${one.name}: ${one.what}\n${one.kind === "view" ? `CREATE OR REPLACE ${dialect === "spark" ? "TEMPORARY " : ""}VIEW ${one.name} AS\n${one.select};` : create(one, at)}`;
  const comment = (lines: readonly string[]) => lines.map((line) => `-- ${line}`).join("\n");
  const preface = comment([
    "Deduplication by bitnet.ts: clusters of duplicate documents by SQL over Parquet files.",
    "",
    "1. On each machine I of N, over the same list of files:",
    "     bitnet data dedup FILES --stage signatures --share I/N -o OUT [these options]",
    `   and copy OUT.work/signatures/ to ${at}/signatures/ (a file's name tells its source and block: none collide).`,
    ...(exact
      ? [
          "2. Run the first part (--print-plan --stage candidates), and on each machine, with candidates/ copied to",
          "   OUT.work/tables/candidates/:",
          "     bitnet data dedup FILES --stage shingles --share I/N -o OUT [these options]",
          `   copy OUT.work/shingles/ to ${at}/shingles/, and run the second part (--print-plan --stage clusters).`,
        ]
      : ["2. Run this script."]),
    `3. Copy ${at}/decisions/ to OUT.work/tables/decisions/ on each machine, and there:`,
    "     bitnet data dedup FILES --stage write --share I/N -o OUT [these options]",
    "",
    ...intro(at).filter((line) => !line.endsWith(";")),
  ]);
  const parts = [preface, ...intro(at).filter((line) => line.endsWith(";")), open("signatures", at)];
  if (part !== "clusters") parts.push(...plan.candidates.map(step));
  if (part === "candidates") return `${parts.join("\n\n")}\n`;
  if (exact && part !== "clusters")
    parts.push("-- ==== Second part: needs the shingles of the candidates' documents ====");
  if (part === "clusters")
    parts.push(...["exact_drops", ...(options.near ? ["candidates"] : [])].map((name) => open(name, at)));
  if (exact) parts.push(open("shingles", at));
  parts.push(...plan.edges.map(step));
  if (options.near) {
    for (let round = 0; round <= rounds; round++) parts.push(step(plan.labels(round)));
    parts.push(`-- must say 0; if it does not, print the plan with more rounds (--rounds)\n${plan.changed(rounds)};`);
  }
  parts.push(...plan.decisions(rounds).map(step));
  return `${parts.join("\n\n")}\n`;
}
