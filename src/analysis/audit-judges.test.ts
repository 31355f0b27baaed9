// Oracle: the papers' definitions, by hand: for every check a case that holds them, and cases that break each part of them.
import { expect, test } from "vitest";
import {
  type BitLinearEvidence,
  judgeActivations,
  judgeAgreement,
  judgeBits,
  judgeFloatParts,
  judgeHistograms,
  judgeNoBiases,
  judgePackedLogits,
  judgeReference,
  judgeSubNorms,
  judgeTernary,
  notTernary,
} from "./audit-judges.ts";

const rule = { weightScale: "add", weightEps: 1e-6 } as const;
// mean |w| = 1: so q is sign(w) where |w| > 0.5.
const weights = Float32Array.of(2, -1.5, 0.25, 0.25);
const good = { name: "w", weights, codes: Uint8Array.of(2, 0, 1, 1), scale: Math.fround(1 + 1e-6) };

test.for([
  ["passes codes and scale of the rule", {}, "pass"],
  ["fails a code that is no ternary one", { codes: Uint8Array.of(3, 0, 1, 1) }, "fail"],
  ["fails a code that the rule does not give", { codes: Uint8Array.of(2, 0, 2, 1) }, "fail"],
  ["fails a scale that is not the absmean", { scale: 1.01 }, "fail"],
  ["fails a scale that is no number", { scale: Number.NaN }, "fail"],
] as const)("ternary weights: %s", async ([, change, verdict]) => {
  expect((await judgeTernary([{ ...good, ...change }], rule)).verdict).toBe(verdict);
});

test("ternary weights: fails where there is nothing to judge, and names the first wrong matrix", async () => {
  expect((await judgeTernary([], rule)).verdict).toBe("fail");
  const wrong = { ...good, name: "second", codes: Uint8Array.of(0, 0, 1, 1) };
  expect((await judgeTernary([good, wrong], rule)).figure).toContain("second");
});

const layer = (minus: number, zero: number, plus: number) => ({
  ...{ name: "w", shape: [2, 2], minus, zero, plus, gamma: 1, entropyBits: 1.5, fileBits: 1.5 },
});
test("histograms: passes where all three values are used, fails where one is not, or there is no matrix", () => {
  expect(judgeHistograms([layer(0.3, 0.4, 0.3)]).verdict).toBe("pass");
  expect(judgeHistograms([layer(0.3, 0.4, 0.3), layer(0.5, 0, 0.5)]).verdict).toBe("fail");
  expect(judgeHistograms([layer(0, 1, 0)]).verdict).toBe("fail");
  expect(judgeHistograms([]).verdict).toBe("fail");
});

test("biases: fails on a tensor called so, and on a vector that is no norm's gain", () => {
  const norm = { name: "model.norm.weight", shape: [4], role: "norm" };
  const matrix = { name: "q_proj.weight", shape: [4, 4], role: "ternary" };
  expect(judgeNoBiases([norm, matrix]).verdict).toBe("pass");
  expect(judgeNoBiases([norm, matrix, { name: "q_proj.bias", shape: [4], role: "linear" }]).verdict).toBe("fail");
  expect(judgeNoBiases([norm, matrix, { name: "q_proj.b", shape: [4], role: "linear" }]).verdict).toBe("fail");
  expect(judgeNoBiases([]).verdict).toBe("fail");
});

test("sub-norms: passes one of each in each block, fails where one is missing or of another width", () => {
  const config = { layers: 1, width: 4, hiddenWidth: 8, subNorms: true };
  const [a, f] = [
    { name: "layers.0.self_attn.attn_sub_norm.weight", shape: [4] },
    { name: "layers.0.mlp.ffn_sub_norm.weight", shape: [8] },
  ];
  expect(judgeSubNorms([a, f], config).verdict).toBe("pass");
  expect(judgeSubNorms([a], config).verdict).toBe("fail");
  expect(judgeSubNorms([a, { ...f, shape: [4] }], config).verdict).toBe("fail");
  expect(judgeSubNorms([], { ...config, subNorms: false }).verdict).toBe("not applicable");
});

test("float parts: passes real numbers, fails an embedding of few magnitudes, and one that is not finite", () => {
  const name = "embedding";
  const role = "embedding";
  const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
  expect(judgeFloatParts([{ name, role, values }]).verdict).toBe("pass");
  expect(judgeFloatParts([{ name, role, values: values.map(Math.sign) }]).verdict).toBe("fail");
  expect(judgeFloatParts([{ name, role, values: values.map((x, i) => (i === 3 ? Number.NaN : x)) }]).verdict).toBe(
    "fail",
  );
  expect(judgeFloatParts([]).verdict).toBe("fail");
});

// y = [127 · 1 - 0 · 1, 127 · 0 + 64 · 1] · 0.5 · 0.01, and a residual of 1.
const product: BitLinearEvidence = {
  name: "w",
  n: 2,
  k: 2,
  rows: 1,
  activations: Int8Array.of(127, 64),
  activationScales: Float32Array.of(0.01),
  codes: Uint8Array.of(2, 1, 1, 2),
  scale: 0.5,
  residual: Float32Array.of(1, 1),
  y: Float32Array.of(1 + 127 * 0.005, 1 + 64 * 0.005),
};

test("activations: passes rows whose largest is 127, fails -128, and a row that does not reach 127", () => {
  expect(judgeActivations([product], 1).verdict).toBe("pass");
  expect(judgeActivations([{ ...product, activations: Int8Array.of(-128, 127) }], 1).verdict).toBe("fail");
  expect(judgeActivations([{ ...product, activations: Int8Array.of(126, 64) }], 1).verdict).toBe("fail");
  expect(judgeActivations([{ ...product, activations: Int8Array.of(0, 0) }], 1).verdict).toBe("fail");
  expect(judgeActivations([], 1).verdict).toBe("fail");
});

test("integer products: pass the float product to rounding, fail one part in ten thousand, NaN and nothing", () => {
  expect(judgeAgreement([product]).verdict).toBe("pass");
  expect(judgeAgreement([{ ...product, y: product.y.map((y) => y * 1.0001) }]).verdict).toBe("fail");
  expect(judgeAgreement([{ ...product, y: Float32Array.of(Number.NaN, product.y[1]) }]).verdict).toBe("fail");
  expect(judgeAgreement([{ ...product, residual: null }]).verdict).toBe("fail");
  expect(judgeAgreement([]).verdict).toBe("fail");
});

test("packed logits: pass rounding, fail another logit and another count", () => {
  const logits = Float32Array.of(1, 2, 3, 4);
  expect(
    judgePackedLogits(
      logits,
      logits.map((x) => x + 1e-6),
      2,
    ).verdict,
  ).toBe("pass");
  expect(judgePackedLogits(logits, Float32Array.of(1, 2, 3, 5), 2).verdict).toBe("fail");
  expect(judgePackedLogits(logits, Float32Array.of(1, 2, 3), 2).verdict).toBe("fail");
  expect(judgePackedLogits(logits, Float32Array.of(1, 2, 3, Number.NaN), 2).verdict).toBe("fail");
});

test("bits: passes 1.6 bits a weight, fails 2 (a code of two bits), and a file without ternary weights", () => {
  const size = { ternaryEntropyBits: 1.55, fileBytes: 100, bitsPerParameter: 2 };
  expect(judgeBits({ ...size, ternaryBitsPerWeight: 1.6 }).verdict).toBe("pass");
  expect(judgeBits({ ...size, ternaryBitsPerWeight: 2 }).verdict).toBe("fail");
  expect(judgeBits({ ...size, ternaryBitsPerWeight: null }).verdict).toBe("fail");
});

test("reference values: pass within four times PyTorch's own error, fail beyond, NaN, and a wrong count", () => {
  expect(judgeReference("rms-norm", [1, 2 + 3e-7], [1, 2], 1e-7, null).verdict).toBe("pass");
  expect(judgeReference("rms-norm", [1, 2 + 5e-7], [1, 2], 1e-7, null).verdict).toBe("fail");
  expect(judgeReference("rms-norm", [1, Number.NaN], [1, 2], 1e-7, null).verdict).toBe("fail");
  expect(judgeReference("rms-norm", [1], [1, 2], 1e-7, null).verdict).toBe("fail");
  expect(judgeReference("swiglu", [1], [1], 1e-7, "relu2").verdict).toBe("not applicable");
});

test("what a full-precision model has no layers for is not applicable, and says why", () => {
  expect(notTernary("bits")).toMatchObject({
    verdict: "not applicable",
    figure: expect.stringContaining("no ternary layers"),
  });
});
