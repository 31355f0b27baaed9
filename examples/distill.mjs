/**
 * A small ternary model that learns from a wider full-precision one, beside the same model without a teacher:
 *
 *   node examples/distill.mjs your-text.txt [steps]
 *
 * The teacher is trained here for twice the steps; docs/distillation.md tells how to take one that is there. At this size and
 * number of steps the figures show that it works, not what it is worth.
 */
import { train } from "bitnet.ts";
import { readScalars, runPaths } from "bitnet.ts/train";
import { smallRun } from "./support/small-run.mjs";

const [file, steps = "20"] = process.argv.slice(2);
if (!file) throw new Error("name a text file");
const config = smallRun(file, steps);

const teacher = await train({
  config: {
    ...config,
    model: { ...config.model, variant: "full", width: 192, hiddenWidth: 384 },
    train: { ...config.train, steps: 2 * Number(steps) },
  },
});
console.log(`teacher: validation loss ${teacher.after?.loss.toFixed(4)}`);

const alone = await train({ config });
const taught = await train({
  config: {
    ...config,
    distill: { teacher: teacher.folder, alpha: 0.5, temperature: 2 },
    metrics: { termsEvery: Number(steps) },
  },
});
const last = readScalars(runPaths(taught.folder).scalars).findLast(({ losses }) => losses);
console.log(
  `step ${last.step}: losses ${JSON.stringify(last.losses)}, gradient norms ${JSON.stringify(last.grad_norms)}`,
);
console.log(`student alone: validation loss ${alone.after?.loss.toFixed(4)}`);
console.log(`student with the teacher: validation loss ${taught.after?.loss.toFixed(4)}, in ${taught.folder}`);
