/** F32, F16 and BF16 as tensor formats: an element is a block of its own. */
import { fromBfloat16Bits, toBfloat16Bits } from "./bfloat16.ts";
import type { BlockCodec } from "./codec.ts";
import { fromFloat16Bits, toFloat16Bits } from "./float16.ts";

export const f32: BlockCodec = {
  name: "F32",
  blockSize: 1,
  blockBytes: 4,
  decode(bytes, values) {
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes.subarray(0, values.byteLength));
  },
  encode(values, bytes) {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  },
};

const halves = (name: string, from: (bits: number) => number, to: (x: number) => number): BlockCodec => ({
  name,
  blockSize: 1,
  blockBytes: 2,
  decode(bytes, values) {
    for (let i = 0; i < values.length; i++) values[i] = from(bytes[2 * i] | (bytes[2 * i + 1] << 8));
  },
  encode(values, bytes) {
    for (let i = 0; i < values.length; i++) {
      const h = to(values[i]);
      bytes[2 * i] = h & 0xff;
      bytes[2 * i + 1] = h >> 8;
    }
  },
});

export const f16 = halves("F16", fromFloat16Bits, toFloat16Bits);
export const bf16 = halves("BF16", fromBfloat16Bits, toBfloat16Bits);
