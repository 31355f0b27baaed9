// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json, in float64, made by
// fixtures.py) and to a finite difference. Bounds: as cross-entropy's, and the mean below the
// largest is a float32 sum in V / lanes additions; a gradient is the difference of two that may nearly be equal.
import { readFileSync } from "node:fs";
import { test } from "vitest";
import { fetchArray, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { testRowLoss } from "../../../test/support/row-loss.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { crossEntropy } from "../cross-entropy/index.ts";
import { cases } from "./cases.ts";
import { uniformCrossEntropy } from "./index.ts";

testRowLoss(uniformCrossEntropy, cases, { loss: { abs: 1e-6, rel: 2e-6 }, dlogits: { abs: 1e-6, rel: 2e-6 } });

test("reference: alone, and as a part of label smoothing, agrees with PyTorch's cross_entropy(label_smoothing)", async () => {
  const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
  const backend = createReferenceBackend();
  const both = [crossEntropy, uniformCrossEntropy].map(async (op) => {
    const { outputs, gradients } = runOp(
      backend,
      op,
      [place(backend, [6, 11], "f32", f.logits.flat()), place(backend, [6], "i32", f.targets)],
      {},
      { outputGradients: [place(backend, [1], "f32", [1]), null], wanted: [true, false] },
    );
    return { loss: (await fetchArray(backend, outputs[0]))[0], dlogits: await fetchArray(backend, gradients[0]!) };
  });
  const [target, uniform] = await Promise.all(both);
  for (const { smoothing, loss, dlogits } of f.cases) {
    expectClose([(1 - smoothing) * target.loss + smoothing * uniform.loss], [loss], { rel: 1e-6 }, "loss");
    const summed = Float32Array.from(uniform.dlogits, (d, i) => smoothing * d + (1 - smoothing) * target.dlogits[i]);
    expectClose(summed, dlogits.flat(), { abs: 1e-7 }, "dlogits");
  }
});
