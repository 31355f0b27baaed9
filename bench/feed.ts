/**
 * How long a training step waits for its batch, and how fast a mixture gives batches: seven sources in RedPajama's
 * proportions, read in the training thread and ahead by a worker. `npm run bench -- feed`.
 *
 *   --shards 1000   shards in all
 *   --tokens 2e7    tokens in all (uint16)
 *   --steps 25      steps of `tiny` for each way of reading, in turns
 *   --quick         a trial, whose times mean nothing
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareTokens } from "../src/corpus/index.ts";
import { type MixtureFeedSpec, openFeed, openSplit, pathsOf, prefetchFeed, readMixture } from "../src/data/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { loadTokenizer, saveTokenizer, trainBpe } from "../src/tokenizer/index.ts";
import { train } from "../src/train/index.ts";
import { provenance, writeResult } from "./machine.ts";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    shards: { type: "string" },
    tokens: { type: "string" },
    steps: { type: "string" },
    folder: { type: "string" },
    phase: { type: "string" },
  },
});
const { quick } = options;
const shards = Number(options.shards ?? (quick ? 28 : 1000));
const tokens = Number(options.tokens ?? (quick ? 2e5 : 2e7));
const steps = Number(options.steps ?? (quick ? 2 : 25));
const batches = quick ? 20 : 2000;
const [B, T, vocabSize] = [32, 256, 2048];
const folder = options.folder ?? mkdtempSync(join(tmpdir(), "bitnet-bench-feed-"));
const tokenizerFile = join(folder, "tokenizer.json");

const { sources } = readMixture(resolve(import.meta.dirname, "../recipes/mixtures/redpajama-llama.yaml"));
const sum = sources.reduce((total, { weight }) => total + weight, 0);
const spec: MixtureFeedSpec = {
  kind: "mixture",
  sources: sources.map(({ name, weight }) => ({ name, weight, folders: [join(folder, name)], curriculum: true })),
  split: "train",
  curriculum: null,
  batch: B,
  sequence: T,
  seed: 1,
  documentStarts: false,
  lossAfter: null,
};

/** Words of a small language, so that a vocabulary of 2048 can be made of them. */
function* text(seed: number, documents: number): Generator<string> {
  const random = createRandom(seed);
  const syllables = ["ka", "to", "mi", "ren", "sul", "bo", "dan", "fe", "gri", "ho", "jul", "ple"];
  const word = () =>
    Array.from({ length: 1 + random.integer(4) }, () => syllables[random.integer(syllables.length)]).join("");
  for (let i = 0; i < documents; i++) yield Array.from({ length: 50 + random.integer(400) }, word).join(" ");
}

async function generate(): Promise<void> {
  if (existsSync(tokenizerFile)) return;
  const { tokenizer } = await trainBpe(text(0, 800), { vocabSize });
  for (const { name, weight } of sources) {
    const wanted = (tokens * weight) / sum;
    const random = createRandom(weight * 10);
    // Documents of made-up ids: what they say is of no matter here.
    function* documents() {
      for (let have = 0; have < wanted; have += 500) yield `${have}`;
    }
    await prepareTokens({
      sources: [{ name, identity: `${name} ${wanted}`, documents }],
      tokenizer: {
        vocabSize: tokenizer.vocabSize,
        endOfText: tokenizer.endOfText,
        hash: tokenizer.hash,
        encode: () => Array.from({ length: 499 }, () => 300 + random.integer(1700)),
      },
      outDir: join(folder, name),
      shardTokens: Math.max(500, Math.floor(tokens / shards)),
    });
  }
  saveTokenizer(tokenizer, tokenizerFile);
}

/** Tokens a second that a feed gives where nobody else computes. */
async function rate(prefetch: number): Promise<number> {
  const feed = prefetch > 0 ? prefetchFeed(spec, prefetch) : openFeed(spec);
  await feed.ready?.();
  const start = performance.now();
  for (let n = 0; n < batches; n++) await feed.next();
  const ms = performance.now() - start;
  await feed.close?.();
  return (1000 * batches * B * T) / ms;
}

/** Milliseconds of each step of `tiny`, and of those waiting. */
async function wait(prefetch: number): Promise<{ waitMs: number[]; stepMs: number[] }> {
  const [waitMs, stepMs]: number[][] = [[], []];
  await train({
    config: {
      preset: "tiny",
      model: { vocabSize: loadTokenizer(tokenizerFile).vocabSize },
      data: {
        mixture: { sources: sources.map((s) => ({ ...s, path: join(folder, pathsOf(s)[0].split("/").at(-1)!) })) },
        prefetch,
      },
      tokenizer: { file: tokenizerFile },
      train: { steps, batch: B, sequence: T },
      samples: { every: null },
      metrics: { tensorboard: false, layersEvery: null },
    },
    runFolder: join(folder, `run-${prefetch}-${performance.now()}`),
    callbacks: [
      {
        name: "watch",
        on(event) {
          if (event.type !== "step") return;
          waitMs.push(event.dataWaitMs);
          stepMs.push(event.elapsedMs);
        },
      },
    ],
  });
  return { waitMs, stepMs };
}

const round = (value: number) => Number(value.toPrecision(4));
function describe({ waitMs, stepMs }: { waitMs: number[]; stepMs: number[] }) {
  const sorted = [...waitMs].sort((a, b) => a - b);
  const total = (list: number[]) => list.reduce((a, b) => a + b, 0);
  return {
    steps: waitMs.length,
    medianWaitMs: round(sorted[sorted.length >> 1]),
    longestWaitMs: round(sorted.at(-1)!),
    medianStepMs: round([...stepMs].sort((a, b) => a - b)[stepMs.length >> 1]),
    shareOfTime: round(total(waitMs) / total(stepMs)),
  };
}

try {
  await generate();
  if (options.phase !== "generate") {
    // The answer first: both ways of reading give the same batches.
    const [here, ahead] = [openFeed(spec), prefetchFeed(spec, 4)];
    for (let n = 0; n < 5; n++) {
      const [a, b] = [await here.next(), await ahead.next()];
      if (a.tokens_BT.some((token, i) => token !== b.tokens_BT[i])) throw new Error("the worker's batches are others");
    }
    await ahead.close();
    await here.close?.();
    const opened = sources.map(({ name }) => openSplit(join(folder, name)));
    const shardsFound = opened.reduce((all, split) => all + split.shards.length, 0);
    for (const split of opened) split.close();
    const rates = { here: round(await rate(0)), ahead: round(await rate(4)) };
    const runs: Record<"here" | "ahead", { waitMs: number[]; stepMs: number[] }[]> = { here: [], ahead: [] };
    for (let turn = 0; turn < 2; turn++) {
      runs.here.push(await wait(0));
      runs.ahead.push(await wait(4));
    }
    const joined = (of: (typeof runs)["here"]) =>
      describe({ waitMs: of.flatMap((r) => r.waitMs), stepMs: of.flatMap((r) => r.stepMs) });
    const result = {
      ...provenance("npm run bench -- feed"),
      batch: B,
      sequence: T,
      sources: sources.length,
      shards: shardsFound,
      tokens,
      tokensPerSecond: rates,
      tiny: { readInTheTrainingThread: joined(runs.here), readAheadByAWorker: joined(runs.ahead) },
    };
    writeResult("feed", result, quick);
    console.log(JSON.stringify(result, null, 2));
  }
} finally {
  if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
}
