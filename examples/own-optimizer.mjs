/**
 * An optimizer and a schedule of one's own: SGD with momentum whose norms have a learning rate of their own, and the learning
 * rate halved every so many steps.
 *
 *   node examples/own-optimizer.mjs your-text.txt [steps]
 *   bitnet train tiny --data your-text.txt --extension examples/own-optimizer.mjs \
 *     --optimizer.kind sgd-by-role-example --optimizer.learningRate 0.05 --schedule.kind staircase-example
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { train } from "bitnet.ts";
import { assembleOptimizer, optimizerKeys, scheduleKeys, useExtension, z } from "bitnet.ts/extensions";
import { fill, sgdStep } from "bitnet.ts/ops";
import { smallRun } from "./support/small-run.mjs";

/** @type {import("bitnet.ts/extensions").OptimizerDefinition<any>} */
export const sgdByRole = {
  kind: "sgd-by-role-example",
  stateLabel: "momentum",
  schema: z.strictObject({
    kind: z.literal("sgd-by-role-example"),
    ...optimizerKeys,
    momentum: z.number().positive().lt(1),
    normRate: z.number().min(0),
  }),
  defaults: { momentum: 0.9, normRate: 0.1 },
  create: (runtime, parameters, config) =>
    assembleOptimizer(parameters, config, {
      kind: "sgd-by-role-example",
      prefixes: ["momentum"],
      createState({ shape }) {
        const momentum = runtime.empty(shape);
        fill(runtime.plainContext(), momentum, 0);
        return { momentum };
      },
      update({ role, tensor, gradient }, { momentum }, values) {
        const learningRate = values.learningRate * (role === "norm" ? config.normRate : 1);
        const settings = { ...values, learningRate, momentum: config.momentum };
        sgdStep(runtime.plainContext(), { weight: tensor, gradient, momentum }, settings);
      },
    }),
  stateBytes: (_config, { count }) => 4 * count,
};

/** @type {import("bitnet.ts/extensions").ScheduleDefinition<any>} */
export const staircase = {
  kind: "staircase-example",
  schema: z.strictObject({ kind: z.literal("staircase-example"), ...scheduleKeys, every: z.int().positive() }),
  defaults: { warmupSteps: 0, every: 100 },
  create:
    ({ warmupSteps, every }, { learningRate, weightDecay }) =>
    (step) => ({
      learningRate: learningRate * Math.min(1, step / Math.max(1, warmupSteps)) * 0.5 ** Math.floor((step - 1) / every),
      weightDecay,
    }),
};

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = { optimizers: [sgdByRole], schedules: [staircase] };
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [file, steps = "20"] = process.argv.slice(2);
  if (!file) throw new Error("name a text file");
  useExtension(extension);
  const optimizer = { kind: "sgd-by-role-example", learningRate: 0.05 };
  const schedule = { kind: "staircase-example", every: 10 };
  const { after } = await train({ config: { ...smallRun(file, steps), optimizer, schedule } });
  console.log(`validation loss ${after?.loss.toFixed(4)}`);
}
