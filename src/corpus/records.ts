/**
 * One text with what is known of it, how rows of JSON, Parquet and Arrow become one (field mapping), and what happens to a
 * record that cannot be read (fail, or skip and count). Knows no file format; sources.ts and its readers use it.
 */
import { DataError, UsageError } from "../platform/errors.ts";

export interface TextDocument {
  text: string;
  id: string | null;
  /** As the source says it: "en". */
  language: string | null;
  score: number | null;
  /** What the record says about its origin ("wikipedia"), not the file. */
  source: string | null;
  /** The file (or address) it stands in. */
  file: string;
  /** Where in the file, counted from 1: "line 3", "row 3", "document 3". */
  place: string;
}

/** Which fields of a row mean what. A dot goes into an object: "meta.language", where no field has that whole name. */
export interface FieldMap {
  /** Several are joined in this order; absent ones and empty ones among several are left out (default "text"). */
  text?: string | readonly string[];
  /** Between several text fields (default a blank line). */
  join?: string;
  id?: string;
  language?: string;
  score?: string;
  source?: string;
}

export const badRecordPolicies = ["fail", "skip"] as const;
/** fail: the first bad record ends the work. skip: it is counted, named, and passed over. */
export type BadRecordPolicy = (typeof badRecordPolicies)[number];

export interface BadRecord {
  file: string;
  /** What is wrong and where, as the error would say it. */
  reason: string;
  /** Records lost: 1, or all rows of a part that cannot be read. */
  records: number;
}

/** What reading came to: filled while documents are read. */
export interface SourceReport {
  files: number;
  documents: number;
  /** UTF-16 code units of the documents' text. */
  characters: number;
  /** Documents of nothing but white space, which are left out. */
  blank: number;
  /** Records that were passed over. */
  bad: number;
  /** The first of them. */
  badRecords: BadRecord[];
}

export const createSourceReport = (): SourceReport => ({
  files: 0,
  documents: 0,
  characters: 0,
  blank: 0,
  bad: 0,
  badRecords: [],
});

/** As many bad records are named; all are counted. */
export const namedBadRecords = 20;

/** Adds what another reading came to. */
export function addSourceReport(to: SourceReport, from: SourceReport): void {
  for (const key of ["files", "documents", "characters", "blank", "bad"] as const) to[key] += from[key];
  to.badRecords.push(...from.badRecords.slice(0, namedBadRecords - to.badRecords.length));
}

/** Hears of bad records. Throws the error under "fail". */
export type BadRecordHandler = (error: DataError, records?: number) => void;

/** @param name what the file is called in the report; errors name its path on this disk */
export function badRecordHandler(
  path: string,
  name: string,
  policy: BadRecordPolicy,
  report: SourceReport,
): BadRecordHandler {
  return (error, records = 1) => {
    if (policy === "fail") throw error;
    report.bad += records;
    if (report.badRecords.length < namedBadRecords) {
      const reason = error.message.startsWith(`${path}: `) ? error.message.slice(path.length + 2) : error.message;
      report.badRecords.push({ file: name, reason, records });
    }
  };
}

export type Row = Readonly<Record<string, unknown>>;

/** Text that a reader found to be no UTF-8; it stands in the row instead of a string. */
export class InvalidText {
  constructor(readonly reason: string) {}
}

/** The fields that a mapping names, for readers that fetch columns. */
export function fieldsOf(map: FieldMap): { required: string[]; optional: string[] } {
  const text = typeof map.text === "string" ? [map.text] : (map.text ?? ["text"]);
  if (text.length === 0 || text.includes(""))
    throw new UsageError("a field's name is empty; name the field of the text");
  return {
    required: [...text],
    optional: [map.id, map.language, map.score, map.source].filter((f) => f !== undefined),
  };
}

/** A field by its name, or by its path through objects; undefined where there is none. */
function valueAt(row: Row, field: string): unknown {
  if (Object.hasOwn(row, field)) return row[field];
  for (let dot = field.indexOf("."); dot > 0; dot = field.indexOf(".", dot + 1)) {
    const inner = Object.hasOwn(row, field.slice(0, dot)) ? row[field.slice(0, dot)] : undefined;
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) continue;
    const value = valueAt(inner as Row, field.slice(dot + 1));
    if (value !== undefined) return value;
  }
  return undefined;
}

/**
 * Makes the function that turns a row into a document.
 *
 * @returns of a row and its place: the document; throws a DataError naming file, place and field for a text that is
 *   missing or no string, a score that is no number, an id or the like that is neither string nor number
 */
export function rowReader(map: FieldMap, path: string): (row: Row, place: string) => TextDocument {
  const { required } = fieldsOf(map);
  const { join = "\n\n", id, language, score, source } = map;
  return (row, place) => {
    const wrong = (what: string) => new DataError(`${path}: ${place}: ${what}`);
    const textOf = (field: string): string | undefined => {
      const value = valueAt(row, field);
      if (value instanceof InvalidText) throw wrong(`field "${field}" ${value.reason}`);
      if (value === undefined || (value === null && required.length > 1)) return undefined;
      if (typeof value !== "string") throw wrong(`field "${field}" is ${kindOf(value)}; expected a string`);
      // JSON may escape half a character (\ud83d alone), which no UTF-8 can hold.
      if (/\p{Surrogate}/u.test(value))
        throw wrong(`field "${field}" holds half of a surrogate pair; expected whole characters`);
      return value;
    };
    const label = (field: string | undefined): string | null => {
      if (field === undefined) return null;
      const value = valueAt(row, field);
      if (value === undefined || value === null) return null;
      if (typeof value === "string") return value;
      if (typeof value === "number" || typeof value === "bigint") return String(value);
      throw wrong(`field "${field}" is ${kindOf(value)}; expected a string or a number`);
    };
    const parts = required.map(textOf).filter((part) => part !== undefined);
    if (parts.length === 0) {
      const names = required.map((field) => `"${field}"`).join(" or ");
      const keys = Object.keys(row).slice(0, 12).join(", ");
      throw wrong(`has no field ${names}; its fields are: ${keys || "none"}`);
    }
    const text = parts.length === 1 ? parts[0] : parts.filter((part) => part !== "").join(join);
    return {
      text,
      id: label(id),
      language: label(language),
      score: numberAt(row, score, wrong),
      source: label(source),
      file: path,
      place,
    };
  };
}

function numberAt(row: Row, field: string | undefined, wrong: (what: string) => DataError): number | null {
  if (field === undefined) return null;
  const value = valueAt(row, field);
  if (value === undefined || value === null || value === "") return null;
  const number =
    typeof value === "string" || typeof value === "number" || typeof value === "bigint" ? Number(value) : Number.NaN;
  if (!Number.isFinite(number))
    throw wrong(
      `field "${field}" is ${typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : kindOf(value)}; expected a number`,
    );
  return number;
}

export const kindOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "an array"
      : typeof value === "object"
        ? "an object"
        : typeof value === "number" && !Number.isFinite(value)
          ? String(value)
          : `a ${typeof value}`;
