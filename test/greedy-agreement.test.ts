// Training's forward, the engines and every export read back write the same tokens. Oracle: each the others', over a small
// model with random weights, past the first chunk of keys that attention sums apart.
import { expect, test } from "vitest";
import { createBackend } from "../src/backends/index.ts";
import { presets, Transformer } from "../src/model/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { trainBpe } from "../src/tokenizer/index.ts";
import { greedyAgreement } from "./support/greedy-agreement.ts";
import { integers } from "./support/random.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

test.for([
  ["sub-norms, a tied head", {}, 9],
  ["no sub-norms, a head of its own", { subNorms: false, tiedHead: false }, 9],
  ["a prompt of 250 tokens, across 256", {}, 250],
] as const)(
  "%s: every greedy token is the same, however the model runs and wherever it has been",
  async ([, changes, length]) => {
    const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
      vocabSize: 280,
    });
    const backend = await createBackend({ backend: "auto", threads: 2 });
    try {
      const sizes = {
        vocabSize: 280,
        width: 256,
        layers: 2,
        heads: 4,
        kvHeads: 2,
        hiddenWidth: 256,
        contextLength: 264,
      };
      const model = new Transformer(new Runtime(backend), { ...presets.tiny, ...sizes, ...changes, initStd: 0.1 }, 3);
      const prompts = Array.from({ length: 3 }, (_, i) => [tokenizer.endOfText!, ...integers(length, i + 1, 280)]);
      const { exact, rounded } = await greedyAgreement(model, tokenizer, prompts, 12, temporaryFolder());
      expect(exact.length).toBeGreaterThan(12);
      for (const { name, same, firstDifference } of exact)
        expect({ name, same, firstDifference }).toEqual({ name, same: 3 * 12, firstDifference: null });
      // Keys, values or the embedding rounded by 2^-11, and at most a code of 127 tipped, over logits of some units.
      for (const { name, largestGap } of rounded) expect(largestGap, name).toBeLessThan(0.1);
    } finally {
      backend.close();
    }
  },
);
