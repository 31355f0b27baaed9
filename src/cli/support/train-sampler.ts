/** What writes a run's samples while it trains: infer/'s generation over the model under training. */
import { generateText, TransformerEngine } from "../../infer/index.ts";
import { createRandom } from "../../platform/random.ts";
import type { TrainOptions } from "../../train/index.ts";

export const createSampler =
  (): NonNullable<TrainOptions["sampler"]> =>
  ({ model, tokenizer }) =>
  async (prompt, { tokens, temperature, seed }) => {
    const random = createRandom(seed);
    // End-of-text is what stands before every document in training.
    const startToken = tokenizer.endOfText;
    const engine = new TransformerEngine(model);
    try {
      return (await generateText(engine, tokenizer, prompt, { maxTokens: tokens, temperature, random, startToken }))
        .text;
    } finally {
      engine.dispose();
    }
  };
