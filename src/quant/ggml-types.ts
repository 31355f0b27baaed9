/**
 * The tensor formats of GGUF files by their numbers, as far as we read or write them; the rest by name, for messages.
 * I2_S is bitnet.cpp's number 36, which llama.cpp gave up.
 */
import type { BlockCodec } from "./codec.ts";
import { i2sBlockSize, i2sBytes } from "./i2-s.ts";
import { bf16, f16, f32 } from "./plain.ts";
import { q2_0 } from "./q2-0.ts";
import { q4_0 } from "./q4-0.ts";
import { q4_k, q5_k } from "./q4-k-q5-k.ts";
import { q6_k } from "./q6-k.ts";
import { q8_0 } from "./q8-0.ts";
import { tq1_0 } from "./tq1-0.ts";
import { tq2_0 } from "./tq2-0.ts";

const codecs = {
  F32: { id: 0, codec: f32 },
  F16: { id: 1, codec: f16 },
  Q4_0: { id: 2, codec: q4_0 },
  Q8_0: { id: 8, codec: q8_0 },
  Q4_K: { id: 12, codec: q4_k },
  Q5_K: { id: 13, codec: q5_k },
  Q6_K: { id: 14, codec: q6_k },
  BF16: { id: 30, codec: bf16 },
  TQ1_0: { id: 34, codec: tq1_0 },
  TQ2_0: { id: 35, codec: tq2_0 },
  Q2_0: { id: 42, codec: q2_0 },
} as const satisfies Record<string, { id: number; codec: BlockCodec }>;

export type BlockTypeName = keyof typeof codecs;
export type GgmlTypeName = BlockTypeName | "I2_S";

/** Formats that we know by name alone. */
const others: Record<number, string> = {
  3: "Q4_1",
  6: "Q5_0",
  7: "Q5_1",
  9: "Q8_1",
  10: "Q2_K",
  11: "Q3_K",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  37: "TL1 or TL2",
  38: "TL1 or TL2",
  39: "MXFP4",
  40: "NVFP4",
  41: "Q1_0",
};

const nameOfId = new Map<number, GgmlTypeName>([
  ...Object.entries(codecs).map(([name, { id }]) => [id as number, name as GgmlTypeName] as const),
  [36, "I2_S"],
]);

/** Every format that we read. */
export const ggmlTypeNames: readonly GgmlTypeName[] = [...nameOfId.values()];

export const ggmlTypeOf = (id: number): GgmlTypeName | undefined => nameOfId.get(id);
export const ggmlTypeId = (name: GgmlTypeName): number => (name === "I2_S" ? 36 : codecs[name].id);
/** For messages: "Q5_1 (7)". */
export const describeGgmlType = (id: number): string => {
  const name = ggmlTypeOf(id) ?? others[id];
  return name ? `${name} (${id})` : `of number ${id}`;
};

export const codecOf = (name: BlockTypeName): BlockCodec => codecs[name].codec;

/** Elements that a row's length is a multiple of. */
export const rowMultiple = (name: GgmlTypeName): number =>
  name === "I2_S" ? i2sBlockSize : codecs[name].codec.blockSize;

/** Bytes of a tensor of `count` elements whose rows are whole blocks. */
export function ggmlBytes(name: GgmlTypeName, count: number): number {
  if (name === "I2_S") return i2sBytes(count);
  const { blockSize, blockBytes } = codecs[name].codec;
  return (count / blockSize) * blockBytes;
}
