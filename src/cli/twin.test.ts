// Oracle: the plan of the config that comes out.
import { expect, test } from "vitest";
import { planModel, type QuantizationConfig } from "../model/index.ts";
import { type ConfigLayer, resolveConfig } from "../train/config.ts";
import { twinLayers } from "./support/twin.ts";

test("the twin of a model of mixed precision is full precision throughout", () => {
  const quantization: QuantizationConfig = {
    weights: "int8",
    overrides: [{ layers: "*.up_proj", weights: "absmean", estimator: "clipped" }],
  };
  const patch: ConfigLayer["patch"] = { preset: "tiny", model: { variant: "full", quantization } };
  const asked = [{ from: "model.yaml", patch }];
  expect(planModel(resolveConfig(asked).model).anyTernary).toBe(true);
  expect(planModel(resolveConfig(twinLayers(asked)).model).allFloat).toBe(true);
});

test("without quantizers in the config, the twin's layers are as they were", () => {
  const layers = [{ from: "preset", patch: { preset: "tiny" } }];
  expect(twinLayers(layers)).toEqual(layers);
});
