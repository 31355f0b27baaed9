/**
 * A callback of one's own that acts on a run by its controls: after a validation that is no better than the best so far, it
 * multiplies the learning rate by `factor`, and after `most` of them it ends the run.
 *
 *   node examples/own-callback.mjs your-text.txt [steps]
 *   bitnet train tiny --data your-text.txt --extension examples/own-callback.mjs \
 *     --train.callbacks '[{name: plateau-example, factor: 0.5}]'
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { train } from "bitnet.ts";
import { defineCallback, useExtension, z } from "bitnet.ts/extensions";
import { smallRun } from "./support/small-run.mjs";

export const plateau = defineCallback({
  name: "plateau-example",
  options: { factor: z.number().gt(0).lt(1).default(0.5), most: z.int().positive().default(3) },
  create({ factor, most }) {
    let plateaus = 0;
    return {
      name: "plateau-example",
      on(event, { controls }) {
        if (event.type !== "evaluation" || event.best) return;
        plateaus++;
        controls.learningRateScale *= factor; // saved with the run, like everything in controls
        if (plateaus >= most) controls.stop("plateau");
      },
      state: () => plateaus, // saved in checkpoints, and given back when the run is resumed
      restore(saved) {
        plateaus = saved;
      },
    };
  },
});

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = { callbacks: [plateau] };
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [file, steps = "20"] = process.argv.slice(2);
  if (!file) throw new Error("name a text file");
  useExtension(extension);
  const config = smallRun(file, steps);
  const callbacks = [{ name: "plateau-example", most: 2 }];
  const rate = { kind: "sgd", learningRate: 1e-9 }; // too low to get better: the callback ends the run
  const report = await train({
    config: {
      ...config,
      optimizer: rate,
      train: { ...config.train, callbacks },
      evaluation: { every: 1 },
    },
  });
  console.log(`${report.reason} after step ${report.step}, in ${report.folder}`);
}
