/** Writing a compact model file, whole or not at all, one tensor in memory at a time. */
import { deflate } from "../../platform/compress.ts";
import { createAtomicFile, createHasher, sha256Of } from "../../platform/files.ts";
import { blockCodes, countCodes, encodeBlock, frequenciesOf, mostBlockBytes } from "../../quant/entropy.ts";
import { type RowTypeName, rowTypes } from "../../quant/row-types.ts";
import { packTrits, tritBytes } from "../../quant/trits.ts";
import {
  buildHead,
  type CompactEntry,
  type PlannedTensor,
  prefixBytes,
  reserveHeader,
  rowsOf,
  sizeOf,
  type TernaryEncoding,
} from "./header.ts";

/** A tensor to write; its data is asked for when its turn comes. */
export type CompactTensor = PlannedTensor &
  (
    | { readonly ternary: () => Promise<{ codes: Uint8Array; scale: number }> }
    | { readonly type: RowTypeName; readonly floats: () => Promise<Float32Array> }
  );

export interface WrittenTensor extends Omit<CompactEntry, "offset"> {
  /** Of a row type: root mean square of what rounding changed over that of the values; 0 for f32. */
  readonly relativeError?: number;
}

/**
 * Writes a file. Ternary weights are entropy-coded or packed five to a byte, whichever takes fewer bytes.
 *
 * @param metadata  plain JSON, for whoever reads
 * @param tokenizer JSON text of the tokenizer, or null
 * @param options   ternary: how ternary matrices are coded, if not as each is smallest; signal: ends between two tensors, with its reason
 * @throws FileError; Error for a name given twice, or data that is not of its shape
 */
export async function writeCompact(
  path: string,
  metadata: Readonly<Record<string, unknown>>,
  tokenizer: string | null,
  tensors: readonly CompactTensor[],
  { ternary = "smallest", signal }: { ternary?: TernaryEncoding | "smallest"; signal?: AbortSignal } = {},
): Promise<{ sizeBytes: number; tensors: WrittenTensor[] }> {
  const names = new Set(tensors.map(({ name }) => name));
  if (names.size !== tensors.length) throw new Error("compact: two tensors have one name");
  const json = tokenizer === null ? null : new TextEncoder().encode(tokenizer);
  const packed = json && deflate(json);
  const tokenizerEntry = json && packed && { bytes: packed.length, jsonBytes: json.length, sha256: sha256Of(packed) };
  const headerBytes = reserveHeader(metadata, tokenizerEntry, tensors);
  const file = createAtomicFile(path);
  try {
    file.append(new Uint8Array(prefixBytes + headerBytes));
    if (packed) file.append(packed);
    const written: WrittenTensor[] = [];
    for (const tensor of tensors) {
      signal?.throwIfAborted();
      const start = file.sizeBytes;
      const hasher = createHasher();
      const put = (bytes: Uint8Array) => {
        hasher.update(bytes);
        file.append(bytes);
      };
      const about = await writeTensor(tensor, ternary, put);
      const { name, shape } = tensor;
      written.push({ name, shape, ...about, bytes: file.sizeBytes - start, sha256: hasher.hex() });
    }
    file.overwrite(0, buildHead(metadata, tokenizerEntry, written, headerBytes));
    const { sizeBytes } = file;
    file.commit();
    return { sizeBytes, tensors: written };
  } catch (error) {
    file.abort();
    throw error;
  }
}

async function writeTensor(
  tensor: CompactTensor,
  choice: TernaryEncoding | "smallest",
  put: (bytes: Uint8Array) => void,
): Promise<Pick<WrittenTensor, "encoding" | "scale" | "frequencies" | "relativeError">> {
  const size = sizeOf(tensor.shape);
  const check = (data: { length: number }) => {
    if (data.length !== size)
      throw new Error(`compact: ${tensor.name} is [${tensor.shape}], but ${data.length} values came`);
  };
  if ("ternary" in tensor) {
    const { codes, scale } = await tensor.ternary();
    check(codes);
    if (!Number.isFinite(scale) || scale < 0)
      throw new Error(`compact: the scale of ${tensor.name} is ${scale}; the model's weights are not finite`);
    const frequencies = frequenciesOf(countCodes(codes));
    const packedBytes = tritBytes(size);
    const blocks = choice === "trits" ? [] : encodeBlocks(codes, frequencies);
    const codedBytes = blocks.reduce((sum, block) => sum + block.length, 0);
    if (choice === "entropy" || (choice === "smallest" && codedBytes < packedBytes)) {
      for (const block of blocks) put(block);
      return { encoding: "entropy", scale, frequencies };
    }
    const packed = new Uint8Array(packedBytes);
    packTrits(codes, packed);
    put(packed);
    return { encoding: "trits", scale };
  }
  const values = await tensor.floats();
  check(values);
  const { rows, width } = rowsOf(tensor.shape);
  const type = rowTypes[tensor.type];
  const back = new Float32Array(width);
  let [error, sum] = [0, 0];
  for (let row = 0; row < rows; row++) {
    const one = values.subarray(row * width, (row + 1) * width);
    const bytes = new Uint8Array(type.rowBytes(width));
    type.encodeRow(one, bytes);
    put(bytes);
    type.decodeRow(bytes, back);
    for (let i = 0; i < width; i++) {
      error += (back[i] - one[i]) ** 2;
      sum += one[i] ** 2;
    }
  }
  return { encoding: tensor.type, relativeError: error === 0 ? 0 : Math.sqrt(error / sum) };
}

function encodeBlocks(codes: Uint8Array, frequencies: ReturnType<typeof frequenciesOf>): Uint8Array[] {
  const buffer = new Uint8Array(mostBlockBytes);
  const blocks: Uint8Array[] = [];
  for (let from = 0; from < codes.length; from += blockCodes)
    blocks.push(buffer.slice(0, encodeBlock(codes.subarray(from, from + blockCodes), frequencies, buffer)));
  return blocks;
}
