/**
 * Sums over a ternary matrix that its error measures are made of, in one pass. With u = w / s and t = code - 1:
 *
 *   sums of u, u², u³, u⁴, (u - t)², u t; the largest |u|
 *   counts of t = -1, 0, 1; of |u| < 0.5 (dead zone), ||u| - 0.5| < 0.05 (near the threshold), |u| > 1.5 (saturated)
 *   of codes that differ from `previous` (flipped), and of those whose change is against that from `before` to `previous`
 *   (oscillated)
 *   of weights `kept` from an earlier pass: sums of (w - kept)² / s² and kept² / s²; then kept = w
 *
 * u is rounded to float32; sums are float64 of float32 values, stored as float32 (a count beyond 2^24 loses its last bits).
 * The slow definition: kernel.cc must agree with it on cases.ts.
 */

/** What a slot holds, in this order. */
export const quantErrorFields = [
  ...["sum", "squares", "cubes", "fourths", "errors", "products", "largest"],
  ...["minus", "zero", "plus", "dead", "near", "saturated", "flipped", "oscillated", "moved", "keptSquares"],
] as const;

export type QuantErrorSums = Record<(typeof quantErrorFields)[number], number>;

export interface QuantErrorArrays {
  /** [n] latent weights */
  w: Float32Array;
  /** [n] 0, 1 or 2 */
  codes: Uint8Array;
  /** [1] s */
  scale: Float32Array;
  /** [n] codes of an earlier pass; null: none flipped. */
  previous: Uint8Array | null;
  /** [n] codes of the pass before that; null: none oscillated. */
  before: Uint8Array | null;
  /** [n] weights of an earlier pass, replaced by w; null: not kept. */
  kept: Float32Array | null;
  /** [at least (slot + 1) fields] */
  into: Float32Array;
}

/** @param p fresh: 1 where nothing is in `kept` yet: it counts as w */
export function quantErrorReference(
  { w, codes, scale, previous, before, kept, into }: QuantErrorArrays,
  { n, slot, fresh }: { n: number; slot: number; fresh: number },
): void {
  const { fround, abs } = Math;
  const near = fround(0.05);
  const s = scale[0];
  const of = Object.fromEntries(quantErrorFields.map((field) => [field, 0])) as QuantErrorSums;
  for (let i = 0; i < n; i++) {
    const u = fround(w[i] / s);
    const t = codes[i] - 1;
    of.sum += u;
    of.squares += u * u;
    of.cubes += u * u * u;
    of.fourths += u * u * (u * u);
    of.errors += fround(u - t) ** 2;
    of.products += u * t;
    of.largest = Math.max(of.largest, abs(u));
    if (t < 0) of.minus++;
    else if (t > 0) of.plus++;
    else of.zero++;
    if (abs(u) < 0.5) of.dead++;
    if (abs(fround(abs(u) - 0.5)) < near) of.near++;
    if (abs(u) > 1.5) of.saturated++;
    if (previous && codes[i] !== previous[i]) {
      of.flipped++;
      if (before && (codes[i] - previous[i]) * (previous[i] - before[i]) < 0) of.oscillated++;
    }
    if (!kept) continue;
    const was = fresh ? w[i] : kept[i];
    of.moved += fround(fround(w[i] - was) / s) ** 2;
    of.keptSquares += fround(was / s) ** 2;
    kept[i] = w[i];
  }
  into.set(
    quantErrorFields.map((field) => of[field]),
    slot * quantErrorFields.length,
  );
}
