// Oracles: the names and shapes of a Hugging Face LLaMA checkpoint; the rule that the last override which matches decides.
import { describe, expect, test } from "vitest";
import { createDryBackend } from "../backends/dry.ts";
import { matchesPattern } from "../platform/patterns.ts";
import { Runtime } from "../tensor/index.ts";
import { type ModelConfig, modelConfigSchema, planModel, presets, Transformer } from "./index.ts";

const small: ModelConfig = { ...presets.arithmetic, layers: 3, width: 64, hiddenWidth: 96, heads: 4, kvHeads: 2 };
const planned = (quantization: ModelConfig["quantization"], variant: ModelConfig["variant"] = "bitnet") =>
  planModel({ ...small, variant, quantization });
const said = (quantization: ModelConfig["quantization"], variant?: ModelConfig["variant"]) =>
  Object.fromEntries(
    planned(quantization, variant).layers.map(({ name, weights, activations, estimator }) => [
      name,
      [weights?.quantizer.name ?? "none", activations?.name ?? "none", estimator.estimator.name].join(" "),
    ]),
  );

test("lists every linear layer with its role and sizes, in the order of the model's parameters", () => {
  const { layers, blocks } = planModel(small);
  const model = new Transformer(new Runtime(createDryBackend()), small, null);
  const matrices = model.parameters.filter(({ role }) => role === "ternary");
  expect(layers.map(({ name }) => `${name}.weight`)).toEqual(matrices.map(({ name }) => name));
  expect(layers.map(({ outputs, inputs }) => [outputs, inputs])).toEqual(matrices.map(({ shape }) => shape));
  expect(blocks[2].down).toMatchObject({ name: "model.layers.2.mlp.down_proj", role: "down", block: 2 });
  expect(blocks[1].key).toMatchObject({ inputs: 64, outputs: 32 });
});

test("the variant decides where nothing is said", () => {
  expect(new Set(Object.values(said(undefined)))).toEqual(new Set(["absmean absmax8 identity"]));
  expect(new Set(Object.values(said(undefined, "full")))).toEqual(new Set(["none none identity"]));
  expect(planned(undefined)).toMatchObject({ allBitLinear: true, anyTernary: true, allFloat: false, subNorms: true });
  expect(planned(undefined, "full")).toMatchObject({ allBitLinear: false, anyTernary: false, allFloat: true });
});

test("the last override that matches a layer decides each key; activations and estimator follow the weights", () => {
  const layers = said({
    estimator: "clipped",
    overrides: [
      { layers: "layers.0.*", weights: "int8" },
      { layers: "*.down_proj", weights: "none" },
      { layers: "model.layers.2.mlp.down_proj", activations: "absmax8" },
    ],
  });
  expect(layers["model.layers.0.self_attn.q_proj"]).toBe("int8 none identity");
  expect(layers["model.layers.0.mlp.down_proj"]).toBe("none none identity");
  expect(layers["model.layers.1.self_attn.q_proj"]).toBe("absmean absmax8 clipped");
  expect(layers["model.layers.2.mlp.down_proj"]).toBe("none absmax8 identity");
});

test("patterns know * alone, and the leading model. may be left out", () => {
  const name = "model.layers.10.mlp.up_proj";
  for (const pattern of ["*", "layers.10.*", "*.up_proj", "model.layers.10.mlp.up_proj", "*.10.*", "layers.*.mlp.*"])
    expect(matchesPattern(pattern, name), pattern).toBe(true);
  for (const pattern of ["layers.1.*", "up_proj", "layers.10", "*.up.proj", "layers.1?.*", "(*"])
    expect(matchesPattern(pattern, name), pattern).toBe(false);
});

describe("refuses", () => {
  test("an override that matches no layer, naming how layers are named", () => {
    expect(() => planned({ overrides: [{ layers: "*.dwn_proj", weights: "none" }] })).toThrow(
      /layers "\*\.dwn_proj" matches no layer; layers are named as layers\.0\.self_attn\.q_proj/,
    );
  });

  test("a quantizer that a layer cannot have, by the layer's name", () => {
    const config = {
      ...small,
      hiddenWidth: 72,
      quantization: { overrides: [{ layers: "*.1.mlp.*", weights: "int8" }] },
    };
    expect(() => planModel(config)).toThrow(/layer model\.layers\.1\.mlp\.down_proj: int8 .* this layer has 72/);
  });

  test("an estimator for weights that are not ternary", () => {
    expect(() => planned({ overrides: [{ layers: "*.o_proj", weights: "int8", estimator: "clipped" }] })).toThrow(
      /layer model\.layers\.0\.self_attn\.o_proj: estimator "clipped" is for ternary weights/,
    );
  });

  test.for([
    [
      { weights: "absmaen" },
      /unknown weight quantizer "absmaen"; expected one of absmean, .*, none; did you mean "absmean"\?/,
    ],
    [
      { activations: "int4" },
      /unknown activation quantizer "int4"; expected one of absmax8, .*none, auto \(your own: /,
    ],
    [{ estimator: { name: "clipped", limit: 0 } }, /estimator "clipped": limit: .*>0/],
    [{ weights: { name: "absmean", eps: 1 } }, /weight quantizer "absmean": .*eps/],
    [{ overrides: [{ layers: "*", wieghts: "int8" }] }, /wieghts/],
  ] as const)("an unknown part or setting: %j", ([quantization, message]) => {
    const parsed = modelConfigSchema.safeParse({ ...small, quantization });
    expect(parsed.error?.issues[0].message).toMatch(message);
  });
});
