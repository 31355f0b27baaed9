/**
 * Compares arrays of numbers and says what is wrong where: length first, then NaN, then the bound, with the worst index
 * and both values. Its own tests stand beside it.
 */
export interface Bound {
  /** Largest |actual - expected|. */
  abs?: number;
  /** Added to abs: this times |expected|. */
  rel?: number;
}

export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: Bound,
  what = "array",
): void {
  if (actual.length !== expected.length)
    throw new Error(`${what}: has ${actual.length} elements, expected ${expected.length}`);
  let worst = -1;
  let worstExcess = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i];
    const e = expected[i];
    if (Number.isNaN(a) || Number.isNaN(e)) {
      if (Number.isNaN(a) !== Number.isNaN(e)) throw new Error(`${what}[${i}]: is ${a}, expected ${e}`);
      continue;
    }
    if (a === e) continue; // equal infinities too
    // Nothing is near an infinity but itself; a bound relative to one would be NaN.
    const excess = Number.isFinite(e)
      ? Math.abs(a - e) - ((bound.abs ?? 0) + (bound.rel ?? 0) * Math.abs(e))
      : Number.POSITIVE_INFINITY;
    if (excess > worstExcess) {
      worst = i;
      worstExcess = excess;
    }
  }
  if (worst >= 0)
    throw new Error(
      `${what}[${worst}]: is ${actual[worst]}, expected ${expected[worst]}; off by ${Math.abs(actual[worst] - expected[worst])}, bound abs ${bound.abs ?? 0} + rel ${bound.rel ?? 0}`,
    );
}
