// Oracle: PyTorch 1.13 through test/fixtures/pytorch (values computed in float64 from float32 inputs, rounded once): logits,
// loss, every gradient, weights after one and three AdamW steps with decay and clipping, for the full-precision twin and
// for the ternary model with sub-norms.
// Bound: 2e-6 absolute, 2e-5 for weights after Adam, which divides by |g| and so amplifies the
// rounding of gradients near 1e-7; gradients up to 0.5 in size carry a few float32 roundings of their own sums.
import { expect, test } from "vitest";
import { readSafetensors, type SafetensorsFile } from "../../src/formats/safetensors.ts";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import { adamwStep } from "../../src/ops/adamw/index.ts";
import { fill } from "../../src/ops/fill/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { forEachBackend } from "../support/backends.ts";
import { expectClose } from "../support/expect-close.ts";
import { fixturePath } from "../support/fixtures.ts";

const config: ModelConfig = {
  ...presets.tiny,
  vocabSize: 61,
  width: 32,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 48,
  contextLength: 8,
  weightScale: "clamp",
  weightEps: 1e-5,
};

/** The fixtures' name of one of our parameters. */
function fixtureName(name: string): string {
  return name
    .replace(/^model\.embed_tokens\.weight$/, "embed")
    .replace(/^model\.norm/, "norm")
    .replace(/^model\.layers\./, "blocks.")
    .replace(".input_layernorm.", ".attn_norm.")
    .replace(".post_attention_layernorm.", ".ffn_norm.")
    .replace(/\.self_attn\.(.)_proj\./, ".attn.$1.")
    .replace(".self_attn.attn_sub_norm.", ".attn.sub_norm.")
    .replace(/\.mlp\.(gate|up|down)_proj\./, ".ffn.$1.")
    .replace(".mlp.ffn_sub_norm.", ".ffn.sub_norm.");
}

const floats = async (file: SafetensorsFile, name: string) => (await file.read(name)) as Float32Array;
const integers = async (file: SafetensorsFile, name: string) => (await file.read(name)) as Int32Array;

async function checkModel(runtime: Runtime, fixture: string, variant: ModelConfig["variant"], recompute: boolean) {
  const file = await readSafetensors(fixturePath(`pytorch/${fixture}`));
  const model = new Transformer(runtime, { ...config, variant, recompute }, 1);
  for (const p of model.parameters)
    runtime.backend.upload(p.tensor.buffer, await floats(file, `w0.${fixtureName(p.name)}`));

  const tokens = await integers(file, "tokens");
  const targets = await integers(file, "targets");
  const losses = await floats(file, "loss");
  const norms = await floats(file, "grad_norm");
  const moments = model.parameters.map((p) => {
    const [m, v] = [runtime.empty(p.shape), runtime.empty(p.shape)];
    for (const t of [m, v]) fill(runtime.plainContext(), t, 0);
    return { m, v };
  });

  for (let step = 1; step <= 3; step++) {
    const piece = (a: Int32Array) => a.slice((step - 1) * 16, step * 16);
    const batch = { tokens: piece(tokens), batch: 2, length: 8 };
    if (step === 1) {
      const logits = model.logits(batch);
      expectClose(await runtime.readFloats(logits), await floats(file, "logits"), { abs: 2e-6, rel: 2e-6 }, "logits");
      logits.dispose();
    }
    const loss = runtime.gradient(() => model.loss(batch, piece(targets)).loss);
    expectClose(await runtime.readFloats(loss), [losses[step - 1]], { abs: 3e-6 }, `loss of step ${step}`);
    loss.dispose();

    let sum = 0;
    for (const p of model.parameters) {
      const g = await runtime.readFloats(p.gradient);
      for (const x of g) sum += x * x;
      if (step === 1)
        expectClose(g, await floats(file, `grad.${fixtureName(p.name)}`), { abs: 2e-6, rel: 1e-5 }, `d${p.name}`);
    }
    const norm = Math.sqrt(sum);
    expectClose([norm], [norms[step - 1]], { rel: 1e-5 }, `gradient norm of step ${step}`);

    for (const [i, p] of model.parameters.entries()) {
      adamwStep(
        runtime.plainContext(),
        { weight: p.tensor, gradient: p.gradient, ...moments[i] },
        {
          learningRate: 1.5e-3,
          beta1: 0.9,
          beta2: 0.95,
          eps: 1e-8,
          weightDecay: p.shape.length === 2 ? 0.1 : 0,
          step,
          gradientScale: Math.min(1, 1 / (norm + 1e-6)),
        },
      );
      p.changed();
      p.clearGradient();
    }
    if (step !== 2)
      for (const p of model.parameters)
        expectClose(
          await runtime.readFloats(p.tensor),
          await floats(file, `w${step}.${fixtureName(p.name)}`),
          { abs: 2e-5 },
          `${p.name} after step ${step}`,
        );
  }
  for (const { m, v } of moments) for (const t of [m, v]) t.dispose();
  model.dispose();
  await file.close();
  expect(runtime.backend.stats.liveBytes).toBe(0);
}

forEachBackend((backend) => {
  for (const [fixture, variant] of [
    ["tiny_fp32.safetensors", "full"],
    ["tiny_subln2b4t.safetensors", "bitnet"],
  ] as const)
    for (const recompute of [false, true])
      test(`a two-layer ${variant} model agrees with PyTorch over three steps${recompute ? ", recomputing its blocks" : ""}`, async () =>
        checkModel(new Runtime(await backend.get()), fixture, variant, recompute));
});
