/**
 * Gated activation and RMSNorm with int8 codes as their output, as an op: what the down projection of a BitLinear
 * feed-forward reads. Neither the hidden activations nor their norm are ever in memory; kept are gate and up. The
 * definition is in reference.ts; the gradient is straight-through.
 */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { activationEps } from "../activation-quant/index.ts";
import type { GatedActivationParams } from "../gated-activation/index.ts";
import { kinds } from "../gated-activation/reference.ts";
import { type Op, sizeOf } from "../op.ts";
import type { RmsNormParams } from "../rms-norm/index.ts";
import { gatedNormQuantBackward, gatedNormQuantForward } from "./reference.ts";

const forward = defineKernel({
  name: "gated_norm_quant",
  buffers: { gate: "f32", up: "f32", gain: "f32", codes: "i8", scale: "f32", sums: "i32", inverse: "f32" },
  params: ["rows", "width", "kind", "eps", "quantEps"],
  sizes: {
    gate: ["rows", "width"],
    up: ["rows", "width"],
    gain: ["width"],
    codes: ["rows", "width"],
    scale: ["rows"],
    sums: ["rows"],
    inverse: ["rows"],
  },
  reference: (a, p) => gatedNormQuantForward(a, p, p.eps, p.quantEps),
});

/** dgate, dup and dgain may be null. */
const backward = defineKernel({
  name: "gated_norm_quant_backward",
  buffers: {
    gate: "f32",
    up: "f32",
    gain: "f32",
    inverse: "f32",
    dy: "f32",
    dgate: "f32",
    dup: "f32",
    dgain: "f32",
  },
  params: ["rows", "width", "kind", "addGate", "addUp", "addGain"],
  sizes: {
    gate: ["rows", "width"],
    up: ["rows", "width"],
    gain: ["width"],
    inverse: ["rows"],
    dy: ["rows", "width"],
    dgate: ["rows", "width"],
    dup: ["rows", "width"],
    dgain: ["width"],
  },
  reference: (a, p) => gatedNormQuantBackward(a, p),
});

/**
 * inputs: gate [..., F], of M rows, up like it, gain [F]; outputs: codes i8 like gate, scale [M] and sums i32 [M], as
 * ops/activation-quant gives them. Gate and up are two tensors.
 */
export const gatedNormQuant: Op<GatedActivationParams & RmsNormParams> = {
  name: "gated-norm-quant",
  forward(cx, [gate, up, gain], { kind, eps }) {
    const width = gate.shape[gate.shape.length - 1];
    if (gate.shape.join() !== up.shape.join() || gain.shape.length !== 1 || gain.shape[0] !== width)
      throw new ShapeError(
        `gated-norm-quant: gate is [${gate.shape}], up is [${up.shape}], gain is [${gain.shape}]; expected gate and up of one shape, and gain [${width}]`,
      );
    if (gate.buffer === up.buffer)
      throw new ShapeError("gated-norm-quant: gate and up are on one memory; expected two tensors");
    const rows = sizeOf(gate.shape) / width;
    const codes = cx.create(gate.shape, "i8");
    const scale = cx.create([rows], "f32");
    const sums = cx.create([rows], "i32");
    const inverse = cx.create([rows], "f32");
    cx.backend.launch(
      forward,
      { gate, up, gain, codes, scale, sums, inverse },
      { rows, width, kind: kinds[kind], eps, quantEps: activationEps },
    );
    return { outputs: [codes, scale, sums], saved: [gate, up, gain, inverse] };
  },
  backward(cx, [gate, up, gain, inverse], [dy], { kind }) {
    if (!dy) return;
    const [dgate, dup, dgain] = [cx.gradient(0), cx.gradient(1), cx.gradient(2)];
    if (!dgate && !dup && !dgain) return;
    cx.backend.launch(
      backward,
      {
        ...{ gate, up, gain, inverse, dy },
        ...{ dgate: dgate?.array ?? null, dup: dup?.array ?? null, dgain: dgain?.array ?? null },
      },
      {
        ...{ rows: inverse.shape[0], width: gain.shape[0], kind: kinds[kind] },
        ...{ addGate: dgate?.accumulate ?? 0, addUp: dup?.accumulate ?? 0, addGain: dgain?.accumulate ?? 0 },
      },
    );
  },
};
