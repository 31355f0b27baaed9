/**
 * A block format that holds codes 0, 1, 2 (ternary + 1) and one float16 scale, made of how it lays codes out. Called by
 * tq1-0.ts, tq2-0.ts and q2-0.ts.
 */
import type { BlockCodec } from "./codec.ts";
import { readFloat16, writeFloat16 } from "./float16.ts";
import { quantizeBlock, scaleBlock } from "./ternary-blocks.ts";

export interface TernaryLayout {
  name: string;
  blockSize: number;
  blockBytes: number;
  /** Where in the block the scale is. */
  scaleAt: number;
  /** One block of codes from codes[from], to the block at bytes[at]; and back. */
  pack(codes: Uint8Array, from: number, bytes: Uint8Array, at: number): void;
  unpack(bytes: Uint8Array, at: number, codes: Uint8Array, from: number): void;
}

export function makeTernaryCodec(layout: TernaryLayout): Required<BlockCodec> {
  const { name, blockSize, blockBytes, scaleAt, pack, unpack } = layout;
  return {
    name,
    blockSize,
    blockBytes,
    decode(bytes, values) {
      const codes = new Uint8Array(blockSize);
      for (let b = 0, at = 0; b < values.length; b += blockSize, at += blockBytes) {
        unpack(bytes, at, codes, 0);
        scaleBlock(codes, readFloat16(bytes, at + scaleAt), values, b);
      }
    },
    encode(values, bytes) {
      const codes = new Uint8Array(blockSize);
      for (let b = 0, at = 0; b < values.length; b += blockSize, at += blockBytes) {
        const d = quantizeBlock(values, b, blockSize, codes);
        pack(codes, 0, bytes, at);
        writeFloat16(bytes, at + scaleAt, d);
      }
    },
    encodeTernary(codes, scale, bytes) {
      for (let b = 0, at = 0; b < codes.length; b += blockSize, at += blockBytes) {
        pack(codes, b, bytes, at);
        writeFloat16(bytes, at + scaleAt, scale);
      }
    },
    decodeTernary(bytes, codes) {
      for (let b = 0, at = 0; b < codes.length; b += blockSize, at += blockBytes) unpack(bytes, at, codes, b);
    },
  };
}
