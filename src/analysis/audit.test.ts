// Oracle: PyTorch's values (reference-values.ts, compared here with the fixtures of the ops), and models made
// here of which each claim is known to hold, or is broken on purpose.
import { expect, test } from "vitest";
import { readFixtures } from "../../test/support/fixtures.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { type ModelConfig, presets, Transformer } from "../model/index.ts";
import { DataError } from "../platform/errors.ts";
import { Runtime } from "../tensor/index.ts";
import { trainBpe } from "../tokenizer/index.ts";
import { auditModel } from "./audit.ts";
import { referenceValues } from "./reference-values.ts";

const words = ["Once upon a time", "there was a little model", "of a little text", "that told of times and models"];
const text = words.flatMap((a) => words.map((b) => `${a}, ${b}. `)).join("");
const { tokenizer } = await trainBpe([text], { vocabSize: 270 });

const config: ModelConfig = {
  ...presets.tiny,
  vocabSize: tokenizer.vocabSize,
  width: 64,
  layers: 2,
  heads: 2,
  kvHeads: 1,
  hiddenWidth: 128,
  contextLength: 48,
};

function create(changes: Partial<ModelConfig> = {}) {
  const runtime = new Runtime(createReferenceBackend());
  return { runtime, model: new Transformer(runtime, { ...config, ...changes }, 3) };
}

const options = { text, startToken: tokenizer.endOfText, maxTokens: 12 };
const verdicts = (report: Awaited<ReturnType<typeof auditModel>>) =>
  Object.fromEntries(report.checks.map(({ id, verdict }) => [id, verdict]));

test("a ternary model passes every check, each with its figure; the histograms of all its matrices are there", async () => {
  const { runtime, model } = create();
  const report = await auditModel(model, runtime, tokenizer, options);
  expect(verdicts(report)).toEqual({
    ...{
      "ternary-weights": "pass",
      histograms: "pass",
      "no-biases": "pass",
      "sub-norms": "pass",
      "float-parts": "pass",
    },
    ...{ activations: "pass", "integer-float": "pass", packed: "pass", bits: "pass" },
    ...{ "rms-norm": "pass", rotary: "pass", swiglu: "pass" },
  });
  expect(report.checks.every(({ figure }) => /\d/.test(figure))).toBe(true);
  expect(report.layers).toHaveLength(14);
  expect(report.textTokens).toBe(12);
  model.dispose();
  expect(runtime.backend.stats.liveBytes).toBe(0);
});

test("of ternary layers by another rule than absmean's the first claim is not applicable, with the reason; a learned scale is no bias", async () => {
  for (const weights of ["twn", "lsq"]) {
    const { runtime, model } = create({ quantization: { weights } });
    const report = await auditModel(model, runtime, tokenizer, options);
    expect(report.checks[0]).toMatchObject({
      verdict: "not applicable",
      figure: `its ternary layers are by quantizer ${weights}, whose rule is not the papers'`,
    });
    expect(verdicts(report)).toMatchObject({ histograms: "pass", "no-biases": "pass", packed: "pass", bits: "pass" });
    model.dispose();
  }
  const { runtime, model } = create({ quantization: { overrides: [{ layers: "*.up_proj", weights: "twn" }] } });
  const { checks } = await auditModel(model, runtime, tokenizer, options);
  expect(checks[0].verdict).toBe("pass");
  expect(checks[0].figure).toContain("layers by quantizer twn are not counted");
});

test("of a full-precision model what is about ternary layers is not applicable, and the rest passes", async () => {
  const { runtime, model } = create({ variant: "full" });
  const found = verdicts(await auditModel(model, runtime, tokenizer, options));
  for (const id of ["ternary-weights", "histograms", "sub-norms", "activations", "integer-float", "packed", "bits"])
    expect(found[id]).toBe("not applicable");
  for (const id of ["no-biases", "float-parts", "rms-norm", "rotary", "swiglu"]) expect(found[id]).toBe("pass");
});

test("of a model of mixed precision the ternary layers are judged, and which they are is told", async () => {
  const overrides = [
    { layers: "*.down_proj", weights: "int8" },
    { layers: "layers.0.*", weights: "none" },
  ];
  const { runtime, model } = create({ quantization: { overrides } });
  const report = await auditModel(model, runtime, tokenizer, options);
  expect(new Set(Object.values(verdicts(report)))).toEqual(new Set(["pass"]));
  expect(report.quantization).toBe("float but for 6 layers in ternary and 1 in int8");
  expect(report.checks[0]).toMatchObject({
    claim: "every weight of a ternary layer is -1, 0 or +1 times one scale, the matrix's absmean",
    figure: expect.stringContaining(
      "6 of 14 linear layers are ternary: the model is float but for 6 layers in ternary",
    ),
  });
  const { runtime: other, model: floats } = create({ quantization: { activations: "none" } });
  const found = verdicts(await auditModel(floats, other, tokenizer, options));
  expect(found).toMatchObject({ "ternary-weights": "pass", activations: "not applicable", packed: "pass" });
});

test("a model with squared ReLU has no SwiGLU to judge", async () => {
  const { runtime, model } = create({ activation: "relu2" });
  expect(verdicts(await auditModel(model, runtime, tokenizer, options)).swiglu).toBe("not applicable");
});

test("codes that are not those of the weights fail, as do activations behind a dead norm", async () => {
  const { runtime, model } = create();
  const [layer] = model.ternaryLayers;
  const { codes } = layer.quantized(runtime);
  runtime.backend.upload(codes.buffer, new Uint8Array(layer.weight.size).fill(2));
  const norm = model.parameters.find(({ name }) => name.includes("layers.1.input_layernorm"))!;
  runtime.backend.upload(norm.tensor.buffer, new Float32Array(norm.size));
  const found = verdicts(await auditModel(model, runtime, tokenizer, options));
  expect(found).toMatchObject({ "ternary-weights": "fail", histograms: "fail", activations: "fail" });
});

test("kernels that give other values than PyTorch fail", async () => {
  const { runtime, model } = create();
  const off = <T extends { y: readonly number[] }>(part: T): T => ({ ...part, y: part.y.map((v) => v + 1e-3) });
  const { rmsNorm, rotary, swiglu } = referenceValues;
  const reference = { rmsNorm: off(rmsNorm), rotary: off(rotary), swiglu: off(swiglu) };
  const found = verdicts(await auditModel(model, runtime, tokenizer, { ...options, reference }));
  expect(found).toMatchObject({ "rms-norm": "fail", rotary: "fail", swiglu: "fail" });
});

test("an empty text is refused", async () => {
  const { runtime, model } = create();
  await expect(auditModel(model, runtime, tokenizer, { ...options, text: "" })).rejects.toThrow(DataError);
});

test("the stored reference values are PyTorch's fixtures", () => {
  const { rmsnorm } = readFixtures("rms-norm");
  const { rope_half_split_pos3 } = readFixtures("rotary");
  const fixtures = { rmsnorm, rope_half_split_pos3, swiglu: readFixtures("gated-activation").swiglu };
  const { rmsNorm, rotary, swiglu } = referenceValues;
  const flat = (nested: unknown): number[] => (nested as number[]).flat(4);
  expect(rmsNorm.x).toEqual(flat(fixtures.rmsnorm.x));
  expect(rmsNorm.y).toEqual(flat(fixtures.rmsnorm.expect.y));
  expect(rotary.x).toEqual(flat(fixtures.rope_half_split_pos3.x));
  expect(rotary.y).toEqual(flat(fixtures.rope_half_split_pos3.expect.y));
  expect(swiglu.y).toEqual(flat(fixtures.swiglu.expect.y));
  expect(swiglu.float32Error).toBe(fixtures.swiglu.torch_fp32_max_abs_err.y);
});
