/**
 * Times whole training steps of one model in this process and prints one JSON line; `bench/train.ts` runs it beside its
 * peers. Tokens are random: a step costs the same whatever they are.
 *
 *   tsx bench/train-steps.ts --preset tiny --variant bitnet --batch 32 --steps 5 --warm 2 --threads 2
 */
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { presetConfig, Transformer } from "../src/model/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { Runtime } from "../src/tensor/index.ts";
import { createAdamW, gradientNorm } from "../src/train/optimizers.ts";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "tiny" },
    variant: { type: "string", default: "bitnet" },
    batch: { type: "string", default: "32" },
    sequence: { type: "string", default: "0" },
    micro: { type: "string", default: "0" },
    steps: { type: "string", default: "5" },
    warm: { type: "string", default: "2" },
    threads: { type: "string", default: "2" },
    backend: { type: "string", default: "auto" },
    isa: { type: "string" },
    precision: { type: "string", default: "auto" },
    recompute: { type: "boolean", default: false },
    "rss-every": { type: "string", default: "0" },
  },
});

const backend = await createBackend({
  backend: values.backend as "auto",
  isa: values.isa,
  threads: Number(values.threads),
});
const precision =
  values.precision === "auto" ? (backend.supports.bf16 ? "bf16" : "fp32") : (values.precision as "fp32");
const runtime = new Runtime(backend, precision);
const config = {
  ...presetConfig(values.preset, values.variant as "bitnet"),
  recompute: values.recompute,
};
const model = new Transformer(runtime, config, 1);
const optimizer = createAdamW(runtime, model.parameters, { weightDecay: 0.1 });

const B = Number(values.batch);
const T = Number(values.sequence) || config.contextLength;
const M = Number(values.micro) || B;
const random = createRandom(1);
const ids = () => Int32Array.from({ length: B * T }, () => random.integer(config.vocabSize));
const tokens = ids();
const targets = ids();

async function step(): Promise<{ ms: number; loss: number; norm: number }> {
  const start = performance.now();
  let loss = 0;
  for (let b = 0; b < B; b += M) {
    const piece = (a: Int32Array) => a.subarray(b * T, (b + M) * T);
    const value = runtime.gradient(
      () => model.loss({ tokens: piece(tokens), batch: M, length: T }, piece(targets)).loss,
      M / B,
    );
    loss += ((await runtime.readFloats(value))[0] * M) / B;
    value.dispose();
  }
  const norm = await gradientNorm(runtime, model.parameters);
  optimizer.step({ learningRate: 1e-3, gradientScale: Math.min(1, 1 / (norm + 1e-6)) });
  return { ms: performance.now() - start, loss, norm };
}

const first = await step();
for (let i = 1; i < Number(values.warm); i++) await step();
const times: number[] = [];
const rss: { step: number; rssMiB: number }[] = [];
const rssEvery = Number(values["rss-every"]);
let last = first;
for (let i = 0; i < Number(values.steps); i++) {
  last = await step();
  times.push(last.ms);
  if (rssEvery && (i + 1) % rssEvery === 0) rss.push({ step: i + 1, rssMiB: process.memoryUsage().rss / 2 ** 20 });
}
times.sort((a, b) => a - b);
const median = times[times.length >> 1];
console.log(
  JSON.stringify({
    preset: values.preset,
    variant: values.variant,
    backend: backend.name,
    isa: backend.isa,
    threads: backend.threads,
    precision,
    parameters: model.parameters.reduce((sum, p) => sum + p.size, 0),
    tokensPerStep: B * T,
    tokensPerSecond: (B * T * 1000) / median,
    bestTokensPerSecond: (B * T * 1000) / times[0],
    stepMs: median,
    firstLoss: first.loss,
    expectedFirstLoss: Math.log(config.vocabSize),
    lastLoss: last.loss,
    peakRssMiB: process.resourceUsage().maxRSS / 1024,
    peakBackendMiB: backend.stats.peakBytes / 2 ** 20,
    rss,
  }),
);
backend.close();
