/**
 * Writes a GGUF file of version 3, whole or not at all. The header is made first, from shapes alone; then one tensor at a
 * time is asked for its bytes, so that a file may be larger than memory.
 */
import { createAtomicFile, createHasher } from "../../platform/files.ts";
import { type GgmlTypeName, ggmlBytes, ggmlTypeId, rowMultiple } from "../../quant/ggml-types.ts";
import { type GgufArray, type GgufType, type GgufValue, ggufTypes } from "./values.ts";

/** A tensor to write. */
export interface GgufTensorSource {
  readonly name: string;
  readonly type: GgmlTypeName;
  /** Rows first: [N, K]. */
  readonly shape: readonly number[];
  /** Its bytes, called when its turn comes: at once, or in pieces. */
  data(): Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** What every reader takes without asking. */
const alignment = 32;
/** ggml's GGML_MAX_NAME, less the zero at the end. */
const maxNameBytes = 63;

const utf8 = new TextEncoder();

/** Grows as it is appended to. */
class Bytes {
  private buffer = new Uint8Array(1 << 16);
  length = 0;

  private room(bytes: number): DataView {
    if (this.length + bytes > this.buffer.length) {
      const larger = new Uint8Array(Math.max(this.length + bytes, 2 * this.buffer.length));
      larger.set(this.buffer.subarray(0, this.length));
      this.buffer = larger;
    }
    const view = new DataView(this.buffer.buffer, this.length, bytes);
    this.length += bytes;
    return view;
  }

  bytes(bytes: Uint8Array): void {
    const view = this.room(bytes.length);
    new Uint8Array(view.buffer, view.byteOffset, bytes.length).set(bytes);
  }

  u32(value: number): void {
    this.room(4).setUint32(0, value, true);
  }

  u64(value: number): void {
    this.room(8).setBigUint64(0, BigInt(value), true);
  }

  string(value: string): void {
    const bytes = utf8.encode(value);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  type(type: GgufType): void {
    this.u32(ggufTypes.indexOf(type));
  }

  value(value: GgufValue): void {
    switch (value.type) {
      case "array":
        this.array(value);
        break;
      case "string":
        this.string(value.value);
        break;
      case "bool":
        this.room(1).setUint8(0, value.value ? 1 : 0);
        break;
      case "u8":
        this.room(1).setUint8(0, value.value);
        break;
      case "i8":
        this.room(1).setInt8(0, value.value);
        break;
      case "u16":
        this.room(2).setUint16(0, value.value, true);
        break;
      case "i16":
        this.room(2).setInt16(0, value.value, true);
        break;
      case "u32":
        this.room(4).setUint32(0, value.value, true);
        break;
      case "i32":
        this.room(4).setInt32(0, value.value, true);
        break;
      case "f32":
        this.room(4).setFloat32(0, value.value, true);
        break;
      case "f64":
        this.room(8).setFloat64(0, value.value, true);
        break;
      case "u64":
        this.room(8).setBigUint64(0, value.value, true);
        break;
      case "i64":
        this.room(8).setBigInt64(0, value.value, true);
        break;
    }
  }

  private array(array: GgufArray): void {
    this.type(array.of);
    this.u64(array.values.length);
    if (array.of === "string") for (const value of array.values) this.string(value);
    else if (array.of === "array") for (const value of array.values) this.array(value);
    else this.bytes(new Uint8Array(array.values.buffer, array.values.byteOffset, array.values.byteLength));
  }

  padded(): Uint8Array {
    this.room((alignment - (this.length % alignment)) % alignment);
    return this.buffer.subarray(0, this.length);
  }
}

/**
 * Writes a file. The same input gives the same bytes.
 *
 * @param metadata in the order of the file; general.architecture first, by custom
 * @returns its size and SHA-256, computed on the way
 * @throws FileError; Error (a bug of the caller's) for a name that is taken or too long, or data of another size
 */
export async function writeGguf(
  path: string,
  metadata: Iterable<readonly [string, GgufValue]>,
  tensors: readonly GgufTensorSource[],
): Promise<{ sizeBytes: number; sha256: string }> {
  const head = buildGgufHeader(metadata, tensors);
  const hasher = createHasher().update(head);
  const file = createAtomicFile(path);
  try {
    file.append(head);
    for (const tensor of tensors) {
      const wanted = tensorBytes(tensor);
      let came = 0;
      const put = (piece: Uint8Array) => {
        came += piece.length;
        if (came > wanted) return;
        hasher.update(piece);
        file.append(piece);
      };
      const data = await tensor.data();
      if (data instanceof Uint8Array) put(data);
      else for await (const piece of data) put(piece);
      if (came !== wanted)
        throw new Error(`gguf: ${tensor.name} is ${tensor.type} [${tensor.shape}], ${wanted} bytes, but ${came} came`);
      const padding = new Uint8Array((alignment - (wanted % alignment)) % alignment);
      hasher.update(padding);
      file.append(padding);
    }
    const { sizeBytes } = file;
    file.commit();
    return { sizeBytes, sha256: hasher.hex() };
  } catch (error) {
    file.abort();
    throw error;
  }
}

const tensorBytes = ({ type, shape }: GgufTensorSource): number =>
  ggmlBytes(
    type,
    shape.reduce((a, b) => a * b, 1),
  );

/** Everything before the data. */
export function buildGgufHeader(
  metadata: Iterable<readonly [string, GgufValue]>,
  tensors: readonly Omit<GgufTensorSource, "data">[],
): Uint8Array {
  const entries = [...metadata];
  if (new Set(entries.map(([key]) => key)).size !== entries.length) throw new Error("gguf: a key is there twice");
  const out = new Bytes();
  out.bytes(utf8.encode("GGUF"));
  out.u32(3);
  out.u64(tensors.length);
  out.u64(entries.length);
  for (const [key, value] of entries) {
    out.string(key);
    out.type(value.type);
    out.value(value);
  }
  const names = new Set<string>();
  let offset = 0;
  for (const { name, type, shape } of tensors) {
    const row = shape[shape.length - 1];
    if (names.has(name) || utf8.encode(name).length > maxNameBytes)
      throw new Error(`gguf: the name ${JSON.stringify(name)} is taken, or over ${maxNameBytes} bytes`);
    if (shape.length === 0 || shape.length > 4 || row % rowMultiple(type) !== 0)
      throw new Error(
        `gguf: ${name} is [${shape}]; ${type} wants one to four dimensions, rows a multiple of ${rowMultiple(type)}`,
      );
    names.add(name);
    out.string(name);
    out.u32(shape.length);
    for (const size of [...shape].reverse()) out.u64(size);
    out.u32(ggmlTypeId(type));
    out.u64(offset);
    const bytes = tensorBytes({ name, type, shape } as GgufTensorSource);
    offset += Math.ceil(bytes / alignment) * alignment;
  }
  return out.padded();
}
