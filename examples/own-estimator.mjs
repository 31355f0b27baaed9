/**
 * An estimator of one's own, the backward rule of ternary weights: EWGS (Lee et al., arXiv:2104.00903), which scales each
 * gradient by how far its weight is from its level, g · (1 + delta · sign(g) · (w - s · q)).
 *
 *   node examples/own-estimator.mjs your-text.txt [steps]
 *   bitnet train tiny --data your-text.txt --extension examples/own-estimator.mjs \
 *     --model.quantization.estimator '{name: ewgs-example, delta: 0.5}'
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { train } from "bitnet.ts";
import { defineKernel, useExtension, z } from "bitnet.ts/extensions";
import { smallRun } from "./support/small-run.mjs";

const backward = defineKernel({
  name: "ewgs_example_backward",
  host: true,
  buffers: { w: "f32", codes: "u8", scale: "f32", dy: "f32", dw: "f32" },
  params: ["delta", "accumulate"],
  reference({ w, codes, scale, dy, dw }, { delta, accumulate }) {
    for (let i = 0; i < w.length; i++) {
      const value = dy[i] * (1 + delta * Math.sign(dy[i]) * (w[i] - (codes[i] - 1) * scale[0]));
      dw[i] = accumulate ? dw[i] + value : value;
    }
  },
});

/** Forward it is w itself; its gradient is what differs. */
const op = {
  name: "ewgs-example",
  forward: (_cx, [w, codes, scale]) => ({ outputs: [w], saved: [w, codes, scale] }),
  backward(cx, [w, codes, scale], [dy], { delta }) {
    const target = dy && cx.gradient(0);
    if (!target) return;
    const { array: dw, accumulate } = target;
    cx.backend.launch(backward, { w, codes, scale, dy, dw }, { delta, accumulate });
  },
};

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = {
  estimators: [{ name: "ewgs-example", schema: z.strictObject({ delta: z.number().min(0).default(0.2) }), op }],
};
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [file, steps = "20"] = process.argv.slice(2);
  if (!file) throw new Error("name a text file");
  useExtension(extension);
  const config = smallRun(file, steps);
  for (const estimator of ["identity", "clipped", "ewgs-example"]) {
    const { after } = await train({
      config: { ...config, model: { ...config.model, quantization: { estimator } } },
    });
    console.log(`${estimator}: validation loss ${after?.loss.toFixed(4)}`);
  }
}
