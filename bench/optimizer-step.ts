/**
 * Time of one optimizer step, for each optimizer, beside forward and backward of one training step: the numbers of
 * docs/optimizers.md. Whole optimizers over a whole model (bench/optimizers.ts times AdamW's kernels). Processor time of one
 * thread, since other programs may run beside it; median of the repetitions.
 *
 *   npx tsx bench/optimizer-step.ts [preset] [sequences]
 */
import { createBackend } from "../src/backends/index.ts";
import { presetConfig, Transformer } from "../src/model/index.ts";
import { fill } from "../src/ops/fill/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { describeMachine } from "../src/platform/system.ts";
import { Runtime } from "../src/tensor/index.ts";
import { createOptimizer, type OptimizerChoice } from "../src/train/optimizers.ts";

const [preset = "tiny", sequences = "32"] = process.argv.slice(2);
const rows = Number(sequences);
const microBatch = Math.min(rows, 8);
const backend = await createBackend({ backend: "native", threads: 1 });
const runtime = new Runtime(backend, backend.supports.bf16 ? "bf16" : "fp32");
const config = presetConfig(preset, "bitnet");
const model = new Transformer(runtime, config, 1);
const length = config.contextLength;

/** Median processor milliseconds of `body`. */
function time(repetitions: number, body: () => void): number {
  const all = Array.from({ length: repetitions }, () => {
    const before = process.cpuUsage();
    body();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  });
  return all.sort((a, b) => a - b)[repetitions >> 1];
}

const random = createRandom(2);
const drawn = () => Int32Array.from({ length: microBatch * length }, () => random.integer(config.vocabSize));
const tokens = drawn();
const targets = drawn();
const pass = () => {
  for (let done = 0; done < rows; done += microBatch)
    runtime.gradient(() => model.loss({ tokens, batch: microBatch, length }, targets).loss).dispose();
};
pass();
for (const parameter of model.parameters) parameter.clearGradient();
const passMs = time(3, pass);
console.log(`${JSON.stringify(describeMachine())}, ${backend.isa}, 1 thread, precision ${runtime.precision}`);
console.log(`${preset}, ${rows} x ${length} tokens: forward and backward ${passMs.toFixed(0)} ms`);

const choices: [name: string, config: OptimizerChoice][] = [
  ["sgd, momentum", { kind: "sgd", momentum: 0.9 }],
  ["adamw", { kind: "adamw" }],
  ["adamw, cautious", { kind: "adamw", cautious: true }],
  ["adamw, latentClip", { kind: "adamw", latentClip: 2 }],
  ["adamw8bit", { kind: "adamw8bit" }],
  ["muon, 3 iterations", { kind: "muon", iterations: 3 }],
  ["muon, 5 iterations", { kind: "muon", iterations: 5 }],
];
for (const [name, choice] of choices) {
  const optimizer = createOptimizer(runtime, model.parameters, choice);
  const step = () => {
    for (const parameter of model.parameters) {
      fill(runtime.plainContext(), parameter.gradient, 1e-3);
      parameter.hasGradient = true;
    }
    optimizer.step({ learningRate: 1e-6, weightDecay: 0.1 });
  };
  step();
  const ms = time(5, step);
  console.log(`${name.padEnd(20)} ${ms.toFixed(1).padStart(8)} ms ${((100 * ms) / passMs).toFixed(1).padStart(6)} %`);
  optimizer.dispose();
}
backend.close();
