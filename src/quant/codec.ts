/**
 * What the number formats of GGUF tensors have in common: a block of so many elements takes so many bytes, and knows
 * nothing of its neighbours. Each format has a file of its own; ggml-types.ts lists them by their number in a file.
 *
 * `bytes` and `values` hold whole blocks; a caller checks sizes once, for the tensor (formats/gguf). Numbers in bytes are
 * little-endian. Layouts: ggml-common.h and ggml-quants.c of llama.cpp.
 */
export interface BlockCodec {
  /** As llama.cpp names it: "TQ2_0". */
  readonly name: string;
  /** Elements in a block; a row's length is a multiple. */
  readonly blockSize: number;
  readonly blockBytes: number;
  /** Bytes to float32; `values.length / blockSize` blocks. */
  decode(bytes: Uint8Array, values: Float32Array): void;
  /** float32 to bytes, rounding as llama.cpp's quantiser does. Absent: the format is only read. */
  encode?(values: Float32Array, bytes: Uint8Array): void;
  /**
   * Ternary weights, exactly: codes 0, 1, 2 (weight + 1), the scale being the caller's business: a block's own scale is
   * `scale` (rounded to float16 where the format has that). Absent: `encode` the products instead.
   */
  encodeTernary?(codes: Uint8Array, scale: number, bytes: Uint8Array): void;
  /** Codes 0, 1, 2 of a format that holds nothing else; scales are left aside. */
  decodeTernary?(bytes: Uint8Array, codes: Uint8Array): void;
}
