/**
 * Files as documents: .txt and .md, .jsonl and .ndjson, WikiText's .raw and .tokens (each also .gz and .zst), .parquet, .arrow;
 * on this disk, behind an address, or on the Hugging Face hub. Files are read in pieces, so memory holds a document,
 * a row group, not a corpus. Knows nothing of tokens.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { decodePiece, type Piece, type PieceOptions, readPieces, type Tap } from "./pieces.ts";
import {
  type BadRecordHandler,
  type BadRecordPolicy,
  badRecordHandler,
  createSourceReport,
  type FieldMap,
  kindOf,
  type Row,
  rowReader,
  type SourceReport,
  type TextDocument,
} from "./records.ts";
import { type LocateOptions, locateSources, type SourceFile, type SourceFormat } from "./source-files.ts";
import { readPages } from "./wikitext2.ts";

export { expandSources, type SourceFormat } from "./source-files.ts";

/** The separator of TinyStories and of GPT-2's training text. */
export const defaultSeparator = "<|endoftext|>";

/**
 * One document in memory: 64 MiB. Text without separators beyond that is most likely a wrong separator, and a string of
 * V8 ends at 512 MiB.
 */
export const defaultMaxDocumentBytes = 64 * 2 ** 20;

export interface SourceOptions {
  /**
   * What stands between the documents of a text file: a string (default `<|endoftext|>`), or one of the names
   * "blank-line" (one or more lines with nothing but spaces), "line" (each line is a document), "none" (each file is one
   * document). A file in which the separator does not occur is one document. Newlines at both ends of a document are
   * removed; a document of nothing but white space is left out.
   */
  separator?: string;
  /** The field with the text in .jsonl, .parquet and .arrow files (default "text"). Nothing is trimmed. */
  field?: string;
  /** Or: what all fields mean, and several for the text. */
  fields?: FieldMap;
  /** Limit for one document, in bytes of UTF-8 (default 64 MiB). */
  maxDocumentBytes?: number;
  /** What the files are, where their names do not tell. */
  format?: SourceFormat;
  /** What to do about a record that cannot be read (default "fail"). */
  onBadRecord?: BadRecordPolicy;
  /** Filled while documents are read: how many, and which records were bad. */
  report?: SourceReport;
  /** For what is far away: cache, token, a copy on this disk. */
  remote?: Omit<LocateOptions, "format">;
  /** Hears of bytes taken from the disk, before decompression. */
  onRead?: (bytes: number) => void;
  /** Gets the bytes themselves, of files that are read from beginning to end (isReadInOrder). */
  tap?: Tap;
}

/**
 * The documents of files, folders, globs, addresses and data sets of the hub, in order.
 *
 * @throws DataError naming file and byte, line or row: an empty file, invalid UTF-8, a cut archive, a line that is not JSON
 *   or has no text field, a missing column, a document over the limit, a file in which no document is left; with
 *   onBadRecord "skip" these are counted in the report instead
 */
export async function* readDocuments(
  paths: string | readonly string[],
  options: SourceOptions = {},
): AsyncGenerator<string> {
  for await (const { text } of readTextDocuments(paths, options)) yield text;
}

/** As readDocuments, with what is known of each document. */
export async function* readTextDocuments(
  paths: string | readonly string[],
  options: SourceOptions = {},
): AsyncGenerator<TextDocument> {
  const located = { ...options.remote, format: options.format };
  const files = await locateSources(typeof paths === "string" ? [paths] : paths, located);
  for (const file of files) yield* readSourceFile(file, options);
}

/** Whether a format is read from beginning to end: tables are read at any place. */
export const isReadInOrder = (format: SourceFormat): boolean => format !== "parquet" && format !== "arrow";

/** The documents of one file that locateSources found; downloads it if need be. */
export async function* readSourceFile(file: SourceFile, options: SourceOptions = {}): AsyncGenerator<TextDocument> {
  const { onBadRecord = "fail", report = createSourceReport() } = options;
  const path = await file.open();
  const bad = badRecordHandler(path, file.name, onBadRecord, report);
  const before = report.bad;
  let count = 0;
  report.files++;
  for await (const group of readGroups(path, file.format, options, bad))
    for (const document of group) {
      if (isBlank(document.text)) {
        report.blank++;
        continue;
      }
      count++;
      report.documents++;
      report.characters += document.text.length;
      document.file = file.name;
      yield document;
    }
  if (count === 0 && report.bad === before)
    bad(new DataError(`${path}: holds no document, only separators and white space; expected text`));
}

async function* readGroups(
  path: string,
  format: SourceFormat,
  options: SourceOptions,
  bad: BadRecordHandler,
): AsyncGenerator<TextDocument[]> {
  const { maxDocumentBytes = defaultMaxDocumentBytes, onRead, tap } = options;
  const fields: FieldMap = { text: options.field, ...options.fields };
  const rows = { fields, maxDocumentBytes, onRead, bad };
  const pieces = { maxPieceBytes: maxDocumentBytes, onRead, tap, onBad: bad };
  // Readers of rows bring libraries with them: loaded where they are needed.
  if (format === "parquet") yield* (await import("./parquet.ts")).readParquet(path, rows);
  else if (format === "arrow") yield* (await import("./arrow.ts")).readArrow(path, rows);
  else if (format === "jsonl") yield* readJsonLines(path, fields, pieces, bad);
  else if (format === "text")
    yield* withPlaces(readText(path, options.separator ?? defaultSeparator, pieces, bad), path, "document");
  else yield* withPlaces(readPages(path, { maxDocumentBytes, onRead, tap, onBad: bad }), path, "page");
}

/** Texts that have no fields, told where they stand; texts that could not be read are null, and count. */
async function* withPlaces(
  texts: AsyncGenerator<(string | null)[]>,
  path: string,
  noun: string,
): AsyncGenerator<TextDocument[]> {
  let number = 0;
  for await (const group of texts) {
    const documents: TextDocument[] = [];
    for (const text of group) {
      number++;
      const known = { id: null, language: null, score: null, source: null };
      if (text !== null) documents.push({ text, ...known, file: path, place: `${noun} ${number}` });
    }
    yield documents;
  }
}

type Pieces = Pick<PieceOptions, "maxPieceBytes" | "onRead" | "tap" | "onBad">;

const trimNewlines = (text: string): string => text.replace(/^[\r\n]+/, "").replace(/[\r\n]+$/, "");
const isBlank = (text: string): boolean => !/\S/.test(text);

/** A piece's text; null where it is bad. */
function tryDecode(piece: Piece, path: string, where: string, bad: BadRecordHandler): string | null {
  try {
    return decodePiece(piece, path, where);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    bad(error);
    return null;
  }
}

async function* readText(
  path: string,
  separator: string,
  options: Pieces,
  bad: BadRecordHandler,
): AsyncGenerator<(string | null)[]> {
  if (separator === "") throw new UsageError('the separator is empty; name a string, "blank-line", "line" or "none"');
  if (separator === "blank-line") {
    yield* readParagraphs(path, options, bad);
    return;
  }
  const delimiter = separator === "line" ? "\n" : separator === "none" ? undefined : separator;
  const hint =
    delimiter === undefined
      ? "give the text a separator, or raise the limit"
      : `is ${JSON.stringify(delimiter)} the right separator? Name another one, or raise the limit`;
  const pieces = readPieces(path, {
    ...options,
    delimiter: delimiter === undefined ? undefined : new TextEncoder().encode(delimiter),
    noun: "document",
    hint,
  });
  for await (const group of pieces)
    yield group.map((piece) => {
      const text = tryDecode(piece, path, `document ${piece.index + 1}`, bad);
      return text === null ? null : trimNewlines(text);
    });
}

async function* readParagraphs(
  path: string,
  options: Pieces,
  bad: BadRecordHandler,
): AsyncGenerator<(string | null)[]> {
  const { maxPieceBytes } = options;
  let lines: string[] = [];
  let length = 0;
  let number = 1;
  /** The paragraph has a line that cannot be read, or is over the limit. */
  let spoilt = false;
  const pieces = readPieces(path, {
    ...options,
    delimiter: Uint8Array.of(10),
    noun: "line",
    hint: "is the file text? Else raise the limit",
  });
  for await (const group of pieces) {
    const documents: (string | null)[] = [];
    for (const piece of group) {
      const line = tryDecode(piece, path, `line ${piece.index + 1}`, bad);
      if (line === null) {
        spoilt = true;
        lines = [];
      } else if (!isBlank(line)) {
        length += piece.bytes.length + 1;
        if (spoilt) continue;
        lines.push(line);
        if (length <= maxPieceBytes + 1) continue;
        spoilt = true;
        lines = [];
        bad(
          new DataError(
            `${path}: document ${number} (to line ${piece.index + 1}) is over the limit of ${maxPieceBytes} bytes; are blank lines the right separator? Name another one, or raise the limit`,
          ),
        );
      } else if (lines.length > 0 || spoilt) {
        documents.push(spoilt ? null : trimNewlines(lines.join("\n")));
        number++;
        lines = [];
        length = 0;
        spoilt = false;
      }
    }
    yield documents;
  }
  if (lines.length > 0) yield [trimNewlines(lines.join("\n"))];
}

async function* readJsonLines(
  path: string,
  fields: FieldMap,
  options: Pieces,
  bad: BadRecordHandler,
): AsyncGenerator<TextDocument[]> {
  const read = rowReader(fields, path);
  const pieces = readPieces(path, {
    ...options,
    delimiter: Uint8Array.of(10),
    noun: "line",
    hint: "is it one JSON object a line? Else raise the limit",
  });
  for await (const group of pieces) {
    const documents: TextDocument[] = [];
    for (const piece of group) {
      const where = `line ${piece.index + 1}`;
      try {
        const line = decodePiece(piece, path, where);
        if (!isBlank(line)) documents.push(read(parseRow(line, fields, path, where), where));
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        bad(error);
      }
    }
    yield documents;
  }
}

function parseRow(line: string, { text }: FieldMap, path: string, where: string): Row {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new DataError(`${path}: ${where}: is not JSON (${reason}); expected one JSON object a line`, { cause });
  }
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    const field = typeof text === "string" ? text : (text?.[0] ?? "text");
    throw new DataError(`${path}: ${where}: expected a JSON object with the field "${field}", found ${kindOf(row)}`);
  }
  return row as Row;
}
