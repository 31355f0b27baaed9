/**
 * Gated activation, RMSNorm, then int8 codes of each row: `quantizeActivations(rmsNorm(f(gate) * up))`, the prologue of
 * the down projection. The parts are defined in ops/gated-activation, ops/rms-norm and ops/activation-quant; kernel.cc
 * does them in one pass.
 */
import { gatedBackward, gatedForward } from "../gated-activation/reference.ts";
import { normQuantForward } from "../norm-quant/reference.ts";
import { rmsNormBackwardGain, rmsNormBackwardInput } from "../rms-norm/reference.ts";

interface Sizes {
  rows: number;
  width: number;
  /** As gated-activation's `kinds`. */
  kind: number;
}

/** gate, up [M, F], gain [F]; codes [M, F], scale [M], sums [M] and inverse [M] are overwritten. */
export function gatedNormQuantForward(
  a: {
    gate: Float32Array;
    up: Float32Array;
    gain: Float32Array;
    codes: Int8Array;
    scale: Float32Array;
    sums: Int32Array;
    inverse: Float32Array;
  },
  { rows, width, kind }: Sizes,
  eps: number,
  quantEps: number,
): void {
  const x = new Float32Array(rows * width);
  gatedForward(a.gate, a.up, x, { elements: rows * width, kind });
  normQuantForward({ ...a, x }, rows, width, eps, quantEps);
}

/** Straight through the codes: dy [M, F] is the gradient of the normed values. dgate, dup and dgain may be null. */
export function gatedNormQuantBackward(
  a: {
    gate: Float32Array;
    up: Float32Array;
    gain: Float32Array;
    inverse: Float32Array;
    dy: Float32Array;
    dgate: Float32Array | null;
    dup: Float32Array | null;
    dgain: Float32Array | null;
  },
  { rows, width, kind, addGate, addUp, addGain }: Sizes & { addGate: number; addUp: number; addGain: number },
): void {
  const elements = rows * width;
  const h = new Float32Array(elements);
  const dh = new Float32Array(elements);
  gatedForward(a.gate, a.up, h, { elements, kind });
  rmsNormBackwardInput(h, a.gain, a.inverse, a.dy, dh, rows, width, 0);
  if (a.dgain) rmsNormBackwardGain(h, a.inverse, a.dy, a.dgain, rows, width, addGain);
  gatedBackward({ ...a, dh }, { elements, kind, addGate, addUp });
}
