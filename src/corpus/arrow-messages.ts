/**
 * Where the messages of an Arrow IPC file lie, and whether their headers can be trusted: every size is held to the bytes
 * that are there before Apache's library, which makes as many objects as a header claims, sees it. Called by arrow.ts.
 *
 * Format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc. Both forms
 * are read: the stream (schema, dictionaries, batches) and the file, which is that stream between magic words.
 */
import type { ReadableFile } from "../platform/files.ts";

/** Header types of Message.fbs. */
const messageKinds = { schema: 1, dictionary: 2, batch: 3 } as const;
/** Codecs of Message.fbs. */
export const codecs = { lz4: 0, zstd: 1 } as const;
/** A message's header holds names and offsets; that of a schema of thousands of columns stays far below. */
const maxHeaderBytes = 64 * 2 ** 20;
/** One batch is held in memory. Writers make them of a thousand rows; a column's own offsets end here. */
export const maxBodyBytes = 2 ** 31;
/** Fields within fields; real schemas have two or three floors. */
const maxDepth = 64;

/** A damaged place, said without the path. */
export class Damage extends Error {}

export interface Message {
  kind: number;
  /** Rows of a batch. */
  rows: number;
  codec: number | null;
  bodyBytes: number;
  /** Where it starts and how long it is, with its body. */
  at: number;
  sizeBytes: number;
}

const magic = "ARROW1";

/** The messages in order, up to the end-of-stream mark or, as the format allows, the end of the file. @throws Damage */
export function* findMessages(file: ReadableFile): Generator<Message> {
  const bytesAt = (at: number, size: number) => {
    const bytes = new Uint8Array(size);
    file.read(at, bytes);
    return bytes;
  };
  const isMagic = (at: number) => String.fromCharCode(...bytesAt(at, magic.length)) === magic;
  let [at, end] = [0, file.sizeBytes];
  if (end < 8) throw new Damage(`it has ${end} bytes`);
  const asFile = isMagic(0);
  const whole = asFile && end > 24 && isMagic(end - magic.length);
  if (asFile) at = 8; // padded
  if (whole) {
    const footer = new DataView(bytesAt(end - 10, 4).buffer).getInt32(0, true);
    if (footer < 0 || footer > end - 18) throw new Damage(`its footer claims ${footer} of ${end} bytes`);
    end -= 10 + footer;
  }
  while (at < end) {
    const message = messageAt(at, end, bytesAt);
    if (!message) {
      at = end;
      break;
    }
    yield message;
    at += message.sizeBytes;
  }
  if (asFile && !whole) throw new Damage(`it ends at byte ${file.sizeBytes} without its footer`);
}

/** @returns null at the end-of-stream mark */
function messageAt(at: number, end: number, bytesAt: (at: number, size: number) => Uint8Array): Message | null {
  const wanted = (size: number, what: string) => {
    if (at + size > end) throw new Damage(`${what} at byte ${at} needs ${size} bytes, and ${end - at} are left`);
  };
  const word = (from: number) => new DataView(bytesAt(from, 4).buffer).getInt32(0, true);
  wanted(4, "the message");
  // Before version 0.15 the length stood without the mark (-1) before it.
  const marked = word(at) === -1;
  if (marked) wanted(8, "the message");
  const prefixBytes = marked ? 8 : 4;
  const headerBytes = word(at + prefixBytes - 4);
  if (headerBytes === 0) return null;
  if (headerBytes < 0 || headerBytes > maxHeaderBytes)
    throw new Damage(`the message at byte ${at} claims a header of ${headerBytes} bytes`);
  wanted(prefixBytes + headerBytes, "the message's header");
  let header: Pick<Message, "kind" | "rows" | "codec" | "bodyBytes">;
  try {
    header = readHeader(new DataView(bytesAt(at + prefixBytes, headerBytes).buffer));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new Damage(`the header of the message at byte ${at} points outside itself`, { cause });
  }
  const { bodyBytes } = header;
  if (bodyBytes < 0 || bodyBytes > maxBodyBytes)
    throw new Damage(`the message at byte ${at} claims a body of ${bodyBytes} bytes`);
  const sizeBytes = prefixBytes + headerBytes + bodyBytes;
  wanted(sizeBytes, "the message");
  return { ...header, at, sizeBytes };
}

/**
 * Message.fbs: header's type (field 1), header (2), body's length (3), metadata (4). A RangeError for what lies outside.
 */
function readHeader(view: DataView): Pick<Message, "kind" | "rows" | "codec" | "bodyBytes"> {
  const tables = readTables(view);
  const message = view.getUint32(0, true);
  const kindAt = tables.fieldAt(message, 1);
  const kind = kindAt === 0 ? 0 : view.getUint8(kindAt);
  const bodyBytes = tables.wide(message, 3);
  tables.checkList(message, 4, 4);
  const header = tables.follow(message, 2);
  const none = { kind, rows: 0, codec: null, bodyBytes };
  if (header === 0) return none;
  if (kind === messageKinds.schema) {
    // Schema.fbs: fields (1), metadata (2), features (3).
    tables.checkList(header, 2, 4);
    tables.checkList(header, 3, 8);
    checkFields(tables, header, 1, 0);
    return none;
  }
  if (kind === messageKinds.batch)
    return { ...none, rows: tables.wide(header, 0), codec: codecOfBatch(tables, view, header) };
  if (kind !== messageKinds.dictionary) return none;
  const batch = tables.follow(header, 1);
  return batch === 0 ? none : { ...none, codec: codecOfBatch(tables, view, batch) };
}

/** RecordBatch: rows (0), nodes (1), buffers (2), compression (3), variadic counts (4). BodyCompression: codec (0). */
function codecOfBatch(tables: Tables, view: DataView, batch: number): number | null {
  tables.checkList(batch, 1, 16);
  tables.checkList(batch, 2, 16);
  tables.checkList(batch, 4, 8);
  const compression = tables.follow(batch, 3);
  if (compression === 0) return null;
  const codecAt = tables.fieldAt(compression, 0);
  return codecAt === 0 ? codecs.lz4 : view.getInt8(codecAt);
}

/** Field: children (5), metadata (6). */
function checkFields(tables: Tables, table: number, list: number, depth: number): void {
  if (depth > maxDepth) throw new RangeError(`fields within fields, over ${maxDepth} deep`);
  for (const entry of tables.checkList(table, list, 4)) {
    const field = tables.at(entry);
    tables.checkList(field, 6, 4);
    checkFields(tables, field, 5, depth + 1);
  }
}

type Tables = ReturnType<typeof readTables>;

/** FlatBuffers: a table starts with the distance to its vtable, which holds how far from the start each field lies. */
function readTables(view: DataView) {
  let looked = 0;
  const fieldAt = (table: number, field: number): number => {
    // A hostile schema may name one field again and again on each floor.
    if (++looked > view.byteLength) throw new RangeError("more fields than the header has bytes");
    const vtable = table - view.getInt32(table, true);
    const slot = 4 + 2 * field;
    const offset = slot < view.getUint16(vtable, true) ? view.getUint16(vtable + slot, true) : 0;
    return offset === 0 ? 0 : table + offset;
  };
  /** Where the table or list that a field names begins; 0: absent. */
  const follow = (table: number, field: number): number => {
    const at = fieldAt(table, field);
    return at === 0 ? 0 : at + view.getUint32(at, true);
  };
  return {
    fieldAt,
    follow,
    wide(table: number, field: number): number {
      const at = fieldAt(table, field);
      return at === 0 ? 0 : Number(view.getBigInt64(at, true));
    },
    /** Holds a list of entries of `width` bytes to the header's size; where its entries begin. */
    checkList(table: number, field: number, width: number): number[] {
      const list = follow(table, field);
      if (list === 0) return [];
      const count = view.getUint32(list, true);
      if (list + 4 + width * count > view.byteLength) throw new RangeError(`a list of ${count} in a smaller header`);
      return Array.from({ length: count }, (_, i) => list + 4 + width * i);
    },
    /** What an entry of a list of offsets names. */
    at: (entry: number): number => entry + view.getUint32(entry, true),
  };
}
