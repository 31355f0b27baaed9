/**
 * Between ternary matrices and floats: finding codes and scale in floats that are ternary already, and the master weights
 * from which training's own quantiser makes exactly these codes and this scale. Called where models are imported.
 */

export interface TernaryMatrix {
  /** 0, 1 or 2: weight + 1. */
  codes: Uint8Array;
  /** gamma; 0 where every weight is 0. */
  scale: number;
}

/** Codes and scale of values that are all -g, 0 or +g for one g; null where they are not. */
export function ternaryOf(values: Float32Array): TernaryMatrix | null {
  let scale = 0;
  for (const value of values)
    if (value !== 0) {
      scale = Math.abs(value);
      break;
    }
  const codes = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value === 0) codes[i] = 1;
    else if (value === scale) codes[i] = 2;
    else if (value === -scale) codes[i] = 0;
    else return null; // NaN too
  }
  return { codes, scale };
}

/**
 * Float weights w with mean|w| = scale, to the last bit of float32, and the signs of the codes: so that
 * `s = max(mean|w|, eps)` is the scale (for eps <= scale) and clip(round(w / s)) are the codes.
 *
 * Every weight that is not zero is ± scale / density, density being the share of such weights. That number is rounded to
 * float32, so some weights are one step larger or smaller, to make the sum right. (Where a single weight is not zero, the
 * mean may be off by its last bit.)
 */
export function masterWeightsOf({ codes, scale }: TernaryMatrix): Float32Array {
  const weights = new Float32Array(codes.length);
  let count = 0;
  for (const code of codes) if (code !== 1) count++;
  if (count === 0 || scale === 0) return weights;
  const sum = scale * codes.length;
  const size = Math.fround(sum / count);
  const bits = new Uint32Array(Float32Array.of(size).buffer)[0];
  const stepTo = (by: number) => new Float32Array(Uint32Array.of(bits + by).buffer)[0];
  const missing = sum - count * size;
  const direction = Math.sign(missing);
  const other = stepTo(direction);
  let left = direction === 0 ? 0 : Math.round(missing / (other - size));
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] === 1) continue;
    const magnitude = left > 0 ? other : size;
    if (left > 0) left--;
    weights[i] = codes[i] === 2 ? magnitude : -magnitude;
  }
  return weights;
}
