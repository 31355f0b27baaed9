/**
 * Ternary weights packed for the inference engine: 2 bits each, or five to a byte (1.6 bits). Rows stand in panels of 16,
 * interleaved in fours of bytes, as the kernels read them (ops/packed-linear/panel.h shows why):
 *
 *   block   64 bytes: 4 bytes of each of a panel's 16 rows; a panel is ceil(K / weights of a block) of them
 *   2bit    16 weights of each row in a block: bits 2j, 2j+1 of byte b hold weight 4j + b
 *   trits   20 weights: byte b is ceil(value · 256 / 243), value = sum over t of code(4t + b) · 3^(4-t)
 *
 * A code is q + 1: 0, 1 or 2. Rows past N and weights past K are filled with 1, which is no weight. Pure functions; the
 * definition of what pack_ternary and the kernels do.
 */

export type TernaryFormat = "2bit" | "trits";

export const panelRows = 16;
const blockBytes = 64;
/** Fours of weights of one row in a block. */
const wordsOf: Record<TernaryFormat, number> = { "2bit": 4, trits: 5 };

/** Bytes of one panel of rows of K weights. */
function panelBytes(k: number, format: TernaryFormat): number {
  return Math.ceil(k / (4 * wordsOf[format])) * blockBytes;
}

/** Bytes of N rows of K weights, whole panels. */
export function packedBytes(n: number, k: number, format: TernaryFormat): number {
  return Math.ceil(n / panelRows) * panelBytes(k, format);
}

/** Where rows go among the packed ones: row n to `first` + floor(n / 16) · `step` + n mod 16. */
export interface RowPlacement {
  first: number;
  /** 16: one after the other; 32: every other 16, for the gate and up of a feed-forward, which take turns. */
  step: number;
}

/**
 * Packs rows of codes.
 *
 * @param codes  [N, K], 0, 1 or 2
 * @param packed whole panels, enough for the placement; the bytes of these rows are overwritten
 */
export function packTernary(
  codes: Uint8Array,
  n: number,
  k: number,
  format: TernaryFormat,
  packed: Uint8Array,
  { first, step }: RowPlacement = { first: 0, step: panelRows },
): void {
  if (codes.length !== n * k) throw new RangeError(`pack ternary: ${codes.length} codes came for [${n}, ${k}]`);
  const words = wordsOf[format];
  const stride = panelBytes(k, format);
  for (let row = 0; row < n; row++) {
    const at = first + Math.floor(row / panelRows) * step + (row % panelRows);
    let to = Math.floor(at / panelRows) * stride + (at % panelRows) * 4;
    for (let from = 0; from < k; from += 4 * words, to += blockBytes) {
      for (let b = 0; b < 4; b++) {
        let value = 0;
        for (let t = 0; t < words; t++) {
          const i = from + 4 * t + b;
          const code = i < k ? codes[row * k + i] : 1;
          value = format === "trits" ? 3 * value + code : value | (code << (2 * t));
        }
        packed[to + b] = format === "trits" ? Math.ceil((value * 256) / 243) : value;
      }
    }
  }
}

/** The codes [N, K] of packed rows from `first` on, placed as packTernary does. */
export function unpackTernary(
  packed: Uint8Array,
  n: number,
  k: number,
  format: TernaryFormat,
  { first, step }: RowPlacement = { first: 0, step: panelRows },
): Uint8Array {
  const words = wordsOf[format];
  const stride = panelBytes(k, format);
  const codes = new Uint8Array(n * k);
  for (let row = 0; row < n; row++) {
    const at = first + Math.floor(row / panelRows) * step + (row % panelRows);
    const start = Math.floor(at / panelRows) * stride + (at % panelRows) * 4;
    for (let i = 0; i < k; i++) {
      const word = i >> 2;
      const byte = packed[start + Math.floor(word / words) * blockBytes + (i & 3)];
      const t = word % words;
      codes[row * k + i] = format === "trits" ? (((byte * 3 ** t) & 255) * 3) >> 8 : (byte >> (2 * t)) & 3;
    }
  }
  return codes;
}
