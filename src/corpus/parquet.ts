/**
 * Parquet files as documents, one row group at a time: only the columns that are mapped are read and decompressed
 * (Snappy, Zstd, Gzip, Brotli, LZ4), so memory holds those of one row group, whatever the size of the file.
 */
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { DataError, FileError } from "../platform/errors.ts";
import { openFile } from "../platform/files.ts";
import { rowReader, type TextDocument } from "./records.ts";
import { checkLength, columnsFor, type RowFileOptions, stringFromBytes } from "./rows.ts";

/**
 * The documents of a Parquet file, in groups.
 *
 * A damaged file, a missing column, a row group that cannot be decoded, a row without text, a text that is not UTF-8 or
 * over the limit: told to `bad`, with the file and the row (from 1).
 */
export async function* readParquet(path: string, options: RowFileOptions): AsyncGenerator<TextDocument[]> {
  const { fields, maxDocumentBytes, onRead, bad } = options;
  const file = openFile(path);
  const buffer: AsyncBuffer = {
    byteLength: file.sizeBytes,
    slice(start, end = file.sizeBytes) {
      const bytes = new Uint8Array(Math.max(0, end - start));
      file.read(start, bytes);
      return bytes.buffer;
    },
  };
  const damaged = (where: string, cause: unknown) =>
    new DataError(
      `${path}: ${where}cannot be read as Parquet (${(cause as Error).message.replace(`${path}: `, "")}); is it whole? Fetch it again`,
      { cause },
    );
  let told = 0;
  try {
    let metadata: FileMetaData;
    let columns: string[];
    try {
      metadata = await parquetMetadataAsync(buffer);
      columns = parquetSchema(metadata).children.map(({ element }) => element.name);
    } catch (cause) {
      if (cause instanceof FileError) throw cause;
      return bad(damaged("", cause));
    }
    const rows = Number(metadata.num_rows);
    let wanted: string[];
    try {
      wanted = columnsFor(fields, columns, path);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      return bad(error, Math.max(1, rows));
    }
    const read = rowReader(fields, path);
    let first = 0;
    for (const group of metadata.row_groups) {
      const count = Number(group.num_rows);
      const documents: TextDocument[] = [];
      let values: Record<string, unknown>[];
      try {
        values = await parquetReadObjects({
          file: buffer,
          metadata,
          compressors,
          columns: wanted,
          rowStart: first,
          rowEnd: first + count,
          parsers: { stringFromBytes },
        });
        if (values.length !== count) throw new Error(`${values.length} of ${count} rows came`);
      } catch (cause) {
        if (cause instanceof FileError) throw cause;
        bad(damaged(`rows ${first + 1} to ${first + count}: `, cause), count);
        values = [];
      }
      for (const [i, row] of values.entries()) {
        try {
          const document = read(row, `row ${first + i + 1}`);
          checkLength(document, maxDocumentBytes);
          documents.push(document);
        } catch (error) {
          if (!(error instanceof DataError)) throw error;
          bad(error);
        }
      }
      first += count;
      yield documents;
      const share = rows > 0 ? Math.floor((file.sizeBytes * first) / rows) : 0;
      onRead?.(share - told);
      told = share;
    }
    if (rows === 0) bad(new DataError(`${path}: has no rows; expected text`));
  } finally {
    file.close();
  }
  onRead?.(file.sizeBytes - told);
}
