// Parts of extensions that lack what they must have. Oracle: the contracts in quantizers/quantizer.ts and estimators/estimator.ts.
import { expect, test } from "vitest";
import { activationQuantizers, estimators, weightQuantizers } from "./index.ts";

const forward = () => ({ outputs: [], saved: [] });

test("are refused when they are registered, by name, and say what is missing", () => {
  const weights = (part: object) => () => weightQuantizers.register(part as never);
  expect(weights({ name: "half", form: "values" })).toThrow('weight quantizer "half" has no quantize()');
  expect(weights({ name: "half", quantize() {} })).toThrow('weight quantizer "half" has no form "ternary" or "values"');
  const activations = (part: object) => () => activationQuantizers.register(part as never);
  expect(activations({ name: "half", codes: null })).toThrow('activation quantizer "half" has no op');
  expect(activations({ name: "half", codes: null, op: { name: "half", forward } })).toThrow(
    /no op with forward and backward/,
  );
  expect(() => estimators.register({ name: "half", op: { name: "half", forward } })).toThrow(
    /estimator "half" has no op/,
  );
  expect(() => estimators.register({ name: "half" } as never)).toThrow(/estimator "half" has no op/);
  expect([weightQuantizers.has("half"), activationQuantizers.has("half"), estimators.has("half")]).toEqual([
    false,
    false,
    false,
  ]);
});
