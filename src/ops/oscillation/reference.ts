/**
 * Tracks how ternary codes oscillate, and fixes the weights that oscillate most (Nagel et al., "Overcoming Oscillations in
 * Quantization-Aware Training", arXiv:2203.11086), in place. With q the code - 1, m the momentum and th the threshold:
 *
 *   o = 1 where q changed, against the direction of its last change; else 0
 *   f = (1 - m) f + m o            how often it oscillates
 *   e = (1 - m) e + m q            where it is on average
 *   f > th: the weight is fixed: w = s round(e) from now on, s being the matrix's scale at each step
 *
 * Rounding is half to even, so ±0.5 goes to 0. A fixed weight is no longer tracked. The slow definition: kernel.cc must agree
 * with it on cases.ts.
 */

/** Bits of a weight's flags. */
export const flagBits = {
  /** The code when it was last looked at: 0, 1 or 2. */
  code: 0,
  /** Its last change: 0 down, 1 none yet, 2 up. */
  direction: 2,
  /** Whether it is fixed, and at which code. */
  fixed: 4,
  fixedCode: 5,
} as const;

/** Flags of a weight that has not changed yet. */
export const freshFlags = (code: number): number => code | (1 << flagBits.direction);

/** Flags and averages of weights as they are: nothing has oscillated. */
export function oscillationStartReference(codes: Uint8Array, flags: Uint8Array, mean: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) {
    flags[i] = freshFlags(codes[i]);
    mean[i] = codes[i] - 1;
  }
}

export interface OscillationArrays {
  /** [n] latent weights; changed where they are fixed. */
  weight: Float32Array;
  /** [n] 0, 1 or 2: the weights' codes. */
  codes: Uint8Array;
  /** [1] s */
  scale: Float32Array;
  /** [n] `flagBits`, changed. */
  flags: Uint8Array;
  /** [n] f, changed. */
  frequency: Float32Array;
  /** [n] e, changed. */
  mean: Float32Array;
  /** Three numbers at slot * 3: codes that changed, that oscillated, and weights that are fixed. */
  into: Int32Array;
}

/** @param p n; the momentum m; the threshold th; the slot of `into` */
export function oscillationReference(
  { weight, codes, scale, flags, frequency, mean, into }: OscillationArrays,
  p: { n: number; momentum: number; threshold: number; slot: number },
): void {
  const counts = [0, 0, 0];
  const keep = 1 - p.momentum;
  const threshold = Math.fround(p.threshold);
  for (let i = 0; i < p.n; i++) {
    const bits = (at: number, mask: number) => (flags[i] >> at) & mask;
    let fixedCode = bits(flagBits.fixedCode, 3);
    let fixed = bits(flagBits.fixed, 1) === 1;
    if (!fixed) {
      const code = codes[i];
      const changed = code !== bits(flagBits.code, 3);
      const before = bits(flagBits.direction, 3);
      const now = code > bits(flagBits.code, 3) ? 2 : 0;
      const oscillated = changed && before === 2 - now;
      frequency[i] = keep * frequency[i] + (oscillated ? p.momentum : 0);
      mean[i] = keep * mean[i] + p.momentum * (code - 1);
      flags[i] = code | ((changed ? now : before) << flagBits.direction);
      if (changed) counts[0]++;
      if (oscillated) counts[1]++;
      if (frequency[i] > threshold) {
        fixed = true;
        fixedCode = mean[i] > 0.5 ? 2 : mean[i] < -0.5 ? 0 : 1;
        flags[i] |= (1 << flagBits.fixed) | (fixedCode << flagBits.fixedCode);
      }
    }
    if (!fixed) continue;
    counts[2]++;
    weight[i] = (fixedCode - 1) * scale[0];
  }
  into.set(counts, p.slot * 3);
}
