/**
 * Trains a model whose down projections are int8 and whose first block is in full precision, beside one that is ternary
 * throughout, and compares their losses and sizes.
 *
 *   node examples/mixed-precision.mjs your-text.txt [steps]
 */
import { train } from "bitnet.ts";
import { smallRun } from "./support/small-run.mjs";

const [file, steps = "50"] = process.argv.slice(2);
if (!file) throw new Error("name a text file");

const mixed = {
  overrides: [
    { layers: "*.down_proj", weights: "int8" },
    { layers: "layers.0.*", weights: "none" },
  ],
};
const config = smallRun(file, steps);
for (const [name, quantization] of [
  ["ternary", undefined],
  ["mixed", mixed],
]) {
  const report = await train({ config: { ...config, model: { ...config.model, quantization } } });
  const { total, ternary } = report.parameters;
  console.log(`${name}: ${((100 * ternary) / total).toFixed(1)} % of ${total} parameters are ternary`);
  console.log(`${name}: validation loss ${report.after?.loss.toFixed(4)}, in ${report.folder}`);
}
