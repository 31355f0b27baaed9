// Training's forward, both engines and every export read back, over a trained model: each the others' oracle. The model is the
// one that these judges train; JUDGE_PROMPTS (20; 100 for the full check) prompts of real text, 100 tokens each. Figures of a
// longer training are in docs/formats.md, by bench/agreement.ts.
import { expect } from "vitest";
import { greedyAgreement } from "../support/greedy-agreement.ts";
import { testShared } from "../support/shared.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { realTextFiles } from "../support/tokenizers.ts";
import { promptsFrom, trainSmall } from "./support/trained.ts";

const promptCount = Number(process.env.JUDGE_PROMPTS ?? 20);
const count = 100;

testShared(
  `${promptCount} prompts of ${count} greedy tokens: the same by training's forward, by the engines, and by every export`,
  realTextFiles,
  async () => {
    const { model, tokenizer, text, close } = await trainSmall();
    try {
      const prompts = promptsFrom(text, promptCount, 12, tokenizer.endOfText!);
      const { exact, rounded } = await greedyAgreement(model, tokenizer, prompts, count, temporaryFolder(), (shape) => {
        const { name, same, of, firstDifference } = shape;
        const where = firstDifference === null ? "" : `, first differs ${firstDifference}`;
        process.stdout.write(`    ${name}: ${same} of ${of} tokens${where}\n`);
      });
      for (const { name, same, of } of exact) expect({ name, same, of }).toEqual({ name, same: of, of });
      // Where what is rounded parts from training, the two tokens were nearly as likely.
      for (const { name, largestGap } of rounded) expect(largestGap, name).toBeLessThan(0.25);
    } finally {
      close();
    }
  },
  1_800_000,
);
