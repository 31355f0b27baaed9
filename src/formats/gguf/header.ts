/**
 * The header of a GGUF file, read piece by piece: a file from outside is hostile until read. Every length is held against
 * the bytes that the file has left before anything is made of that length, and a refusal names the field and its byte.
 *
 *   "GGUF" | u32 version | u64 tensors | u64 keys | keys | tensor infos | zeros to the alignment | data
 *
 * Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Versions 2 and 3 (3 only adds big-endian
 * files, which nobody reads here) differ in nothing else.
 */
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import type { ReadableFile } from "../../platform/files.ts";
import { show } from "../../platform/show.ts";
import { describeGgmlType, type GgmlTypeName, ggmlBytes, ggmlTypeOf, rowMultiple } from "../../quant/ggml-types.ts";
import { type GgufArray, type GgufType, type GgufValue, ggufTypes, numberArrays } from "./values.ts";

/** Where a tensor lies, and what it holds. */
export interface GgufTensor {
  readonly name: string;
  /** Rows first, as everywhere here: [N, K] (a GGUF file has K first). */
  readonly shape: readonly number[];
  /** Null for a format that we do not read; its size is then unknown. */
  readonly type: GgmlTypeName | null;
  readonly typeId: number;
  /** First byte, from the start of the file. */
  readonly offset: number;
  readonly bytes: number | null;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  readonly alignment: number;
  /** First byte of the data. */
  readonly dataOffset: number;
}

/** Of the format: a key has at most 2^16 - 1 bytes, a tensor at most four dimensions. */
const maxKeyBytes = 65_535;
const maxDimensions = 4;
/** Arrays in arrays: the format sets no limit, nobody uses even two, and each level is a call. */
const maxDepth = 4;
/** Arrays in arrays in all: each takes 12 bytes of a file and some 400 of memory. No known file has any. */
const maxInnerArrays = 65_536;
/** Larger alignments than a page of memory serve nobody, and would move the data anywhere. */
const maxAlignment = 65_536;
/** The least that a key with its value, and a tensor's info, take in a file. */
const leastKeyBytes = 8 + 4 + 1;
const leastTensorBytes = 8 + 4 + 4 + 8;
const windowBytes = 1 << 16;

/** What is being read, for messages; a function where there are many, so that names are made only for an error. */
type Field = string | (() => string);
const named = (field: Field): string => (typeof field === "string" ? field : field());

/** Reads on from a byte. A vocabulary is some hundred thousand strings: nothing is made for each but itself. */
class Cursor {
  at = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private windowAt = 0;
  private windowEnd = 0;
  private innerArrays = 0;
  // A byte-order mark is a token of LLaMA-2: it stays.
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  private readonly strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(private readonly file: ReadableFile) {
    this.bytes = new Uint8Array(Math.min(windowBytes, file.sizeBytes));
    this.view = new DataView(this.bytes.buffer);
  }

  get left(): number {
    return this.file.sizeBytes - this.at;
  }

  refuse(field: Field, what: string, at = this.at): FormatError {
    return new FormatError(`${this.file.path}: gguf: ${named(field)} at byte ${at} ${what}`);
  }

  /** @throws FormatError unless the file has so many bytes left */
  need(bytes: number, field: Field): void {
    if (bytes > this.left)
      throw this.refuse(field, `takes ${bytes} bytes, but the file has ${this.left} left; is it cut short?`);
  }

  /** Goes past the next bytes, at most a window's. @returns where they are in the window, until the next call */
  private take(bytes: number, field: Field): number {
    this.need(bytes, field);
    if (this.at < this.windowAt || this.at + bytes > this.windowEnd) {
      const count = Math.min(this.left, this.bytes.length);
      this.file.read(this.at, this.bytes.subarray(0, count));
      this.windowAt = this.at;
      this.windowEnd = this.at + count;
    }
    this.at += bytes;
    return this.at - bytes - this.windowAt;
  }

  u32(field: Field): number {
    return this.view.getUint32(this.take(4, field), true);
  }

  /** A u64 as a number. @throws FormatError past 2^53, where no file is */
  u64(field: Field): number {
    const at = this.take(8, field);
    const value = this.view.getUint32(at, true) + 2 ** 32 * this.view.getUint32(at + 4, true);
    if (value > Number.MAX_SAFE_INTEGER)
      throw this.refuse(field, `is ${this.view.getBigUint64(at, true)}, more than any file holds`, this.at - 8);
    return value;
  }

  /** How many follow, each of at least `least` bytes. */
  count(field: Field, least: number): number {
    const at = this.at;
    const value = this.u64(field);
    if (value > this.left / least)
      throw this.refuse(
        field,
        `is ${value}, but the ${this.left} bytes left hold at most ${Math.floor(this.left / least)}`,
        at,
      );
    return value;
  }

  /** A string with its length in front. Keys and names must be UTF-8; elsewhere what is not becomes U+FFFD. */
  string(field: Field, lengthField: Field, limit: number | null): string {
    const at = this.at;
    const length = this.count(lengthField, 1);
    if (limit !== null && length > limit)
      throw this.refuse(lengthField, `is ${length}; at most ${limit} are allowed`, at);
    const bytes = this.stringBytes(length, field);
    if (limit === null) return this.utf8.decode(bytes);
    try {
      return this.strictUtf8.decode(bytes);
    } catch {
      throw this.refuse(field, "is not UTF-8", at + 8);
    }
  }

  /** Past a window's length, bytes of their own. */
  private stringBytes(length: number, field: Field): Uint8Array {
    if (length <= this.bytes.length) {
      const from = this.take(length, field);
      return this.bytes.subarray(from, from + length);
    }
    const bytes = new Uint8Array(length);
    this.file.read(this.at, bytes);
    this.at += length;
    return bytes;
  }

  type(field: string): GgufType {
    const at = this.at;
    const id = this.u32(`the type of ${field}`);
    const type = ggufTypes[id];
    if (!type) throw this.refuse(`the type of ${field}`, `is ${id}; expected 0 to ${ggufTypes.length - 1}`, at);
    return type;
  }

  value(type: GgufType, field: string): GgufValue {
    switch (type) {
      case "string":
        return { type, value: this.string(field, `the length of ${field}`, null) };
      case "array":
        return this.array(field, 1);
      case "bool": {
        const value = this.view.getUint8(this.take(1, field));
        if (value > 1) throw this.refuse(field, `is ${value}; expected 0 or 1 of a bool`, this.at - 1);
        return { type, value: value === 1 };
      }
      case "u8":
        return { type, value: this.view.getUint8(this.take(1, field)) };
      case "i8":
        return { type, value: this.view.getInt8(this.take(1, field)) };
      case "u16":
        return { type, value: this.view.getUint16(this.take(2, field), true) };
      case "i16":
        return { type, value: this.view.getInt16(this.take(2, field), true) };
      case "u32":
        return { type, value: this.view.getUint32(this.take(4, field), true) };
      case "i32":
        return { type, value: this.view.getInt32(this.take(4, field), true) };
      case "f32":
        return { type, value: this.view.getFloat32(this.take(4, field), true) };
      case "f64":
        return { type, value: this.view.getFloat64(this.take(8, field), true) };
      case "u64":
        return { type, value: this.view.getBigUint64(this.take(8, field), true) };
      case "i64":
        return { type, value: this.view.getBigInt64(this.take(8, field), true) };
    }
  }

  private array(field: string, depth: number): GgufArray {
    if (depth > maxDepth) throw this.refuse(field, `nests arrays more than ${maxDepth} deep`);
    const of = this.type(`the elements of ${field}`);
    if (of === "string" || of === "array") {
      // Each has a length of 8 bytes at least, an array its type too.
      const count = this.count(`the length of ${field}`, of === "string" ? 8 : 12);
      if (of === "string") {
        const values: string[] = [];
        const name = () => `${field}[${values.length}]`;
        const length = () => `the length of ${name()}`;
        for (let i = 0; i < count; i++) values.push(this.string(name, length, null));
        return { type: "array", of, values };
      }
      this.innerArrays += count;
      if (this.innerArrays > maxInnerArrays)
        throw this.refuse(field, `holds ${count} arrays; at most ${maxInnerArrays} arrays in arrays are supported`);
      const values: GgufArray[] = [];
      for (let i = 0; i < count; i++) values.push(this.array(`${field}[${i}]`, depth + 1));
      return { type: "array", of, values };
    }
    const Numbers = numberArrays[of];
    const count = this.count(`the length of ${field}`, Numbers.BYTES_PER_ELEMENT);
    const values = new Numbers(count);
    this.file.read(this.at, new Uint8Array(values.buffer));
    this.at += values.byteLength;
    if (of === "bool" && values.some((value) => (value as number) > 1))
      throw this.refuse(field, "holds a bool that is neither 0 nor 1");
    return { type: "array", of, values };
  }
}

/**
 * Reads and checks a file's header.
 *
 * @throws FormatError naming the field and its byte; UnsupportedError for a version or byte order that we do not read
 */
export function readGgufHeader(file: ReadableFile): GgufHeader {
  const cursor = new Cursor(file);
  if (file.sizeBytes < 24)
    throw new FormatError(`${file.path}: has ${file.sizeBytes} bytes; a GGUF file has at least 24`);
  const magic = cursor.u32("the magic");
  if (magic !== 0x46554747) throw cursor.refuse("the magic", 'is not "GGUF"; expected a GGUF file', 0);
  const version = cursor.u32("the version");
  if (version !== 0 && (version & 0xffff) === 0)
    throw new UnsupportedError(
      `${file.path}: is a big-endian GGUF file; convert it to little-endian with llama.cpp's tools`,
    );
  if (version !== 2 && version !== 3)
    throw new UnsupportedError(`${file.path}: is GGUF of version ${version}; versions 2 and 3 can be read`);
  const tensorCount = cursor.count("the number of tensors", leastTensorBytes);
  const keyCount = cursor.count("the number of keys", leastKeyBytes);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const at = cursor.at;
    const key = cursor.string(`key ${i}`, `the length of key ${i}`, maxKeyBytes);
    if (key === "") throw cursor.refuse(`key ${i}`, "is empty", at);
    if (metadata.has(key)) throw cursor.refuse(`key ${show(key)}`, "is there twice", at);
    metadata.set(key, cursor.value(cursor.type(show(key)), show(key)));
  }
  const alignment = alignmentOf(metadata, file.path);

  const infos: { tensor: GgufTensor; at: number }[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const at = cursor.at;
    const tensor = readTensorInfo(cursor, i, alignment);
    if (names.has(tensor.name)) throw cursor.refuse(`tensor ${show(tensor.name)}`, "is there twice", at);
    names.add(tensor.name);
    infos.push({ tensor, at });
  }
  const dataOffset = Math.ceil(cursor.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const { tensor, at } of infos) {
    const placed = { ...tensor, offset: dataOffset + tensor.offset };
    const end = placed.offset + (placed.bytes ?? 0);
    if (end > file.sizeBytes)
      throw cursor.refuse(
        `tensor ${show(tensor.name)}`,
        `ends at byte ${end}, but the file has ${file.sizeBytes}; is it cut short?`,
        at,
      );
    tensors.set(tensor.name, placed);
  }
  checkOverlap(tensors, file.path);
  return { version, metadata, tensors, alignment, dataOffset };
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, where: string): number {
  const value = metadata.get("general.alignment");
  if (!value) return 32;
  // u32 by the specification; some writers have other widths.
  const size = ["array", "bool", "string", "f32", "f64"].includes(value.type)
    ? Number.NaN
    : Number((value as { value: number | bigint }).value);
  if (!(size >= 8 && size <= maxAlignment && Number.isInteger(Math.log2(size))))
    throw new FormatError(
      `${where}: gguf: general.alignment is ${value.type === "array" ? "an array" : `${value.type} ${value.value}`}; expected a whole number, a power of two from 8 to ${maxAlignment}`,
    );
  return size;
}

/** A tensor's info; `offset` is still counted from the start of the data. */
function readTensorInfo(cursor: Cursor, index: number, alignment: number): GgufTensor {
  const start = cursor.at;
  const nameField = `the name of tensor ${index}`;
  const name = cursor.string(nameField, `the length of ${nameField}`, maxKeyBytes);
  const field = `tensor ${show(name)}`;
  const refuse = (what: string) => cursor.refuse(field, what, start);
  const dimensions = cursor.u32(`the dimensions of ${field}`);
  if (dimensions > maxDimensions) throw refuse(`has ${dimensions} dimensions; at most ${maxDimensions} are allowed`);
  const sizes: number[] = [];
  let count = 1;
  for (let d = 0; d < dimensions; d++) {
    const size = cursor.u64(`dimension ${d} of ${field}`);
    if (size === 0) throw refuse(`is empty: its dimension ${d} is 0`);
    count *= size;
    if (count > Number.MAX_SAFE_INTEGER) throw refuse("has more elements than any file holds");
    sizes.push(size);
  }
  const typeId = cursor.u32(`the type of ${field}`);
  const offset = cursor.u64(`the offset of ${field}`);
  if (offset % alignment !== 0)
    throw refuse(`begins at byte ${offset} of the data, which is no multiple of ${alignment}`);
  const type = ggmlTypeOf(typeId) ?? null;
  if (type !== null && (sizes[0] ?? 1) % rowMultiple(type) !== 0)
    throw refuse(`is ${type} with rows of ${sizes[0] ?? 1}; expected a multiple of ${rowMultiple(type)}`);
  const bytes = type === null ? null : ggmlBytes(type, count);
  return { name, shape: sizes.reverse(), type, typeId, offset, bytes };
}

/** @throws FormatError where two tensors share bytes: nobody writes that, and a change to one would be to both */
function checkOverlap(tensors: ReadonlyMap<string, GgufTensor>, where: string): void {
  let before: GgufTensor | null = null;
  for (const tensor of [...tensors.values()].sort((a, b) => a.offset - b.offset)) {
    if (before && tensor.offset < before.offset + (before.bytes ?? 1))
      throw new FormatError(
        `${where}: gguf: tensor ${show(tensor.name)} begins at byte ${tensor.offset}, amid tensor ${show(before.name)}`,
      );
    before = tensor;
  }
}

/** For messages: what a tensor is. */
export const describeTensor = ({ name, shape, typeId }: GgufTensor): string =>
  `tensor ${show(name)} (${describeGgmlType(typeId)}, [${shape}])`;
