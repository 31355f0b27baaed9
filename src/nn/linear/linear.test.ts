// Oracles: the definitions, in float64 loops of their own: y = Qx(x) · Qw(W)ᵀ + residual, and the straight-through rule
// dx = dy · Qw(W), dW = dyᵀ · Qx(x), scaled by the estimator's rule. Bound: float32 sums of up to 96 products.
import { describe, expect, test } from "vitest";
import { forEachBackend } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { quantizeActivations } from "../../ops/activation-quant/reference.ts";
import * as rules from "../../ops/ternary-estimator/reference.ts";
import { quantizeInt8Blocks } from "../../ops/int8-blocks/reference.ts";
import { quantizeWeights } from "../../ops/weight-quant/reference.ts";
import { createRandom } from "../../platform/random.ts";
import { Runtime, Tensor } from "../../tensor/index.ts";
import { crossEntropy } from "../../ops/cross-entropy/index.ts";
import { activationQuantizers, estimators, ParameterFactory, weightQuantizers } from "../index.ts";
import { applyLinear, kindOf, LinearInput, LinearLayer, type LinearSpec } from "./index.ts";

const [M, K] = [6, 96];
const scale = { rule: "add", eps: 1e-6 } as const;
const progress = 0.6;

const estimatorSettings: Record<string, Record<string, number>> = {
  identity: {},
  clipped: { limit: 1 },
  quest: { trust: 0.4 },
  soft: { from: 0.1, to: 10, threshold: 0.5 },
  ewgs: { delta: 0.5 },
  reste: { to: 3, limit: 1.5, center: 0.1, threshold: 0.5 },
};

/** The gradient of the weights, of that at the quantized ones. */
function estimated(estimator: string, w: Float32Array, s: number, gradient: Float64Array): ArrayLike<number> {
  const settings = estimatorSettings[estimator];
  const arrays = {
    w,
    codes: roundedWeights(w, "absmean").codes!,
    scale: Float32Array.of(s),
    dy: Float32Array.from(gradient),
    dw: new Float32Array(w.length),
  };
  const sizes = { size: w.length, accumulate: 0 };
  const { trust, delta, limit, center, threshold, from, to } = settings;
  if (estimator === "identity") return gradient;
  if (estimator === "clipped") return gradient.map((g, i) => (Math.abs(w[i]) <= s ? g : 0));
  if (estimator === "quest") rules.trustBackward(arrays, { ...sizes, trust });
  if (estimator === "soft")
    rules.softBackward(arrays, { ...sizes, ...rules.softSlope({ from, to, progress }), threshold });
  if (estimator === "ewgs") rules.ewgsBackward(arrays, { ...sizes, delta });
  if (estimator === "reste")
    rules.resteBackward(arrays, { ...sizes, order: rules.resteOrder({ to, progress }), limit, center, threshold });
  return arrays.dw;
}

function spec(name: string, weights: string, activations: string, estimator = "identity", outputs = 10): LinearSpec {
  return {
    name,
    inputs: K,
    outputs,
    weights: weights === "none" ? null : { quantizer: weightQuantizers.get(weights), settings: {} },
    activations: activations === "none" ? null : activationQuantizers.get(activations),
    estimator: { estimator: estimators.get(estimator), settings: estimatorSettings[estimator] },
    scale,
    requantizeEvery: 1,
    initStd: 0.5,
  };
}

function roundedInput(x: Float32Array, activations: string): Float32Array {
  if (activations === "none") return x;
  const codes = new Int8Array(x.length);
  const scales = new Float32Array(M);
  quantizeActivations(x, codes, scales, new Int32Array(M), M, K, 1e-5);
  return x.map((_, i) => codes[i] * scales[Math.floor(i / K)]);
}

/** The values that the weights count for, and the scale of ternary ones. */
function roundedWeights(w: Float32Array, weights: string): { values: Float32Array; s: number; codes?: Uint8Array } {
  if (weights === "none") return { values: w, s: Number.POSITIVE_INFINITY };
  if (weights === "int8") {
    const values = new Float32Array(w.length);
    quantizeInt8Blocks(w, values, { size: w.length });
    return { values, s: Number.POSITIVE_INFINITY };
  }
  const codes = new Uint8Array(w.length);
  const s = new Float32Array(1);
  quantizeWeights(w, codes, s, scale.rule, scale.eps);
  return { values: w.map((_, i) => (codes[i] - 1) * s[0]), s: s[0], codes };
}

const settings = [
  { weights: "absmean", activations: "absmax8", kind: "ternary" },
  { weights: "absmean", activations: "absmax8", estimator: "clipped", kind: "ternary" },
  { weights: "absmean", activations: "absmax8", estimator: "quest", kind: "ternary" },
  { weights: "absmean", activations: "absmax8", estimator: "soft", kind: "ternary" },
  { weights: "absmean", activations: "none", kind: "simulated" },
  { weights: "absmean", activations: "none", estimator: "clipped", kind: "simulated" },
  { weights: "absmean", activations: "none", estimator: "ewgs", kind: "simulated" },
  { weights: "absmean", activations: "none", estimator: "reste", kind: "simulated" },
  { weights: "int8", activations: "none", kind: "simulated" },
  { weights: "int8", activations: "absmax8", kind: "simulated" },
  { weights: "none", activations: "absmax8", kind: "simulated" },
  { weights: "none", activations: "none", kind: "float" },
];

forEachBackend((backend) => {
  describe.each(settings)("$weights weights, $activations input, $estimator", (setting) => {
    const { weights, activations, estimator = "identity", kind } = setting;
    test("has the outputs and the straight-through gradients of its definition, and is its kind", async () => {
      const runtime = new Runtime(await backend.get());
      const factory = new ParameterFactory(runtime, createRandom(4));
      const layer = new LinearLayer(factory, spec("layer", weights, activations, estimator));
      expect(kindOf(layer).name).toBe(kind);
      layer.progress = progress;
      const x0 = normals(M * K, 11);
      const input = runtime.upload([M, K], "f32", x0);
      const x = new Tensor([M, K], "f32", input.storage, true);
      const w = await runtime.readFloats(layer.weight.tensor);
      const targets = runtime.upload(
        [M],
        "i32",
        Int32Array.from({ length: M }, (_, i) => i % 10),
      );
      // Mean cross-entropy as the loss: its gradient at the outputs is (softmax(y) - target) / M.
      let y!: Tensor;
      const loss = runtime.gradient(() => {
        [y] = applyLinear(runtime, new LinearInput(x), [layer]);
        return runtime.applyAll(crossEntropy, [y, targets], {})[0];
      });
      loss.dispose();
      const [xq, { values: wq, s }] = [roundedInput(x0, activations), roundedWeights(w, weights)];
      const wantedY = new Float64Array(M * 10);
      for (let m = 0; m < M; m++)
        for (let n = 0; n < 10; n++) for (let k = 0; k < K; k++) wantedY[m * 10 + n] += xq[m * K + k] * wq[n * K + k];
      const dy = new Float64Array(M * 10);
      for (let m = 0; m < M; m++) {
        const row = wantedY.subarray(m * 10, (m + 1) * 10);
        const largest = Math.max(...row);
        const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0);
        for (let n = 0; n < 10; n++) dy[m * 10 + n] = (Math.exp(row[n] - largest) / sum - (n === m % 10 ? 1 : 0)) / M;
      }
      const dw = new Float64Array(10 * K);
      for (let m = 0; m < M; m++)
        for (let n = 0; n < 10; n++) for (let k = 0; k < K; k++) dw[n * K + k] += dy[m * 10 + n] * xq[m * K + k];
      const wantedDw = estimated(estimator, w, s, dw);
      expectClose(await runtime.readFloats(layer.weight.gradient), wantedDw, { abs: 2e-5, rel: 1e-5 }, "dW");
      const [output] = runtime.scope(() => applyLinear(runtime, new LinearInput(input), [layer]));
      expectClose(await runtime.readFloats(output), wantedY, { abs: 1e-4 }, "y");
      layer.forgetQuantized();
    });
  });
});

test("layers of several kinds read one input, each as if it were alone", async () => {
  const runtime = new Runtime(createReferenceBackend());
  const factory = new ParameterFactory(runtime, createRandom(4));
  const layers = settings.map(
    ({ weights, activations }, i) => new LinearLayer(factory, spec(`${i}`, weights, activations)),
  );
  const x = runtime.upload([M, K], "f32", normals(M * K, 12));
  const together = applyLinear(runtime, new LinearInput(x), layers);
  for (const [i, layer] of layers.entries()) {
    const [alone] = applyLinear(runtime, new LinearInput(x), [layer]);
    expectClose(await runtime.readFloats(together[i]), await runtime.readFloats(alone), {}, `layer ${i}`);
  }
});

test("below lambda 1 every layer is simulated, and at 0 it is the float layer, to the bit", async () => {
  const runtime = new Runtime(createReferenceBackend());
  const x = runtime.upload([M, K], "f32", normals(M * K, 13));
  const output = async (weights: string, activations: string, lambda: number) => {
    const layer = new LinearLayer(new ParameterFactory(runtime, createRandom(4)), spec("a", weights, activations));
    layer.lambda = lambda;
    if (weights !== "none") expect(kindOf(layer).name).toBe("simulated");
    return runtime.readFloats(applyLinear(runtime, new LinearInput(x), [layer])[0]);
  };
  const float = await output("none", "none", 1);
  for (const [weights, activations] of [
    ["absmean", "absmax8"],
    ["int8", "none"],
    ["absmean", "none"],
  ])
    expectClose(await output(weights, activations, 0), float, {}, weights);
});

test("refuses a residual beside several layers", () => {
  const runtime = new Runtime(createReferenceBackend());
  const factory = new ParameterFactory(runtime, createRandom(4));
  const layers = [0, 1].map((i) => new LinearLayer(factory, spec(`${i}`, "none", "none")));
  const x = runtime.upload([M, K], "f32", normals(M * K, 13));
  expect(() => applyLinear(runtime, new LinearInput(x), layers, x)).toThrow(/a residual came for 2 layers/);
});
