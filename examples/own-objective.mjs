/**
 * An objective of one's own: the next-token loss over the end of each sequence, where the model has the most context. As a
 * program, it trains with it beside the plain next-token loss:
 *
 *   node examples/own-objective.mjs your-text.txt [steps]
 *
 * As an extension, it gives `bitnet train` an objective named "late-tokens-example":
 *
 *   bitnet train tiny --data your-text.txt --extension examples/own-objective.mjs --train.objectives \
 *     '[{name: next-token, weight: 1}, {name: late-tokens-example, weight: 0.5, from: 0.75}]'
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { train } from "bitnet.ts";
import { defineObjective, useExtension, z } from "bitnet.ts/extensions";
import { crossEntropy } from "bitnet.ts/ops";
import { readScalars, runPaths } from "bitnet.ts/train";
import { smallRun } from "./support/small-run.mjs";

export const lateTokens = defineObjective({
  name: "late-tokens-example",
  options: { from: z.number().min(0).lt(1) },
  create: ({ from }) => ({
    name: "late-tokens-example",
    loss(_model, { batch, length, targets }, { runtime, logits }) {
      const late = targets.map((target, i) => (i % length < from * length ? -100 : target));
      const ids = runtime.upload([batch, length], "i32", late);
      return { loss: runtime.applyAll(crossEntropy, [logits(), ids], {})[0] };
    },
  }),
});

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = { objectives: [lateTokens] };
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [file, steps = "20"] = process.argv.slice(2);
  if (!file) throw new Error("name a text file");
  useExtension(extension);
  const config = smallRun(file, steps);
  const objectives = [
    { name: "next-token", weight: 1 },
    { name: "late-tokens-example", weight: 0.5, from: 0.75 },
  ];
  const { after, folder } = await train({ config: { ...config, train: { ...config.train, objectives } } });
  const last = readScalars(runPaths(folder).scalars).findLast(({ losses }) => losses);
  console.log(`step ${last.step}: ${JSON.stringify(last.losses)}`);
  console.log(`validation loss ${after?.loss.toFixed(4)}, in ${folder}`);
}
