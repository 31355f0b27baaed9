/**
 * What readers of files with columns (parquet.ts, arrow.ts) share: which columns a mapping needs, text from bytes, and the
 * limit on a document. Knows no format.
 */
import { DataError } from "../platform/errors.ts";
import { firstInvalidByte } from "./pieces.ts";
import { type BadRecordHandler, type FieldMap, fieldsOf, InvalidText, type TextDocument } from "./records.ts";

export interface RowFileOptions {
  fields: FieldMap;
  maxDocumentBytes: number;
  onRead?: (bytes: number) => void;
  bad: BadRecordHandler;
}

/** The columns that a mapping needs, of those that are there. @throws DataError naming the missing ones */
export function columnsFor(map: FieldMap, columns: readonly string[], path: string): string[] {
  const { required, optional } = fieldsOf(map);
  const columnOf = (field: string) =>
    columns.find((name) => name === field) ?? columns.find((name) => field.startsWith(`${name}.`));
  const fields = [...required, ...optional];
  const missing = fields.filter((field) => columnOf(field) === undefined);
  if (missing.length > 0) {
    const names = missing.map((name) => `"${name}"`).join(", ");
    const shown = columns.slice(0, 20).join(", ") + (columns.length > 20 ? ", ..." : "");
    throw new DataError(`${path}: row 1: has no column ${names}; its columns are: ${shown || "none"}`);
  }
  return [...new Set(fields.map((field) => columnOf(field)!))];
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Libraries would put U+FFFD where bytes are wrong, and say nothing. */
export function stringFromBytes(bytes: Uint8Array | undefined): string | InvalidText | undefined {
  if (!bytes) return undefined;
  try {
    return decoder.decode(bytes);
  } catch {
    const at = firstInvalidByte(bytes);
    return new InvalidText(`is not valid UTF-8 at byte ${at} of it (0x${bytes[at].toString(16).padStart(2, "0")})`);
  }
}

/** @throws DataError for a text over the limit (code units times three is the most that its UTF-8 can have) */
export function checkLength({ text, file, place }: TextDocument, maxBytes: number): void {
  if (text.length * 3 <= maxBytes) return;
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > maxBytes)
    throw new DataError(
      `${file}: ${place}: its text has ${bytes} bytes, over the limit of ${maxBytes}; raise the limit`,
    );
}
