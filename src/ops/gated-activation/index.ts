/** Gated feed-forward activation as an op: contract, kernels and gradient. The definition is in reference.ts. */
import { defineKernel } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { type GatedKind, gatedBackward, gatedForward, kinds } from "./reference.ts";

export type { GatedKind } from "./reference.ts";

export interface GatedActivationParams {
  kind: GatedKind;
}

const forward = defineKernel({
  name: "gated_activation_forward",
  buffers: { gate: "f32", up: "f32", h: "f32" },
  params: ["elements", "kind"],
  sizes: { gate: ["elements"], up: ["elements"], h: ["elements"] },
  reference: (a, p) => gatedForward(a.gate, a.up, a.h, p),
});

/** dgate and dup may be null. */
const backward = defineKernel({
  name: "gated_activation_backward",
  buffers: { gate: "f32", up: "f32", dh: "f32", dgate: "f32", dup: "f32" },
  params: ["elements", "kind", "addGate", "addUp"],
  sizes: { gate: ["elements"], up: ["elements"], dh: ["elements"], dgate: ["elements"], dup: ["elements"] },
  reference: (a, p) => gatedBackward(a, p),
});

/** inputs: gate [..., F], up [..., F]; output: h like gate. */
export const gatedActivation: Op<GatedActivationParams> = {
  name: "gated-activation",
  forward(cx, [gate, up], { kind }) {
    if (gate.shape.join() !== up.shape.join())
      throw new ShapeError(`gated-activation: gate is [${gate.shape}], up is [${up.shape}]; expected one shape`);
    const h = cx.create(gate.shape, "f32");
    cx.backend.launch(forward, { gate, up, h }, { elements: sizeOf(gate.shape), kind: kinds[kind] });
    return { outputs: [h], saved: [gate, up] };
  },
  backward(cx, [gate, up], [dh], { kind }) {
    if (!dh) return;
    const inputs = { gate, up, dh };
    const sizes = { elements: sizeOf(gate.shape), kind: kinds[kind] };
    const dgate = cx.gradient(0);
    // Two inputs on one memory may be one tensor, whose gradient must be filled once before it is asked for again.
    const together = gate.buffer !== up.buffer;
    if (dgate && !together)
      cx.backend.launch(
        backward,
        { ...inputs, dgate: dgate.array, dup: null },
        { ...sizes, addGate: dgate.accumulate, addUp: 0 },
      );
    const dup = cx.gradient(1);
    const first = together ? dgate : null;
    if (first || dup)
      cx.backend.launch(
        backward,
        { ...inputs, dgate: first?.array ?? null, dup: dup?.array ?? null },
        { ...sizes, addGate: first?.accumulate ?? 0, addUp: dup?.accumulate ?? 0 },
      );
  },
};
