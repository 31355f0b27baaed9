/**
 * Reads what a run wrote while it trained: its losses, and how the shares of -1, 0 and +1 moved, layer by layer.
 *
 *   node examples/read-metrics.mjs runs/tiny-bitnet-...
 */
import { readMeta, readScalars, runPaths } from "bitnet.ts/train";

const [folder] = process.argv.slice(2);
if (!folder) throw new Error("name a run's folder");

const { parameters } = readMeta(folder) ?? {};
if (parameters) console.log(`${parameters.total} parameters, ${parameters.ternary} of them ternary`);
const lines = readScalars(runPaths(folder).scalars);
for (const { step, loss, learning_rate, val_loss } of lines)
  console.log(
    val_loss === undefined
      ? `step ${step}: loss ${loss?.toFixed(4)}, learning rate ${learning_rate}`
      : `step ${step}: validation loss ${val_loss.toFixed(4)}`,
  );
const last = lines.findLast((line) => line.layers !== undefined);
for (const [name, { minus, zero, plus }] of Object.entries(last?.layers ?? {}))
  console.log(`${name}: ${[minus, zero, plus].map((share) => share.toFixed(3)).join(" / ")}`);
