/**
 * Parquet files as documents, one row group at a time: only the columns that are mapped are read and decompressed
 * (Snappy, Zstd, Gzip, Brotli, LZ4), so memory holds those of one row group, whatever the size of the file. The library
 * runs on a thread that can be ended (parquet-file.ts).
 */
import { DataError } from "../platform/errors.ts";
import { describePath } from "../platform/files.ts";
import { ParquetFile } from "./parquet-file.ts";
import type { DocumentOrReason } from "./parquet-thread.ts";
import type { TextDocument } from "./records.ts";
import { columnsFor, type RowFileOptions } from "./rows.ts";

/** Row groups in one file that may end the library's thread; then the rest of the file is given up. */
const maxLostGroups = 3;

/**
 * The documents of a Parquet file, in groups.
 *
 * A damaged file, a missing column, a row group that cannot be decoded (in time, in memory), a row without text, a text that
 * is not UTF-8 or over the limit: told to `bad`, with the file and the row (from 1).
 */
export async function* readParquet(path: string, options: RowFileOptions): AsyncGenerator<TextDocument[]> {
  const { fields, maxDocumentBytes, onRead, bad } = options;
  const { sizeBytes } = describePath(path);
  let told = 0;
  let file: ParquetFile | null = null;
  try {
    let columns: string[];
    try {
      file = await ParquetFile.open(path);
      columns = columnsFor(fields, file.facts.columns, path);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      return bad(error, Math.max(1, file?.facts.rows ?? 1));
    }
    const { rows, groups } = file.facts;
    let lost = 0;
    for (const [i, group] of groups.entries()) {
      const documents: TextDocument[] = [];
      let found: DocumentOrReason[] = [];
      try {
        if (lost >= maxLostGroups)
          throw new DataError(
            `${path}: rows ${file.firstRow(i)} to ${rows}: given up, after ${lost} parts that are damaged`,
          );
        found = await file.documents(i, columns, { fields, maxDocumentBytes });
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        if (++lost > maxLostGroups) return bad(error, rows - file.firstRow(i) + 1);
        bad(error, group.rows);
      }
      for (const one of found) {
        if ("reason" in one) bad(new DataError(one.reason));
        else documents.push(one);
      }
      yield documents;
      const share = rows > 0 ? Math.floor((sizeBytes * (file.firstRow(i) - 1 + group.rows)) / rows) : 0;
      onRead?.(share - told);
      told = share;
    }
    if (rows === 0) bad(new DataError(`${path}: has no rows; expected text`));
  } finally {
    await file?.close();
  }
  onRead?.(sizeBytes - told);
}
