/**
 * DuckDB inside this process: runs the plan's SQL over Parquet files in bounded memory, spilling to a folder. The package
 * @duckdb/node-api (70 MB of native library) is an optional dependency, loaded when the first query is.
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { DataError, FileError, UnsupportedError, UsageError } from "../../platform/errors.ts";
import { exists, joinPath, listFolder, makeFolder, movePath, removePath } from "../../platform/files.ts";
import type { PlanStep } from "./plan.ts";

export interface EngineOptions {
  /** Bound of DuckDB's own memory, as DuckDB writes it: "1GB". */
  memory: string;
  threads: number;
  /** Where it puts what does not fit. */
  spillFolder: string;
  signal?: AbortSignal;
}

export type Row = Record<string, unknown>;

export interface SqlEngine {
  run(sql: string): Promise<void>;
  rows(sql: string): Promise<Row[]>;
  /** Rows as they come, some thousand at once. */
  stream(sql: string): AsyncGenerator<Row>;
  close(): void;
}

/** A string in SQL. */
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The name of a table that a query reads, over the Parquet files of a folder or one file. */
export const parquetView = (name: string, pattern: string): string =>
  `CREATE OR REPLACE VIEW ${name} AS SELECT * FROM read_parquet(${quoted(pattern)})`;

async function loadDuckDb(): Promise<typeof import("@duckdb/node-api")> {
  try {
    return await import("@duckdb/node-api");
  } catch (cause) {
    throw new UnsupportedError(
      `deduplication needs DuckDB, which does not load here (${(cause as Error).message.split("\n")[0]}); ` +
        "npm install @duckdb/node-api, or run the plan on another engine (--print-plan)",
      { cause },
    );
  }
}

/** @throws UnsupportedError without DuckDB; UsageError for a memory limit that it does not understand */
export async function openEngine({ memory, threads, spillFolder, signal }: EngineOptions): Promise<SqlEngine> {
  if (!/^\d+(\.\d+)? ?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$/i.test(memory))
    throw new UsageError(`the memory limit is "${memory}"; expected a size such as 1GB or 800MB`);
  signal?.throwIfAborted();
  const { DuckDBInstance } = await loadDuckDb();
  makeFolder(spillFolder);
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: memory,
    threads: String(Math.max(1, threads)),
    temp_directory: spillFolder,
    preserve_insertion_order: "false",
    // Nothing is fetched: no extension is needed.
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
  });
  const connection: DuckDBConnection = await instance.connect();
  const onAbort = () => connection.interrupt();
  signal?.addEventListener("abort", onAbort);
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (cause) {
      throw signal?.aborted ? signal.reason : explain(cause, { memory, spillFolder });
    }
  };
  return {
    run: (sql) => guard(async () => void (await connection.run(sql))),
    rows: (sql) => guard(async () => plain(await (await connection.run(sql)).getRowObjectsJS())),
    async *stream(sql) {
      const result = await guard(() => connection.stream(sql));
      const chunks = result.yieldRowObjectJs();
      for (;;) {
        const next = await guard(() => chunks.next());
        if (next.done) return;
        yield* plain(next.value);
      }
    },
    close() {
      signal?.removeEventListener("abort", onAbort);
      connection.closeSync();
      instance.closeSync();
    },
  };
}

/** BIGINTs as numbers: documents, counts and sources are below 2^53. */
function plain(rows: Row[]): Row[] {
  for (const row of rows) for (const key in row) if (typeof row[key] === "bigint") row[key] = Number(row[key]);
  return rows;
}

function explain(cause: unknown, { memory, spillFolder }: { memory: string; spillFolder: string }): unknown {
  const message = (cause as Error)?.message ?? String(cause);
  const first = message.split("\n")[0];
  if (/no space left|disk quota|max_temp_directory_size/i.test(message))
    return new FileError(`${spillFolder}: the disk is full; free some space and run it again (DuckDB: ${first})`, {
      cause,
    });
  if (/^out of memory/i.test(message))
    return new DataError(`DuckDB needs more memory than the limit of ${memory}; raise --memory (DuckDB: ${first})`, {
      cause,
    });
  if (/^(IO Error|Invalid Input Error)/.test(message))
    return new DataError(`DuckDB cannot read or write a file (${first}); remove the damaged file and run it again`, {
      cause,
    });
  return cause;
}

/**
 * Runs a step unless its table is there already; afterwards the name can be read. A table is a Parquet file that gets its
 * name when it is whole; folders of that name with Parquet files in them, which another engine wrote, count too.
 *
 * @returns false if there was nothing to do
 */
export async function runStep(engine: SqlEngine, step: PlanStep, folder: string): Promise<boolean> {
  if (step.kind === "view") {
    await engine.run(`CREATE OR REPLACE VIEW ${step.name} AS ${step.select}`);
    return true;
  }
  const found = tableFiles(folder, step.name);
  if (found) {
    await engine.run(parquetView(step.name, found));
    return false;
  }
  const path = joinPath(folder, `${step.name}.parquet`);
  const temporary = `${path}.tmp`;
  removePath(temporary);
  await engine.run(`COPY (${step.select}) TO ${quoted(temporary)} (FORMAT PARQUET)`);
  movePath(temporary, path);
  await engine.run(parquetView(step.name, path));
  return true;
}

/** The path or pattern of a table's files in a folder; undefined if it is not there. */
export function tableFiles(folder: string, name: string): string | undefined {
  const file = joinPath(folder, `${name}.parquet`);
  if (exists(file)) return file;
  const parts = joinPath(folder, name);
  if (exists(parts) && listFolder(parts).some((part) => part.endsWith(".parquet"))) return joinPath(parts, "*.parquet");
  return undefined;
}
