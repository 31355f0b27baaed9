/**
 * The number formats of model files that the packed engine makes its own weights of without a detour through float
 * tensors: rows as they lie in a GGUF file, and rows of codes. Pure functions; the definition of what
 * native/weight-sources.h does.
 */
import { type BlockTypeName, codecOf } from "./ggml-types.ts";
import { i2sBlockSize } from "./i2-s.ts";

/** Numbers by which kernels know the formats; "codes": one byte a weight, 0, 1 or 2. */
export const rowSources = {
  F32: 0,
  F16: 1,
  BF16: 2,
  Q8_0: 3,
  Q6_K: 4,
  TQ2_0: 5,
  TQ1_0: 6,
  Q2_0: 7,
  I2_S: 8,
  codes: 9,
} as const;
export type RowSource = keyof typeof rowSources;
/** Those that hold floats. */
export const floatSources: readonly RowSource[] = ["F32", "F16", "BF16", "Q8_0", "Q6_K"];

export const isRowSource = (name: string): name is RowSource => Object.hasOwn(rowSources, name);

/** Bytes of a row of K weights, K being whole blocks. */
export function sourceRowBytes(source: RowSource, k: number): number {
  if (source === "codes") return k;
  if (source === "I2_S") return k / 4;
  const { blockSize, blockBytes } = codecOf(source);
  return (k / blockSize) * blockBytes;
}

/** A row's K floats. */
export function sourceFloats(source: RowSource, bytes: Uint8Array, k: number): Float32Array {
  const values = new Float32Array(k);
  codecOf(source as BlockTypeName).decode(bytes, values);
  return values;
}

/**
 * A row's codes 0, 1, 2 and its scale: that of all its blocks that are not zero; 0 where all are; NaN where they differ, or
 * hold what is no ternary weight. I2_S and codes have their scale elsewhere: 1 stands for it.
 */
export function sourceCodes(source: RowSource, bytes: Uint8Array, k: number): { codes: Uint8Array; scale: number } {
  if (source === "codes") return judged(bytes.slice(0, k), k, () => 1);
  if (source === "I2_S") {
    const codes = new Uint8Array(k);
    for (let i = 0; i < k; i++) {
      const inBlock = i % i2sBlockSize;
      const byte = bytes[((i - inBlock) / i2sBlockSize) * 32 + (inBlock % 32)];
      codes[i] = (byte >> (6 - 2 * Math.floor(inBlock / 32))) & 3;
    }
    return judged(codes, k, () => 1);
  }
  const codec = codecOf(source);
  if (!floatSources.includes(source) && codec.decodeTernary) {
    const codes = new Uint8Array(k);
    codec.decodeTernary(bytes, codes);
    const values = sourceFloats(source, bytes, k);
    // The scale of a block: what stands before its first code that is not zero.
    return judged(codes, codec.blockSize, (from) => {
      const at = codes.subarray(from, from + codec.blockSize).findIndex((code) => code !== 1);
      return values[from + at] / (codes[from + at] - 1);
    });
  }
  const values = sourceFloats(source, bytes, k);
  const first = values.find((value) => value !== 0);
  const scale = first === undefined ? 0 : Math.abs(first);
  const sound = Number.isFinite(scale) && values.every((value) => value === 0 || Math.abs(value) === scale);
  return { codes: Uint8Array.from(values, (value) => 1 + Math.sign(value)), scale: sound ? scale : Number.NaN };
}

function judged(codes: Uint8Array, block: number, scaleAt: (from: number) => number) {
  let scale = 0;
  for (let from = 0; from < codes.length; from += block) {
    const part = codes.subarray(from, from + block);
    if (part.every((code) => code === 1)) continue;
    const d = scaleAt(from);
    const sound = !part.includes(3) && d > 0 && Number.isFinite(d) && (scale === 0 || scale === d);
    scale = sound ? d : Number.NaN;
  }
  return { codes, scale };
}
