/**
 * A weight quantizer of one's own: TWN (Li et al., arXiv:1605.04711), threshold 0.7 · mean|w|, scale the mean of |w| above
 * it. As a program, it trains a few steps with it:
 *
 *   node examples/own-quantizer.mjs your-text.txt [steps]
 *
 * As an extension, it gives every command a quantizer named "twn-example":
 *
 *   bitnet train tiny --data your-text.txt --extension examples/own-quantizer.mjs \
 *     --model.quantization.weights '{name: twn-example, threshold: 0.75}'
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { train } from "bitnet.ts";
import { defineKernel, useExtension, z } from "bitnet.ts/extensions";
import { smallRun } from "./support/small-run.mjs";

/** `host: true`: there is no C++ for it, so it runs in JavaScript: slow, and good enough to try an idea. */
const kernel = defineKernel({
  name: "twn_example",
  host: true,
  buffers: { w: "f32", codes: "u8", scale: "f32" },
  params: ["threshold"],
  reference({ w, codes, scale }, { threshold }) {
    let sum = 0;
    for (const value of w) sum += Math.abs(value);
    const bound = (threshold * sum) / w.length;
    let [above, count] = [0, 0];
    for (let i = 0; i < w.length; i++) {
      codes[i] = w[i] > bound ? 2 : w[i] < -bound ? 0 : 1; // q + 1
      if (codes[i] === 1) continue;
      above += Math.abs(w[i]);
      count++;
    }
    scale[0] = count === 0 ? 0 : above / count;
  },
});

/** What the runtime applies: shapes in, arrays made, the kernel launched. */
const op = {
  name: "twn-example",
  forward(cx, [w], { threshold }) {
    const [codes, scale] = [cx.create(w.shape, "u8"), cx.create([1], "f32")];
    cx.backend.launch(kernel, { w, codes, scale }, { threshold });
    return { outputs: [codes, scale], saved: [] };
  },
};

/** @type {import("bitnet.ts/extensions").TernaryQuantizer} */
export const twn = {
  name: "twn-example",
  form: "ternary",
  schema: z.strictObject({ threshold: z.number().positive().default(0.7) }),
  quantize(runtime, w, settings) {
    const [codes, scale] = runtime.detached(op, [w], settings);
    return { codes, scale };
  },
};

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = { weightQuantizers: [twn] };
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [file, steps = "20"] = process.argv.slice(2);
  if (!file) throw new Error("name a text file");
  useExtension(extension);
  const config = smallRun(file, steps);
  for (const weights of ["absmean", { name: "twn-example", threshold: 0.7 }]) {
    const { after, folder } = await train({
      config: { ...config, model: { ...config.model, quantization: { weights } } },
    });
    console.log(`${JSON.stringify(weights)}: validation loss ${after?.loss.toFixed(4)}, in ${folder}`);
  }
}
