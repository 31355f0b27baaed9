/**
 * Ternary matrices as transformers' BitNet integration packs them: four codes a byte, two bits each, interleaved over
 * quarters of the rows. With R = N / 4, byte [r, c] of [R, K] holds the codes of
 *
 *   row r in bits 0-1 | row r + R in bits 2-3 | row r + 2R in bits 4-5 | row r + 3R in bits 6-7
 *
 * (transformers, src/transformers/integrations/bitnet.py, pack_weights and unpack_weights). Pure functions.
 */

const perByte = 4;

/** Can N rows be packed? Buffers in transformers have N / 4 rows, rounded down. */
export const canPackRows = (rows: number): boolean => rows % perByte === 0;

/**
 * @param codes [N, K], 0, 1 or 2 (weight + 1), N a multiple of 4
 * @returns     [N / 4, K]
 */
export function packHuggingFace(codes: Uint8Array): Uint8Array {
  const quarter = codes.length / perByte;
  const packed = new Uint8Array(quarter);
  for (let part = 0; part < perByte; part++) {
    const from = part * quarter;
    for (let i = 0; i < quarter; i++) packed[i] |= codes[from + i] << (2 * part);
  }
  return packed;
}

/**
 * The codes [N, K] of packed bytes [N / 4, K].
 *
 * @returns the codes, and the place of the first byte with a code 3, which stands for nothing; null where there is none
 */
export function unpackHuggingFace(packed: Uint8Array): { codes: Uint8Array; wrongAt: number | null } {
  const codes = new Uint8Array(packed.length * perByte);
  let wrongAt: number | null = null;
  for (let part = 0; part < perByte; part++) {
    const from = part * packed.length;
    for (let i = 0; i < packed.length; i++) {
      const code = (packed[i] >> (2 * part)) & 3;
      if (code === 3 && (wrongAt === null || i < wrongAt)) wrongAt = i;
      codes[from + i] = code;
    }
  }
  return { codes, wrongAt };
}
