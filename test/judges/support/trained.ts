/** Models for the judges: one trained here for some seconds on real stories, and a real published one. */
import { createBackend } from "../../../src/backends/index.ts";
import { createBatches, streamOfTokens } from "../../../src/data/index.ts";
import { type ModelConfig, presets, Transformer } from "../../../src/model/index.ts";
import { createRandom } from "../../../src/platform/random.ts";
import { Runtime } from "../../../src/tensor/index.ts";
import { type Tokenizer, trainBpe } from "../../../src/tokenizer/index.ts";
import { createAdamW } from "../../../src/train/optimizers.ts";
import { createSchedule } from "../../../src/train/schedules.ts";
import { runTraining } from "../../../src/train/trainer.ts";
import { realTexts } from "../../support/tokenizers.ts";

/** Widths that every block format fits: multiples of 256. */
export const judgedConfig: ModelConfig = {
  ...presets.tiny,
  vocabSize: 1000,
  width: 256,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 512,
  contextLength: 128,
};

export interface Trained {
  model: Transformer;
  runtime: Runtime;
  tokenizer: Tokenizer;
  /** Tokens of the text that it learnt from. */
  text: Int32Array;
  losses: number[];
  close(): void;
}

/** Byte-level BPE of 900 tokens (so that some ids of the model have none), and `steps` steps of AdamW. */
export async function trainSmall(changes: Partial<ModelConfig> = {}, steps = 80): Promise<Trained> {
  const documents = realTexts(150_000).filter((text) => text.length > 200);
  const { tokenizer } = await trainBpe(documents, { vocabSize: 900 });
  const ids = documents.flatMap((text) => [tokenizer.endOfText!, ...tokenizer.encode(text)]);
  const text = Int32Array.from(ids);
  const backend = await createBackend({ backend: "auto", threads: 2 });
  const runtime = new Runtime(backend);
  const config = { ...judgedConfig, ...changes };
  const model = new Transformer(runtime, config, 7);
  const losses: number[] = [];
  const optimizer = createAdamW(runtime, model.parameters);
  const tokens = streamOfTokens(text, {
    vocabSize: config.vocabSize,
    endOfText: tokenizer.endOfText!,
    textBytes: ids.length,
  });
  let now = 0;
  await runTraining({
    runtime,
    model,
    data: createBatches({ tokens, batch: 8, sequence: 64, seed: 5 }),
    optimizer,
    schedule: createSchedule({ kind: "constant", warmupSteps: 8 }, { learningRate: 3e-3, weightDecay: 0.1 }, steps),
    steps,
    microBatch: 8,
    clipNorm: 1,
    maxSkippedSteps: 3,
    callbacks: [
      {
        name: "recorder",
        on(event) {
          if (event.type === "step") losses.push(event.loss);
        },
      },
    ],
    clock: { monotonicMs: () => ++now, epochMs: () => now },
    random: createRandom(9),
  });
  optimizer.dispose();
  return { model, runtime, tokenizer, text, losses, close: () => backend.close() };
}

/** `count` pieces of `length` tokens from a text, evenly spread, each after the token that starts a text. */
export function promptsFrom(text: Int32Array, count: number, length: number, startToken: number): number[][] {
  const stride = Math.floor((text.length - length) / count);
  return Array.from({ length: count }, (_, i) => [startToken, ...text.subarray(i * stride + 1, i * stride + length)]);
}
