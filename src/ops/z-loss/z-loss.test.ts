// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json, in float64, made by
// fixtures.py) and to a finite difference. Bounds: as cross-entropy's; log(sum) is off by 1e-6, so its square by twice
// that times itself, and the gradient by 4e-6 relative.
import { readFileSync } from "node:fs";
import { test } from "vitest";
import { fetchArray, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { testRowLoss } from "../../../test/support/row-loss.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { cases } from "./cases.ts";
import { zLoss } from "./index.ts";

testRowLoss(zLoss, cases, { loss: { abs: 1e-6, rel: 2e-6 }, dlogits: { abs: 1e-6, rel: 4e-6 } });

test("reference: agrees with PyTorch", async () => {
  const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));
  const c = { name: "", lead: [6], classes: 11, logits: Float32Array.from(f.logits.flat()), targets: f.targets };
  const backend = createReferenceBackend();
  const { outputs, gradients } = runOp(
    backend,
    zLoss,
    [place(backend, [6, 11], "f32", c.logits), place(backend, [6], "i32", c.targets)],
    {},
    { outputGradients: [place(backend, [1], "f32", [1])], wanted: [true, false] },
  );
  expectClose(await fetchArray(backend, outputs[0]), [f.loss], { rel: 1e-6 }, "loss");
  expectClose(await fetchArray(backend, gradients[0]!), f.dlogits.flat(), { abs: 1e-6 }, "dlogits");
});
