/**
 * Rows of a float matrix as the inference engine keeps them (the output head, embeddings, all layers of a full-precision
 * model):
 *
 *   f32, bf16, f16   K numbers, the last two rounded half to even
 *   int8             K bytes q + 128, then the row's float32 scale s = max|w| / 127; w ≈ q · s
 *   int4             blocks of 64 as 32 bytes (byte i: q + 8 of weight i in the lower half, of 32 + i in the upper), then
 *                    each block's scale as bfloat16: the weight of the largest magnitude, over -8; 4.25 bits a weight
 *
 * What is not finite makes its row (int8) or block (int4) NaN.
 *
 * Pure functions; the definition of what pack_matrix and the kernels of matrix-linear do.
 */
import { fromBfloat16Bits, toBfloat16Bits } from "./bfloat16.ts";
import { fromFloat16Bits, toFloat16Bits } from "./float16.ts";
import { roundHalfEven } from "./rounding.ts";

/** Numbers by which kernels know the formats. */
export const matrixFormats = { f32: 0, bf16: 1, f16: 2, int8: 3, int4: 4 } as const;
export type MatrixFormat = keyof typeof matrixFormats;

const blockWeights = 64;
const blocksOf = (k: number) => Math.ceil(k / blockWeights);

export function matrixRowBytes(k: number, format: MatrixFormat): number {
  if (format === "f32") return 4 * k;
  if (format === "int8") return k + 4;
  return format === "int4" ? blocksOf(k) * (blockWeights / 2 + 2) : 2 * k;
}

/** Bytes of N rows. Kernels read whole vectors: the memory holds 64 more. */
export function matrixBytes(n: number, k: number, format: MatrixFormat): number {
  return n * matrixRowBytes(k, format) + 64;
}

/** Writes one row [K] at `offset`. */
export function packRow(w: Float32Array, format: MatrixFormat, to: Uint8Array, offset: number): void {
  const k = w.length;
  const view = new DataView(to.buffer, to.byteOffset);
  if (format === "int8") {
    let most = 0;
    for (const x of w) most = Math.max(most, Math.abs(x));
    const inverse = most > 0 ? Math.fround(127 / most) : 0;
    for (let i = 0; i < k; i++) to[offset + i] = roundHalfEven(Math.fround(w[i] * inverse)) + 128;
    view.setFloat32(offset + k, Math.fround(most / 127), true);
  } else if (format === "int4") {
    const blocks = blocksOf(k);
    for (let b = 0; b < blocks; b++) {
      const part = w.subarray(b * blockWeights, (b + 1) * blockWeights);
      let most = 0;
      for (const x of part) if (Math.abs(x) > Math.abs(most)) most = x;
      if (part.some((x) => !Number.isFinite(x))) most = Number.NaN;
      const bits = toBfloat16Bits(most / -8);
      const scale = fromBfloat16Bits(bits);
      const inverse = scale !== 0 ? Math.fround(1 / scale) : 0;
      view.setUint16(offset + (blocks * blockWeights) / 2 + 2 * b, bits, true);
      const code = (i: number) =>
        i < part.length ? Math.min(Math.max(roundHalfEven(Math.fround(part[i] * inverse)) + 8, 0), 15) : 8;
      for (let i = 0; i < blockWeights / 2; i++)
        to[offset + (b * blockWeights) / 2 + i] = code(i) | (code(i + blockWeights / 2) << 4);
    }
  } else {
    for (let i = 0; i < k; i++) {
      if (format === "f32") view.setFloat32(offset + 4 * i, w[i], true);
      else view.setUint16(offset + 2 * i, format === "bf16" ? toBfloat16Bits(w[i]) : toFloat16Bits(w[i]), true);
    }
  }
}

/** One row's K numbers. */
export function unpackRow(from: Uint8Array, offset: number, k: number, format: MatrixFormat): Float32Array {
  const view = new DataView(from.buffer, from.byteOffset);
  const w = new Float32Array(k);
  for (let i = 0; i < k; i++) {
    if (format === "f32") w[i] = view.getFloat32(offset + 4 * i, true);
    else if (format === "bf16") w[i] = fromBfloat16Bits(view.getUint16(offset + 2 * i, true));
    else if (format === "f16") w[i] = fromFloat16Bits(view.getUint16(offset + 2 * i, true));
    else if (format === "int8") w[i] = (from[offset + i] - 128) * view.getFloat32(offset + k, true);
    else {
      const b = Math.floor(i / blockWeights);
      const byte = from[offset + b * 32 + (i % 32)];
      const q = (i % blockWeights < 32 ? byte & 15 : byte >> 4) - 8;
      w[i] = q * fromBfloat16Bits(view.getUint16(offset + blocksOf(k) * 32 + 2 * b, true));
    }
  }
  return w;
}
