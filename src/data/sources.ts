/**
 * Text files as documents: .txt and .md, .jsonl and .ndjson, WikiText's .raw and .tokens, each also gzipped (.gz). A
 * document is one string. Files are read in pieces, so memory holds one document, not a corpus. Knows nothing of tokens.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { describePath, joinPath, listFolder } from "../platform/files.ts";
import { decodePiece, readPieces } from "./pieces.ts";
import { readPages } from "./wikitext2.ts";

/** The separator of TinyStories and of GPT-2's training text. */
export const defaultSeparator = "<|endoftext|>";

/**
 * One document in memory: 64 MiB. Text without separators beyond that is most likely a wrong separator, and a string of
 * V8 ends at 512 MiB.
 */
export const defaultMaxDocumentBytes = 64 * 2 ** 20;

export type SourceFormat = "text" | "jsonl" | "wikitext";

export interface SourceOptions {
  /**
   * What stands between the documents of a text file: a string (default `<|endoftext|>`), or one of the names
   * "blank-line" (one or more lines with nothing but spaces), "line" (each line is a document), "none" (each file is one
   * document). A file in which the separator does not occur is one document. Newlines at both ends of a document are
   * removed; a document of nothing but white space is left out.
   */
  separator?: string;
  /** The key that holds the text in each line of a .jsonl file (default "text"). Nothing is trimmed. */
  field?: string;
  /** Limit for one document, in bytes of UTF-8 (default 64 MiB). */
  maxDocumentBytes?: number;
  /** What the files are, where their names do not tell. */
  format?: SourceFormat;
  /** Hears of bytes taken from the disk, before decompression. */
  onRead?: (bytes: number) => void;
}

const formatOfEnding: Record<string, SourceFormat> = {
  ".txt": "text",
  ".text": "text",
  ".md": "text",
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".raw": "wikitext",
  ".tokens": "wikitext",
};

/** The format that a file's name tells, or undefined. */
export function formatOfName(path: string): SourceFormat | undefined {
  const match = /(\.[a-z]+)(\.gz)?$/.exec(path.toLowerCase());
  return match ? formatOfEnding[match[1]] : undefined;
}

/**
 * Files as given, and for each folder the files in it (and below) whose names tell a known format, sorted by name.
 *
 * @throws FileError for a missing path, UsageError for an unknown kind of file, DataError for a folder without any
 */
export function expandSources(paths: readonly string[], format?: SourceFormat): string[] {
  const filesBelow = (folder: string): string[] =>
    listFolder(folder).flatMap((name) => {
      const path = joinPath(folder, name);
      if (describePath(path).kind === "folder") return filesBelow(path);
      return formatOfName(path) ? [path] : [];
    });
  const endings = Object.keys(formatOfEnding).join(", ");
  return paths.flatMap((path) => {
    if (describePath(path).kind === "folder") {
      const files = filesBelow(path);
      if (files.length === 0)
        throw new DataError(`${path}: no file in this folder ends in ${endings} (or those with .gz)`);
      return files;
    }
    if (!format && !formatOfName(path))
      throw new UsageError(
        `${path}: unknown kind of file; names end in ${endings} (or those with .gz), or say what it is with the format option (text, jsonl or wikitext)`,
      );
    return [path];
  });
}

/**
 * The documents of files and folders, in order.
 *
 * @throws DataError naming file and byte or line: an empty file, invalid UTF-8, a cut gzip, a line that is not JSON or
 *   has no text field, a document over the limit, a file in which no document is left
 */
export async function* readDocuments(
  paths: string | readonly string[],
  options: SourceOptions = {},
): AsyncGenerator<string> {
  for (const path of expandSources(typeof paths === "string" ? [paths] : paths, options.format)) {
    const format = options.format ?? formatOfName(path)!;
    const documents =
      format === "jsonl"
        ? readJsonLines(path, options)
        : format === "wikitext"
          ? readPages(path, options)
          : readText(path, options);
    let count = 0;
    for await (const group of documents)
      for (const document of group) {
        if (isBlank(document)) continue;
        count++;
        yield document;
      }
    if (count === 0) throw new DataError(`${path}: holds no document, only separators and white space; expected text`);
  }
}

const trimNewlines = (text: string): string => text.replace(/^[\r\n]+/, "").replace(/[\r\n]+$/, "");
const isBlank = (text: string): boolean => !/\S/.test(text);

async function* readText(path: string, options: SourceOptions): AsyncGenerator<string[]> {
  const { separator = defaultSeparator, maxDocumentBytes = defaultMaxDocumentBytes, onRead } = options;
  if (separator === "") throw new UsageError('the separator is empty; name a string, "blank-line", "line" or "none"');
  if (separator === "blank-line") {
    yield* readParagraphs(path, options);
    return;
  }
  const delimiter = separator === "line" ? "\n" : separator === "none" ? undefined : separator;
  const hint =
    delimiter === undefined
      ? "give the text a separator, or raise the limit"
      : `is ${JSON.stringify(delimiter)} the right separator? Name another one, or raise the limit`;
  const pieces = readPieces(path, {
    delimiter: delimiter === undefined ? undefined : new TextEncoder().encode(delimiter),
    noun: "document",
    maxPieceBytes: maxDocumentBytes,
    hint,
    onRead,
  });
  for await (const group of pieces) {
    const documents: string[] = [];
    for (const piece of group) {
      documents.push(trimNewlines(decodePiece(piece, path, `document ${piece.index + 1}`)));
    }
    yield documents;
  }
}

async function* readParagraphs(path: string, options: SourceOptions): AsyncGenerator<string[]> {
  const { maxDocumentBytes = defaultMaxDocumentBytes, onRead } = options;
  let lines: string[] = [];
  let length = 0;
  let number = 1;
  const pieces = readPieces(path, {
    delimiter: Uint8Array.of(10),
    noun: "line",
    maxPieceBytes: maxDocumentBytes,
    hint: "is the file text? Else raise the limit",
    onRead,
  });
  for await (const group of pieces) {
    const documents: string[] = [];
    for (const piece of group) {
      const line = decodePiece(piece, path, `line ${piece.index + 1}`);
      if (!isBlank(line)) {
        lines.push(line);
        length += piece.bytes.length + 1;
        if (length > maxDocumentBytes + 1)
          throw new DataError(
            `${path}: document ${number} (to line ${piece.index + 1}) is over the limit of ${maxDocumentBytes} bytes; are blank lines the right separator? Name another one, or raise the limit`,
          );
      } else if (lines.length > 0) {
        documents.push(trimNewlines(lines.join("\n")));
        number++;
        lines = [];
        length = 0;
      }
    }
    yield documents;
  }
  if (lines.length > 0) yield [trimNewlines(lines.join("\n"))];
}

async function* readJsonLines(path: string, options: SourceOptions): AsyncGenerator<string[]> {
  const { field = "text", maxDocumentBytes = defaultMaxDocumentBytes, onRead } = options;
  const pieces = readPieces(path, {
    delimiter: Uint8Array.of(10),
    noun: "line",
    maxPieceBytes: maxDocumentBytes,
    hint: "is it one JSON object a line? Else raise the limit",
    onRead,
  });
  for await (const group of pieces) {
    const documents: string[] = [];
    for (const piece of group) {
      const where = `line ${piece.index + 1}`;
      const line = decodePiece(piece, path, where);
      if (isBlank(line)) continue;
      documents.push(textField(line, field, path, where));
    }
    yield documents;
  }
}

function textField(line: string, field: string, path: string, where: string): string {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new DataError(`${path}: ${where}: is not JSON (${reason}); expected one JSON object a line`, { cause });
  }
  if (typeof row !== "object" || row === null || Array.isArray(row))
    throw new DataError(`${path}: ${where}: expected a JSON object with the field "${field}", found ${kindOf(row)}`);
  const text = (row as Record<string, unknown>)[field];
  if (!Object.hasOwn(row, field)) {
    const keys = Object.keys(row).slice(0, 12).join(", ");
    throw new DataError(`${path}: ${where}: has no field "${field}"; its fields are: ${keys || "none"}`);
  }
  if (typeof text !== "string")
    throw new DataError(`${path}: ${where}: field "${field}" is ${kindOf(text)}; expected a string`);
  // JSON may escape half a character (\ud83d alone), which no UTF-8 can hold.
  if (/\p{Surrogate}/u.test(text))
    throw new DataError(
      `${path}: ${where}: field "${field}" holds half of a surrogate pair; expected whole characters`,
    );
  return text;
}

const kindOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "an array"
      : typeof value === "object"
        ? "an object"
        : `a ${typeof value}`;
