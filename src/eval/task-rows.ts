/**
 * Rows of a task's file, each with the words for where it stands, and readers of their fields that say what is wrong
 * there. JSON lines (also .gz), Parquet, CSV (StoryCloze). Knows no task.
 */
import { ParquetFile } from "../corpus/parquet-file.ts";
import { showText } from "../platform/show.ts";
import { DataError, FormatError } from "../platform/errors.ts";
import { baseName, readChunks } from "../platform/files.ts";

export interface TaskRow {
  /** "FILE: line 3" or "FILE: row 3", counted from 1. */
  readonly where: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Files of these tasks have at most tens of MiB; a string of V8 ends at 512 MiB. */
const maxTextBytes = 256 * 2 ** 20;

/** Endings that readTaskRows knows. */
export const taskFileEnding = /\.(jsonl|parquet|csv)(\.gz)?$/i;

/**
 * @throws FileError, FormatError for a damaged file, DataError for one without rows or a line that is no JSON object
 */
export async function readTaskRows(path: string): Promise<TaskRow[]> {
  const ending = taskFileEnding.exec(path)?.[1].toLowerCase();
  if (!ending || (ending === "parquet" && path.endsWith(".gz")))
    throw new DataError(`${path}: a task's file ends in .jsonl, .csv (both also .gz) or .parquet`);
  const rows =
    ending === "parquet"
      ? await readParquet(path)
      : ending === "csv"
        ? readCsv(path, await readText(path))
        : readJsonLines(path, await readText(path));
  if (rows.length === 0) throw new DataError(`${path}: holds no rows`);
  return rows;
}

/** A whole text file, decompressed, checked to be UTF-8. */
export async function readText(path: string): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let sizeBytes = 0;
  try {
    for await (const chunk of readChunks(path, { gunzip: path.endsWith(".gz") })) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxTextBytes)
        throw new FormatError(`${path}: is over ${maxTextBytes} bytes; a task's file is smaller`);
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new FormatError(`${path}: is not UTF-8 text; save it as UTF-8`, { cause });
  }
}

function readJsonLines(path: string, text: string): TaskRow[] {
  const rows: TaskRow[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const where = `${path}: line ${i + 1}`;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new DataError(
        `${where}: is not JSON (${showText((cause as Error).message, 120)}); is the file cut short?`,
        { cause },
      );
    }
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new DataError(`${where}: expected a JSON object, got ${JSON.stringify(value).slice(0, 40)}`);
    rows.push({ where, value: value as Record<string, unknown> });
  }
  return rows;
}

async function readParquet(path: string): Promise<TaskRow[]> {
  let file: ParquetFile | null = null;
  try {
    file = await ParquetFile.open(path);
    const rows: TaskRow[] = [];
    for (const i of file.facts.groups.keys())
      for (const row of await file.rows(i))
        rows.push({ where: `${path}: row ${rows.length + 1}`, value: plain(row) as Record<string, unknown> });
    return rows;
  } catch (cause) {
    if (cause instanceof DataError) throw new FormatError(cause.message, { cause });
    throw cause;
  } finally {
    await file?.close();
  }
}

/** 64-bit integers as numbers: labels and years, which are small. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
}

/** RFC 4180: quotes around fields, doubled inside; lines may end in CR LF; the first line names the columns. */
function readCsv(path: string, text: string): TaskRow[] {
  const records: { fields: string[]; line: number }[] = [];
  let fields: string[] = [];
  let field = "";
  let quoted = false;
  let line = 1;
  let startLine = 1;
  const endField = () => {
    fields.push(field);
    field = "";
  };
  const endRecord = () => {
    endField();
    if (fields.length > 1 || fields[0] !== "") records.push({ fields, line: startLine });
    fields = [];
    startLine = line;
  };
  for (let i = text.startsWith("\uFEFF") ? 1 : 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\n") line++;
    if (quoted) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') field += text[i++];
      else quoted = false;
    } else if (c === '"' && field === "") quoted = true;
    else if (c === ",") endField();
    else if (c === "\n") endRecord();
    else if (c !== "\r" || text[i + 1] !== "\n") field += c;
  }
  if (quoted) throw new DataError(`${path}: line ${startLine}: a quoted field does not end; is the file cut short?`);
  if (field !== "" || fields.length > 0) endRecord();
  const [head, ...rest] = records;
  return rest.map((record) => {
    const where = `${path}: line ${record.line}`;
    if (record.fields.length !== head.fields.length)
      throw new DataError(`${where}: has ${record.fields.length} fields, the first line names ${head.fields.length}`);
    return { where, value: Object.fromEntries(head.fields.map((name, i) => [name, record.fields[i]])) };
  });
}

const fieldNames = (row: TaskRow) => Object.keys(row.value).join(", ") || "none";

/** A field that must be there. @throws DataError naming the line, the field, and those that there are */
function anyField(row: TaskRow, name: string): unknown {
  const value = row.value[name];
  if (value === undefined || value === null)
    throw new DataError(`${row.where}: has no field "${name}"; its fields are: ${fieldNames(row)}`);
  return value;
}

/** A text that holds more than white space, as it stands. */
export function textField(row: TaskRow, name: string, { mayBeEmpty = false } = {}): string {
  const value = anyField(row, name);
  if (typeof value !== "string") throw new DataError(`${row.where}: "${name}" is ${show(value)}; expected text`);
  if (!mayBeEmpty && value.trim() === "") throw new DataError(`${row.where}: "${name}" is empty; expected text`);
  return value;
}

/** Texts, at least two, none of them empty. */
export function choicesField(row: TaskRow, name: string, value: unknown = anyField(row, name)): string[] {
  if (!Array.isArray(value) || value.length < 2)
    throw new DataError(`${row.where}: "${name}" is ${show(value)}; expected a list of at least two texts`);
  for (const [i, choice] of value.entries())
    if (typeof choice !== "string" || choice.trim() === "")
      throw new DataError(`${row.where}: "${name}"[${i}] is ${show(choice)}; expected a text that is not empty`);
  return value as string[];
}

/** Fields that only prepared rows have (query, choices, gold; llm-foundry's form), so that one of them missing is called so. */
export const isPrepared = ({ value }: TaskRow): boolean =>
  ["query", "gold", "context_options"].some((field) => field in value);

/** The right answer's place among `count`; a number, or one written as text. */
export function goldField(row: TaskRow, name: string, count: number, first = 0): number {
  const value = anyField(row, name);
  const gold = typeof value === "string" && /^\d+$/.test(value.trim()) ? Number(value) : value;
  if (typeof gold === "boolean" && first === 0 && count === 2) return Number(gold);
  if (typeof gold !== "number" || !Number.isInteger(gold) || gold < first || gold >= first + count)
    throw new DataError(
      `${row.where}: "${name}" is ${show(value)}; the right answer's number is from ${first} to ${first + count - 1}`,
    );
  return gold - first;
}

/** Choices as the Hub has them for ARC and OpenBookQA: { text: [...], label: [...] } with the right one's label beside. */
export function labelledChoices(row: TaskRow): { choices: string[]; gold: number } {
  const value = anyField(row, "choices") as { text?: unknown; label?: unknown };
  const choices = choicesField(row, "choices.text", value.text);
  const labels = value.label;
  if (!Array.isArray(labels) || labels.length !== choices.length)
    throw new DataError(`${row.where}: "choices.label" is ${show(labels)}; expected ${choices.length} labels`);
  const key = textField(row, "answerKey").trimStart();
  const gold = labels.indexOf(key);
  if (gold < 0)
    throw new DataError(`${row.where}: "answerKey" is ${show(key)}; the choices' labels are ${labels.join(", ")}`);
  return { choices, gold };
}

const show = (value: unknown): string => (value === undefined ? "absent" : JSON.stringify(value).slice(0, 60));

/** Labels that stand in a file of their own, one a line, beside the rows (PIQA's .lst). */
export async function readLabels(path: string, rows: readonly TaskRow[]): Promise<TaskRow[]> {
  const labels = (await readText(path)).split("\n").filter((line) => line.trim() !== "");
  if (labels.length !== rows.length)
    throw new DataError(
      `${path}: has ${labels.length} labels, ${rows[0].where.replace(/: (line|row) .*$/, "")} has ${rows.length} rows; they belong line to line`,
    );
  return rows.map((row, i) => ({
    where: `${row.where} with ${baseName(path)}: line ${i + 1}`,
    value: { ...row.value, label: labels[i].trim() },
  }));
}
