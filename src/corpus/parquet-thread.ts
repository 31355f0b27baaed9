/**
 * The Parquet library on a thread of its own (parquet-file.ts talks to it). A damaged file can send the library into a loop
 * without end, past all memory, or into an error that nobody awaits: on this thread each of them ends the thread alone.
 * Only here are the library and its decompressors loaded.
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
import { openFile, type ReadableFile } from "../platform/files.ts";
import type { Service } from "../platform/service-worker.ts";
import { type FieldMap, rowReader, type TextDocument } from "./records.ts";
import { checkLength, libraryWords, stringFromBytes } from "./rows.ts";

export const threadUrl = import.meta.url;

/** What rows become: documents, or stay plain values. */
export interface DocumentFields {
  fields: FieldMap;
  maxDocumentBytes: number;
}

export type ToParquet =
  | { id: number; type: "open" }
  | { id: number; type: "documents"; group: number; columns: string[]; as: DocumentFields }
  | { id: number; type: "rows"; group: number };

export interface ParquetFacts {
  columns: string[];
  rows: number;
  /** Of each row group. */
  groups: { rows: number }[];
}
/** A row as a document, or why it is none. */
export type DocumentOrReason = TextDocument | { reason: string };
export type FromParquet =
  | { id: number; value: ParquetFacts | DocumentOrReason[] | Record<string, unknown>[] }
  | { id: number; failed: string; file: boolean };

/** What a page may become, beside what it is: Snappy makes 22 bytes of one at most, Zstandard and Gzip some thousand. */
const maxRatio = 1100;
const freePageBytes = 64 * 2 ** 20;

export function createService(path: string, post: (message: FromParquet) => void): Service<ToParquet> {
  let file: ReadableFile | undefined;
  let metadata: FileMetaData | undefined;
  /** Row at which each group begins, from 0, and the end. */
  const starts = [0];
  const buffer = (): AsyncBuffer => {
    file ??= openFile(path);
    const { sizeBytes } = file;
    return {
      byteLength: sizeBytes,
      slice(start, end = sizeBytes) {
        if (!(start >= 0 && end >= start && end <= sizeBytes))
          throw new Error(`a part of it is at bytes ${start} to ${end}, but the file has ${sizeBytes}`);
        const bytes = new Uint8Array(end - start);
        file!.read(start, bytes);
        return bytes.buffer;
      },
    };
  };
  const answer = async (message: ToParquet): Promise<Extract<FromParquet, { value: unknown }>["value"]> => {
    if (message.type === "open") {
      metadata = await parquetMetadataAsync(buffer());
      const rows = count(metadata.num_rows, "its number of rows");
      const groups = metadata.row_groups.map(({ num_rows }, i) => ({
        rows: count(num_rows, `the number of rows of row group ${i}`),
      }));
      if (groups.reduce((sum, group) => sum + group.rows, 0) !== rows)
        throw new Error(`its row groups do not have the ${rows} rows that it claims`);
      starts.length = 1;
      for (const { rows: more } of groups) starts.push(starts[starts.length - 1] + more);
      return { columns: parquetSchema(metadata).children.map(({ element }) => element.name), rows, groups };
    }
    const [rowStart, rowEnd] = [starts[message.group], starts[message.group + 1]];
    const documents = message.type === "documents" ? message : null;
    const rows = await parquetReadObjects({
      file: buffer(),
      metadata,
      compressors: limited,
      rowStart,
      rowEnd,
      ...(documents ? { columns: documents.columns, parsers: { stringFromBytes: textOrInvalid } } : {}),
    });
    if (rows.length !== rowEnd - rowStart) throw new Error(`${rows.length} of ${rowEnd - rowStart} rows came`);
    if (!documents) return rows;
    const read = rowReader(documents.as.fields, path);
    return rows.map((row, i) => {
      try {
        const document = read(row, `row ${rowStart + i + 1}`);
        checkLength(document, documents.as.maxDocumentBytes);
        return document;
      } catch (error) {
        if (error instanceof DataError) return { reason: error.message };
        throw error;
      }
    });
  };
  return {
    receive(message) {
      answer(message).then(
        (value) => post({ id: message.id, value }),
        (cause) =>
          post({
            id: message.id,
            failed: cause instanceof FileError ? cause.message : libraryWords(cause, path),
            file: cause instanceof FileError,
          }),
      );
    },
  };
}

function count(value: unknown, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`${what} is ${value}`);
  return number;
}

/** The library asks for text of whatever a column marked as text holds, numbers too. */
const textOrInvalid = (bytes: Uint8Array | undefined) => {
  if (bytes !== undefined && !(bytes instanceof Uint8Array))
    throw new Error("a column is marked as text, but holds no text");
  return stringFromBytes(bytes);
};

const limited = Object.fromEntries(
  Object.entries(compressors).map(([name, decompress]) => [
    name,
    (input: Uint8Array, outputLength: number) => {
      if (!(outputLength >= 0 && outputLength <= freePageBytes + maxRatio * input.length))
        throw new Error(`a page of ${input.length} bytes claims to hold ${outputLength}`);
      return decompress!(input, outputLength);
    },
  ]),
);
