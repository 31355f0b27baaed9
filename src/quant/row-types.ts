/**
 * Number types for matrices that are not ternary (embedding, head, gains, the linear layers of a full-precision model),
 * row by row, a row of any length: f32, f16, bf16 as they are; int8 with one scale for each row; q8 and q4 with one scale for
 * each 32 elements of a row. Called by formats/compact.
 *
 *   int8   f32 d, then a byte an element: d = max|w| / 127, q = round(w / d) half to even, w = q · d
 *   q8     as Q8_0 (q8-0.ts), the last block of a row filled with 0: d = max|w| / 127, w = q · float16(d)
 *   q4     as Q4_0 (q4-0.ts), the last block of a row filled with 0: d the element of largest magnitude / -8,
 *          q = min(15, floor(w / d + 8.5)), w = (q - 8) · d
 */
import { writeFloat16 } from "./float16.ts";
import { bf16, f16, f32 } from "./plain.ts";
import { q4_0 } from "./q4-0.ts";
import { q8_0 } from "./q8-0.ts";
import { roundHalfEven } from "./rounding.ts";

export interface RowType {
  readonly name: string;
  /** Bytes of a row of so many elements. */
  rowBytes(width: number): number;
  encodeRow(values: Float32Array, bytes: Uint8Array): void;
  decodeRow(bytes: Uint8Array, values: Float32Array): void;
}

const plain = (name: string, { blockBytes, encode, decode }: typeof f32): RowType => ({
  name,
  rowBytes: (width) => width * blockBytes,
  encodeRow: (values, bytes) => encode!(values, bytes),
  decodeRow: decode,
});

const int8: RowType = {
  name: "int8",
  rowBytes: (width) => 4 + width,
  encodeRow(values, bytes) {
    let largest = 0;
    for (const value of values) largest = Math.max(largest, Math.abs(value));
    const d = Math.fround(largest / 127);
    new DataView(bytes.buffer, bytes.byteOffset).setFloat32(0, d, true);
    for (let i = 0; i < values.length; i++) {
      const q = d === 0 ? 0 : roundHalfEven(values[i] / d);
      bytes[4 + i] = Math.min(Math.max(q, -127), 127);
    }
  },
  decodeRow(bytes, values) {
    const d = new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
    for (let i = 0; i < values.length; i++) values[i] = d * ((bytes[4 + i] << 24) >> 24);
  },
};

const { blockSize, blockBytes } = q4_0;

/** The row, its last block filled up with 0. */
function wholeBlocks(values: Float32Array): Float32Array {
  if (values.length % blockSize === 0) return values;
  const filled = new Float32Array(Math.ceil(values.length / blockSize) * blockSize);
  filled.set(values);
  return filled;
}

const q8: RowType = {
  name: "q8",
  rowBytes: (width) => Math.ceil(width / q8_0.blockSize) * q8_0.blockBytes,
  encodeRow: (values, bytes) => q8_0.encode!(wholeBlocks(values), bytes),
  decodeRow(bytes, values) {
    const whole = wholeBlocks(values);
    q8_0.decode(bytes, whole);
    if (whole !== values) values.set(whole.subarray(0, values.length));
  },
};

const q4: RowType = {
  name: "q4",
  rowBytes: (width) => Math.ceil(width / blockSize) * blockBytes,
  encodeRow(values, bytes) {
    for (let from = 0, at = 0; from < values.length; from += blockSize, at += blockBytes) {
      let largest = 0;
      for (let i = from; i < Math.min(from + blockSize, values.length); i++)
        if (Math.abs(values[i]) > Math.abs(largest)) largest = values[i];
      const d = largest === 0 ? 0 : largest / -8; // never -0
      writeFloat16(bytes, at, d);
      const quantum = (i: number) =>
        d === 0 || i >= values.length ? 8 : Math.min(15, Math.max(0, Math.floor(values[i] / d + 8.5)));
      for (let j = 0; j < 16; j++) bytes[at + 2 + j] = quantum(from + j) | (quantum(from + j + 16) << 4);
    }
  },
  decodeRow(bytes, values) {
    const whole = Math.floor(values.length / blockSize) * blockSize;
    q4_0.decode(bytes, values.subarray(0, whole));
    if (whole === values.length) return;
    const last = new Float32Array(blockSize);
    q4_0.decode(bytes.subarray((whole / blockSize) * blockBytes), last);
    values.set(last.subarray(0, values.length - whole), whole);
  },
};

export const rowTypes = {
  f32: plain("f32", f32),
  f16: plain("f16", f16),
  bf16: plain("bf16", bf16),
  int8,
  q8,
  q4,
} as const;
export type RowTypeName = keyof typeof rowTypes;
