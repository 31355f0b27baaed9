/**
 * Master weights on a grid of numbers (float32, bfloat16, float16) from which the quantiser of Hugging Face makes given
 * codes and a given scale, to the last bit:
 *
 *   fround(mean|v|) = scale,   clip(round(v · fround(1 / scale))) = codes
 *
 * What it is for: weights written in 16 bits, or trained with the paper's rule (s = mean|w| + eps) and read by programs
 * that use the other (s = max(mean|w|, eps)), would else come out with another scale and some other codes. Every weight
 * goes to the number nearest to w · scale / mean|w|, on its own side of the threshold between 0 and ±1; then some go one
 * number up or down, so that the sum is right. Pure; called where models are exported.
 */
import { fromBfloat16Bits, toBfloat16Bits } from "./bfloat16.ts";
import { fromFloat16Bits, toFloat16Bits } from "./float16.ts";

/** Numbers from 0 up, in order, by their bits. */
export interface NumberGrid {
  readonly name: string;
  /** Bits of the number nearest to x >= 0. */
  toBits(x: number): number;
  fromBits(bits: number): number;
  /** Bits of infinity: finite numbers are below. */
  readonly endBits: number;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);
export const float32Grid: NumberGrid = {
  name: "float32",
  toBits(x) {
    float[0] = x;
    return word[0];
  },
  fromBits(bits) {
    word[0] = bits;
    return float[0];
  },
  endBits: 0x7f800000,
};
export const bfloat16Grid: NumberGrid = {
  name: "bfloat16",
  toBits: toBfloat16Bits,
  fromBits: fromBfloat16Bits,
  endBits: 0x7f80,
};
export const float16Grid: NumberGrid = {
  name: "float16",
  toBits: toFloat16Bits,
  fromBits: fromFloat16Bits,
  endBits: 0x7c00,
};

/** Thresholds are kept clear of by this much, relative: sums in float32, in whatever order, move the scale by less. */
const margin = 2 ** -18;

/**
 * @param weights their signs are kept, and their size as far as the rest allows
 * @param codes   0, 1 or 2 (weight + 1), of the same length
 * @param scale   a float32, above 0
 * @returns the weights, every one a number of the grid; null where the grid is too coarse (a scale below float16's
 *   subnormals, a handful of weights)
 */
export function fitTernary(
  weights: Float32Array,
  codes: Uint8Array,
  scale: number,
  grid: NumberGrid,
): Float32Array | null {
  const size = weights.length;
  const target = scale * size;
  let sum = 0;
  for (let i = 0; i < size; i++) sum += Math.abs(weights[i]);
  if (!(sum > 0) || !Number.isFinite(sum)) return null;
  const factor = target / sum;
  const zeroEnd = grid.toBits(scale * 0.5 * (1 - margin)) - 1;
  const oneStart = grid.toBits(scale * 0.5 * (1 + margin)) + 1;
  if (zeroEnd < 0 || oneStart >= grid.endBits) return null;
  const lowest = (i: number) => (codes[i] === 1 ? 0 : oneStart);
  const highest = (i: number) => (codes[i] === 1 ? zeroEnd : grid.endBits - 1);

  const bits = new Uint32Array(size);
  let missing = target;
  for (let i = 0; i < size; i++) {
    const wanted = grid.toBits(Math.abs(weights[i]) * factor);
    bits[i] = Math.min(Math.max(wanted, lowest(i)), highest(i));
    missing -= grid.fromBits(bits[i]);
  }
  // The mean must round to the scale: half a step of float32 either way would do.
  const enough = 0.2 * size * 2 ** (Math.floor(Math.log2(scale)) - 23);
  const move = (i: number, to: number) => {
    missing += grid.fromBits(bits[i]) - grid.fromBits(to);
    bits[i] = to;
  };
  // Steps of every size come by, so what is missing soon is less than the smallest.
  for (let pass = 0; pass < 4 && Math.abs(missing) > enough; pass++)
    for (let i = 0; i < size && Math.abs(missing) > enough; i++) {
      const to = bits[i] + Math.sign(missing);
      if (to < lowest(i) || to > highest(i)) continue;
      const step = grid.fromBits(to) - grid.fromBits(bits[i]);
      if (Math.abs(missing - step) < Math.abs(missing)) move(i, to);
    }
  if (Math.abs(missing) > enough && !absorb()) return null;
  const fitted = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const value = grid.fromBits(bits[i]);
    fitted[i] = codes[i] === 0 || (codes[i] === 1 && weights[i] < 0) ? -value : value;
  }
  return fitted;

  /**
   * Numbers lie closest near 0: one small weight takes what is missing, rounded down, and the smallest of all takes what
   * that leaves. Zeros need not be 0. Where too much is there and they have nothing to give, as those of packed weights, which
   * all are 0, a weight of code 0 or 2 goes one number down first.
   */
  function absorb(): boolean {
    if (missing < 0) {
      const give = bits.findIndex((own, i) => codes[i] !== 1 && own > lowest(i) && stepDown(own) >= -missing);
      const have = codes.some((code, i) => code === 1 && grid.fromBits(bits[i]) + missing >= 0);
      if (!have && give >= 0) move(give, bits[give] - 1);
    }
    let smallest = -1;
    for (let i = 0; i < size; i++) if (codes[i] === 1 && (smallest < 0 || bits[i] < bits[smallest])) smallest = i;
    if (smallest < 0) return false;
    move(smallest, 0);
    let taker = -1;
    for (let i = 0; i < size; i++)
      if (codes[i] === 1 && i !== smallest && grid.fromBits(bits[i]) + missing >= 0)
        if (taker < 0 || bits[i] < bits[taker]) taker = i;
    if (taker < 0) {
      const only = missing >= 0 ? grid.toBits(missing) : zeroEnd + 1;
      if (only > zeroEnd) return false;
      move(smallest, only);
      return Math.abs(missing) <= enough;
    }
    const wanted = grid.fromBits(bits[taker]) + missing;
    const nearest = grid.toBits(wanted);
    const below = grid.fromBits(nearest) > wanted ? nearest - 1 : nearest;
    if (below > zeroEnd) return false;
    move(taker, below);
    const rest = grid.toBits(missing);
    if (rest > zeroEnd) return false;
    move(smallest, rest);
    return Math.abs(missing) <= enough;
  }

  function stepDown(own: number): number {
    return grid.fromBits(own) - grid.fromBits(own - 1);
  }
}
