/**
 * Safetensors files: named tensors to disk and back, one tensor in memory at a time. The header's format and its checks
 * are in safetensors-header.ts. Called for checkpoints, the optimiser's state and models of others.
 */
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { createAtomicFile, createHasher, openFile } from "../platform/files.ts";
import { bfloat16ToFloat32 } from "../quant/bfloat16.ts";
import { float16ToFloat32 } from "../quant/float16.ts";
import {
  buildHeader,
  lengthBytes,
  parseHeader,
  parseHeaderLength,
  type SafetensorsEntry,
  type SafetensorsHeader,
  show,
} from "./safetensors-header.ts";

export type { SafetensorsDType, SafetensorsEntry } from "./safetensors-header.ts";

/** What `read` gives: F32, F16 and BF16 as float32; I32, I8 and U8 as they are. */
export type TensorData = Float32Array | Int32Array | Int8Array | Uint8Array;

/** A file open for reading, its header checked. The caller closes it. */
export interface SafetensorsFile extends SafetensorsHeader {
  readonly path: string;
  /**
   * Reads one tensor's values, row-major.
   *
   * @throws FormatError if there is no tensor of this name; UnsupportedError for a dtype that we do not convert
   */
  read(name: string): Promise<TensorData>;
  close(): void;
}

/** Opens a file and checks its header. @throws FileError; FormatError naming the field that is wrong */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const file = openFile(path);
  try {
    const first = new Uint8Array(Math.min(lengthBytes, file.sizeBytes));
    file.read(0, first);
    const head = new Uint8Array(parseHeaderLength(first, file.sizeBytes, path));
    file.read(lengthBytes, head);
    const { metadata, tensors } = parseHeader(head, file.sizeBytes, path);
    return {
      path,
      metadata,
      tensors,
      async read(name) {
        const entry = tensors.get(name);
        if (!entry) throw new FormatError(`${path}: has no tensor ${show(name)}; it has ${summary(tensors)}`);
        const bytes = new Uint8Array(entry.bytes);
        file.read(entry.offset, bytes);
        return convert(entry, bytes, `${path}: tensor ${show(name)}`);
      },
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Values are little-endian in the file, and in memory on every machine that we serve. */
function convert(entry: SafetensorsEntry, { buffer }: Uint8Array<ArrayBuffer>, where: string): TensorData {
  switch (entry.dtype) {
    case "F32":
      return new Float32Array(buffer);
    case "F16":
      return float16ToFloat32(new Uint16Array(buffer));
    case "BF16":
      return bfloat16ToFloat32(new Uint16Array(buffer));
    case "I32":
      return new Int32Array(buffer);
    case "I8":
      return new Int8Array(buffer);
    case "U8":
      return new Uint8Array(buffer);
    default:
      throw new UnsupportedError(`${where}: is ${entry.dtype}; only F32, F16, BF16, I32, I8 and U8 can be read`);
  }
}

function summary(tensors: ReadonlyMap<string, unknown>): string {
  const names = [...tensors.keys()];
  const some = names.slice(0, 5).map(show).join(", ");
  return names.length > 5 ? `${some} and ${names.length - 5} more` : some || "none";
}

/** F16 and BF16 are written from their 16 bits. */
const writable = {
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  I8: Int8Array,
  U8: Uint8Array,
} as const;

/** A tensor to write. A function for `data` is called when its turn comes, so that only one tensor is in memory. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: keyof typeof writable;
  readonly shape: readonly number[];
  readonly data: TensorData | Uint16Array | (() => Promise<TensorData | Uint16Array>);
}

/**
 * Writes a file, whole or not at all (temporary name, flush, rename). The same tensors give the same bytes.
 *
 * @returns its size and sha256 (hexadecimal), computed on the way
 * @throws FileError; Error for a name given twice, or data that is not of its dtype and shape
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<{ sizeBytes: number; sha256: string }> {
  const { head, order } = buildHeader([...tensors], metadata);
  const hasher = createHasher().update(head);
  const file = createAtomicFile(path);
  try {
    file.append(head);
    for (const tensor of order) {
      const data = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
      const size = tensor.shape.reduce((a, b) => a * b, 1);
      if (!(data instanceof writable[tensor.dtype]) || data.length !== size)
        throw new Error(
          `safetensors: ${show(tensor.name)} is ${tensor.dtype} [${tensor.shape}], but a ${data.constructor.name} of ${data.length} came`,
        );
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      hasher.update(bytes);
      file.append(bytes);
    }
    const { sizeBytes } = file;
    file.commit();
    return { sizeBytes, sha256: hasher.hex() };
  } catch (error) {
    file.abort();
    throw error;
  }
}
