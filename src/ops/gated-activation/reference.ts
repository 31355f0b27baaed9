/**
 * Gated feed-forward activation: h = f(gate) * up, element by element.
 *
 *   silu   f(g) = g / (1 + e^-g)       (SwiGLU: Shazeer, arXiv:2002.05202)
 *   relu2  f(g) = max(g, 0)²           (So et al., arXiv:2109.08668)
 *
 * The slow definition, forward and backward. kernel.cc must agree with it on cases.ts. For gates of any finite size the
 * value is finite unless it lies outside float32. NaN gives NaN; a gate of -Infinity gives NaN with silu (as PyTorch
 * does: -Infinity · 0) and 0 with relu2.
 */

/** Numbers by which kernels know the kinds. */
export const kinds = { silu: 0, relu2: 1 } as const;
export type GatedKind = keyof typeof kinds;

/** @param h as many as gate and up; overwritten */
export function gatedForward(
  gate: Float32Array,
  up: Float32Array,
  h: Float32Array,
  { elements, kind }: { elements: number; kind: number },
): void {
  for (let i = 0; i < elements; i++) {
    const g = gate[i];
    const f = kind === kinds.silu ? g / (1 + Math.exp(-g)) : Math.max(g, 0) ** 2;
    h[i] = f * up[i];
  }
}

/**
 * silu:   dgate = dh · up · s · (1 + g · (1 - s)) with s = 1 / (1 + e^-g);   dup = dh · g · s
 * relu2:  dgate = dh · up · 2 max(g, 0);                                     dup = dh · max(g, 0)²
 *
 * @param dgate null where not wanted; added to when addGate is 1, else overwritten
 * @param dup   the same
 */
export function gatedBackward(
  a: {
    gate: Float32Array;
    up: Float32Array;
    dh: Float32Array;
    dgate: Float32Array | null;
    dup: Float32Array | null;
  },
  { elements, kind, addGate, addUp }: { elements: number; kind: number; addGate: number; addUp: number },
): void {
  for (let i = 0; i < elements; i++) {
    const g = a.gate[i];
    let f: number;
    let slope: number;
    if (kind === kinds.silu) {
      const s = 1 / (1 + Math.exp(-g));
      // 1 - s is 1 / (1 + e^g): no cancellation, and no Infinity · 0 for a huge negative gate.
      slope = s * (1 + g / (1 + Math.exp(g)));
      f = g * s;
    } else {
      const r = Math.max(g, 0);
      slope = 2 * r;
      f = r * r;
    }
    const dgate = a.dh[i] * a.up[i] * slope;
    const dup = a.dh[i] * f;
    if (a.dgate) a.dgate[i] = addGate ? a.dgate[i] + dgate : dgate;
    if (a.dup) a.dup[i] = addUp ? a.dup[i] + dup : dup;
  }
}
