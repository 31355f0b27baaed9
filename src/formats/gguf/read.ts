/**
 * A GGUF file open for reading: the header at once, tensors by range when asked for. Nothing is read that is not asked
 * for, so files of any size can be opened.
 */
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";
import type { ReadableFile } from "../../platform/files.ts";
import { codecOf } from "../../quant/ggml-types.ts";
import { decodeI2S } from "../../quant/i2-s.ts";
import { describeTensor, type GgufTensor } from "./header.ts";
import { openParts } from "./parts.ts";
import { GgufMetadata } from "./values.ts";

/** The caller closes it. */
export interface GgufFile {
  readonly path: string;
  readonly version: number;
  readonly sizeBytes: number;
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Where a tensor lies in its file. @throws FormatError if there is none of this name */
  tensor(name: string): GgufTensor;
  /**
   * Fills `target` with a tensor's bytes as they are in the file, from `from` (counted from the tensor's first).
   *
   * @throws FormatError for a range outside the tensor; UnsupportedError for a format that we do not read
   */
  readInto(name: string, from: number, target: Uint8Array): void;
  /** The file itself, and where in it a tensor's bytes begin, for who reads them where they lie. @throws as readInto */
  locate(name: string): { file: ReadableFile; offset: number };
  /** All of a tensor's bytes. */
  readBytes(name: string): Uint8Array;
  /** A tensor's values as float32, whatever its format, row-major. */
  readFloats(name: string): Float32Array;
  close(): void;
}

/**
 * Opens a file and checks its header; of a file in parts, all of them, whichever is named.
 *
 * @throws FileError, FormatError naming the field and byte, UnsupportedError
 */
export function readGguf(path: string): GgufFile {
  const parts = openParts(path);
  const close = () => {
    for (const { file } of parts) file.close();
  };
  try {
    const tensors = new Map<string, GgufTensor>();
    const files = new Map<string, ReadableFile>();
    for (const { file, header } of parts)
      for (const [name, tensor] of header.tensors) {
        if (files.has(name))
          throw new FormatError(
            `${file.path}: holds tensor ${JSON.stringify(name)}, which ${files.get(name)!.path} has too`,
          );
        tensors.set(name, tensor);
        files.set(name, file);
      }
    const [first] = parts;
    const sizedTensor = (name: string) => {
      const found = self.tensor(name);
      if (found.type === null || found.bytes === null)
        throw new UnsupportedError(`${path}: ${describeTensor(found)} is of a format that cannot be read here`);
      return { ...found, type: found.type, bytes: found.bytes, file: files.get(name)! };
    };
    const self: GgufFile = {
      path,
      version: first.header.version,
      sizeBytes: parts.reduce((sum, { file }) => sum + file.sizeBytes, 0),
      alignment: first.header.alignment,
      metadata: new GgufMetadata(first.header.metadata, path),
      tensors,
      tensor(name) {
        const found = tensors.get(name);
        if (!found) throw new FormatError(`${path}: has no tensor ${show(name)}; it has ${summary(tensors)}`);
        return found;
      },
      readInto(name, from, target) {
        const { offset, bytes, file } = sizedTensor(name);
        if (!(from >= 0 && from + target.length <= bytes))
          throw new FormatError(
            `${path}: tensor ${show(name)} has ${bytes} bytes; ${from} to ${from + target.length} were asked for`,
          );
        file.read(offset + from, target);
      },
      locate(name) {
        const { file, offset } = sizedTensor(name);
        return { file, offset };
      },
      readBytes(name) {
        const bytes = new Uint8Array(sizedTensor(name).bytes);
        self.readInto(name, 0, bytes);
        return bytes;
      },
      readFloats(name) {
        const { type, shape } = sizedTensor(name);
        const bytes = self.readBytes(name);
        const count = shape.reduce((a, b) => a * b, 1);
        if (type === "I2_S") {
          const { codes, scale } = decodeI2S(bytes, count);
          return Float32Array.from(codes, (code) => (code - 1) * scale);
        }
        const values = new Float32Array(count);
        codecOf(type).decode(bytes, values);
        return values;
      },
      close,
    };
    return self;
  } catch (error) {
    close();
    throw error;
  }
}

function summary(tensors: ReadonlyMap<string, unknown>): string {
  const names = [...tensors.keys()];
  const some = names.slice(0, 4).map((name) => JSON.stringify(name));
  return names.length > 4 ? `${some.join(", ")} and ${names.length - 4} more` : some.join(", ") || "none";
}
