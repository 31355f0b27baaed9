/**
 * Arrow IPC files (`.arrow`, as the `datasets` library keeps them; also Feather 2) as documents, one record batch at a
 * time: arrow-messages.ts finds the messages, so memory holds one batch and an error can name its place, and Apache's
 * library decodes it.
 */
import {
  Binary,
  BinaryView,
  CompressionType,
  compressionRegistry,
  type Data,
  DataType,
  LargeBinary,
  RecordBatchReader,
  Vector,
} from "apache-arrow";
import { DataError, FileError } from "../platform/errors.ts";
import { openFile } from "../platform/files.ts";
import { decompressZstdWhole, loadZstd } from "../platform/zstd.ts";
import { codecs, Damage, findMessages, maxBodyBytes, type Message } from "./arrow-messages.ts";
import { type Row, rowReader, type TextDocument } from "./records.ts";
import { checkLength, columnsFor, type RowFileOptions, stringFromBytes } from "./rows.ts";

/** The documents of an Arrow file, in groups. Bad records are told to `bad`, with file and row (from 1). */
export async function* readArrow(path: string, options: RowFileOptions): AsyncGenerator<TextDocument[]> {
  const { fields, maxDocumentBytes, onRead, bad } = options;
  await loadZstd();
  compressionRegistry.set(CompressionType.ZSTD, { decode: (bytes) => decompressZstdWhole(bytes, maxBodyBytes) });
  const read = rowReader(fields, path);
  const file = openFile(path);
  let rows = 0;
  let at = 0;
  const damaged = (where: string, cause: unknown) => {
    const message = (cause as Error).message.replace(`${path}: `, "");
    return new DataError(`${path}: ${where}: cannot be read as Arrow (${message}); is it whole? Fetch it again`, {
      cause,
    });
  };
  try {
    const messages = findMessages(file);
    let message: Message | undefined;
    function* bytes(): Generator<Uint8Array> {
      for (message of messages) {
        at = message.at;
        const all = new Uint8Array(message.sizeBytes);
        file.read(message.at, all);
        onRead?.(message.sizeBytes);
        yield all;
      }
    }
    const reader = RecordBatchReader.from(bytes()).open({ autoDestroy: false });
    if (!reader.schema) throw new Damage("it holds no schema");
    const columns = reader.schema.fields.map(({ name }) => name);
    let wanted: string[];
    try {
      wanted = columnsFor(fields, columns, path);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      // The rows are counted, so that the account says how many are lost.
      let lost = 0;
      for (const { rows } of messages) lost += rows;
      return bad(error, Math.max(1, lost));
    }
    for (;;) {
      let cells: Map<string, Cells> | null = null;
      let count = 0;
      try {
        const next = reader.next();
        if (next.done) break;
        const batch = next.value;
        count = batch.numRows;
        cells = new Map(wanted.map((name) => [name, cellsOf(batch.getChild(name), count, name)]));
      } catch (cause) {
        // A batch that the library cannot take apart is lost by itself; where the messages end, there is nothing behind.
        if (cause instanceof FileError || cause instanceof Damage || !message) throw cause;
        refuseCodec(message, path);
        count = Math.max(1, message.rows);
        bad(damaged(`rows ${rows + 1} to ${rows + count} (from byte ${message.at})`, cause), count);
      }
      const documents: TextDocument[] = [];
      for (let i = 0; cells && i < count; i++) {
        try {
          const row: Row = Object.fromEntries([...cells].map(([name, cell]) => [name, cell(i)]));
          const document = read(row, `row ${rows + i + 1}`);
          checkLength(document, maxDocumentBytes);
          documents.push(document);
        } catch (error) {
          if (!(error instanceof DataError)) throw error;
          bad(error);
        }
      }
      rows += count;
      yield documents;
    }
    if (rows === 0) bad(new DataError(`${path}: has no rows; expected text`));
  } catch (cause) {
    if (cause instanceof FileError || cause instanceof DataError) throw cause;
    bad(damaged(`row ${rows + 1} (behind byte ${at})`, cause));
  } finally {
    file.close();
  }
}

/** @throws DataError for a codec that is not read, with how to write the file again */
function refuseCodec({ codec }: Message, path: string): void {
  if (codec === null || codec === codecs.zstd) return;
  const name = codec === codecs.lz4 ? "LZ4" : `codec ${codec}`;
  throw new DataError(
    `${path}: is compressed with ${name}, which is not read here; write it again uncompressed or with Zstandard, in Python: pyarrow.feather.write_feather(pyarrow.feather.read_table("IN"), "OUT", compression="zstd")`,
  );
}

type Cells = (row: number) => unknown;

/** The values of one column of a batch; text as checked strings, structs as objects. */
function cellsOf(column: Vector | null, rows: number, name: string): Cells {
  if (!column || column.length < rows)
    throw new Error(`column "${name}" has ${column?.length ?? 0} values for ${rows} rows`);
  return cellsOfVector(column);
}

function cellsOfVector(vector: Vector): Cells {
  const parts = vector.data.map(cellsOfData);
  if (parts.length === 1) return parts[0];
  return (row) => {
    let part = 0;
    while (part < parts.length - 1 && row >= vector.data[part].length) row -= vector.data[part++].length;
    return parts[part](row);
  };
}

function cellsOfData(data: Data): Cells {
  const { type } = data;
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) {
    checkOffsets(data);
    return textCells(data.clone(DataType.isUtf8(type) ? new Binary() : new LargeBinary()));
  }
  if (DataType.isUtf8View(type)) {
    checkCount(data.values.length / 16, data.length);
    return textCells(data.clone(new BinaryView()));
  }
  if (DataType.isDictionary(type)) {
    if (!data.dictionary) throw new Error("a dictionary is missing");
    checkCount(data.values.length, data.length);
    const values = cellsOfVector(data.dictionary);
    const size = data.dictionary.length;
    const indices = new Vector([data.clone(type.indices)]);
    return (row) => {
      const index = indices.get(row);
      if (index === null) return null;
      if (!(index >= 0 && index < size)) throw new DataError(`row ${row} of a batch names entry ${index} of ${size}`);
      return values(Number(index));
    };
  }
  if (DataType.isStruct(type)) {
    const children = type.children.map(({ name }, i) => {
      checkCount(data.children[i].length, data.length);
      return [name, cellsOfData(data.children[i])] as const;
    });
    return (row) =>
      data.getValid(row) ? Object.fromEntries(children.map(([name, cells]) => [name, cells(row)])) : null;
  }
  const vector = new Vector([data]);
  return (row) => {
    const value: unknown = vector.get(row);
    return value instanceof Vector ? [...value] : value;
  };
}

function textCells(data: Data<Binary | LargeBinary | BinaryView>): Cells {
  const vector = new Vector([data]);
  return (row) => {
    const bytes = vector.get(row);
    return bytes === null ? null : stringFromBytes(bytes);
  };
}

function checkCount(found: number, wanted: number): void {
  if (!(found >= wanted)) throw new Error(`${found} values for ${wanted} rows`);
}

/** The library would take what is there of a text that claims to lie beyond its buffer. */
function checkOffsets({ length, valueOffsets, values }: Data): void {
  if (length === 0) return;
  if (valueOffsets.length < length + 1) throw new Error(`${valueOffsets.length} offsets for ${length} texts`);
  for (let i = 0; i <= length; i++)
    if (valueOffsets[i] < (i === 0 ? 0 : valueOffsets[i - 1]) || valueOffsets[i] > values.length)
      throw new Error(`the text of value ${i} ends at ${valueOffsets[i]} of ${values.length} bytes`);
}
