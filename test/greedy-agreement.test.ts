// Training's forward, the packed engine and every export read back write the same tokens. Oracle: each the others', over a
// small model with random weights.
import { expect, test } from "vitest";
import { createBackend } from "../src/backends/index.ts";
import { presets, Transformer } from "../src/model/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { trainBpe } from "../src/tokenizer/index.ts";
import { greedyAgreement } from "./support/greedy-agreement.ts";
import { integers } from "./support/random.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

test.for([
  ["sub-norms, a tied head", {}],
  ["no sub-norms, a head of its own", { subNorms: false, tiedHead: false }],
] as const)(
  "%s: every greedy token is the same, however the model runs and wherever it has been",
  async ([, changes]) => {
    const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
      vocabSize: 280,
    });
    const backend = await createBackend({ backend: "auto", threads: 2 });
    try {
      const sizes = {
        vocabSize: 280,
        width: 256,
        layers: 1,
        heads: 4,
        kvHeads: 2,
        hiddenWidth: 256,
        contextLength: 64,
      };
      const model = new Transformer(new Runtime(backend), { ...presets.tiny, ...sizes, ...changes, initStd: 0.1 }, 3);
      const prompts = Array.from({ length: 3 }, (_, i) => [tokenizer.endOfText!, ...integers(9, i + 1, 280)]);
      const { agreements, byDefault } = await greedyAgreement(model, tokenizer, prompts, 12, temporaryFolder());
      expect(agreements.length).toBeGreaterThan(10);
      for (const { name, same, of, firstDifference } of agreements)
        expect({ name, same, of, firstDifference }).toEqual({ name, same: 3 * 12, of: 3 * 12, firstDifference: null });
      // One code of 127 tipped, over logits of some units.
      expect(byDefault.largestGap).toBeLessThan(0.1);
    } finally {
      backend.close();
    }
  },
);
