/**
 * What a compact file holds, measured by reading it: bytes and bits by kind of tensor, each ternary matrix's shares and
 * entropy. Every tensor is decoded, so every hash is checked. size.ts measures a model by writing such a file;
 * `bitnet inspect FILE.bitnet` shows this.
 */
import { openCompactModel } from "../exchange/index.ts";
import { type CompactEntry, isTernary } from "../formats/compact/index.ts";
import { entropyBits, type ModelConfig } from "../model/index.ts";

/** A ternary matrix: shares of -1, 0 and +1, scale, entropy of a weight, and bits of one in this file. */
export interface CompactLayer {
  name: string;
  shape: readonly number[];
  encoding: string;
  bytes: number;
  gamma: number;
  minus: number;
  zero: number;
  plus: number;
  entropy: number;
  bits: number;
}

export interface CompactFileMeasurement {
  summary: {
    file: string;
    fileBytes: number;
    variant: ModelConfig["variant"];
    step: number | null;
    parameters: number;
    bitsPerParameter: number;
    ternaryWeights: number;
    ternaryBytes: number;
    /** A float32 scale for each matrix counted; null for a full-precision model. */
    ternaryBitsPerWeight: number | null;
    /** Mean of the matrices' entropies by their weights; null likewise. */
    ternaryEntropyBits: number | null;
    otherBytes: number;
    tokenizerBytes: number;
    headerBytes: number;
  };
  config: ModelConfig;
  layers: CompactLayer[];
  tensors: CompactEntry[];
  /** The tensors that are not ternary, by their number type. */
  others: { type: string; bytes: number; weights: number }[];
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const weightsOf = (list: readonly { shape: readonly number[] }[]): number =>
  list.reduce((n, { shape }) => n + sizeOf(shape), 0);
const bytesOf = (list: readonly { bytes: number }[]): number => list.reduce((n, { bytes }) => n + bytes, 0);

/** Bits a weight of all these together, a float32 scale for each matrix counted too. */
export const bitsPerWeight = (tensors: readonly { shape: readonly number[]; bytes: number }[]): number =>
  (8 * tensors.reduce((sum, { bytes }) => sum + bytes + 4, 0)) / weightsOf(tensors);

/** @throws as openCompactModel; FormatError for a tensor whose hash is wrong */
export function measureCompactFile(path: string): CompactFileMeasurement {
  const { file, config, step } = openCompactModel(path);
  try {
    const tensors = [...file.tensors.values()];
    const layers = tensors.flatMap(({ name, shape, encoding, bytes, scale }) => {
      if (!isTernary(encoding)) {
        file.readFloats(name);
        return [];
      }
      const counts = [0, 0, 0];
      for (const piece of file.ternaryPieces(name)) for (const code of piece) counts[code]++;
      const size = sizeOf(shape);
      const [minus, zero, plus] = counts.map((count) => count / size);
      const entropy = entropyBits([minus, zero, plus]);
      return [{ name, shape, encoding, bytes, gamma: scale!, minus, zero, plus, entropy, bits: (8 * bytes) / size }];
    });
    file.readTokenizer();
    const ternary = tensors.filter(({ encoding }) => isTernary(encoding));
    const rest = tensors.filter(({ encoding }) => !isTernary(encoding));
    const total = weightsOf(tensors);
    const ternaryWeights = weightsOf(ternary);
    const meanEntropy =
      layers.reduce((sum, { entropy, shape }) => sum + entropy * sizeOf(shape), 0) / Math.max(1, ternaryWeights);
    return {
      summary: {
        file: path,
        fileBytes: file.sizeBytes,
        variant: config.variant,
        step,
        parameters: total,
        bitsPerParameter: (8 * file.sizeBytes) / total,
        ternaryWeights,
        ternaryBytes: bytesOf(ternary),
        ternaryBitsPerWeight: ternary.length > 0 ? bitsPerWeight(ternary) : null,
        ternaryEntropyBits: ternary.length > 0 ? meanEntropy : null,
        otherBytes: bytesOf(rest),
        tokenizerBytes: file.tokenizer?.bytes ?? 0,
        headerBytes: file.headBytes,
      },
      config,
      layers,
      tensors,
      others: [...new Set(rest.map(({ encoding }) => encoding))].map((type) => {
        const of = rest.filter(({ encoding }) => encoding === type);
        return { type, bytes: bytesOf(of), weights: weightsOf(of) };
      }),
    };
  } finally {
    file.close();
  }
}
