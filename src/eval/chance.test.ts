// Oracle: arithmetic. A model of random weights knows nothing, so its accuracy lies, within 1.96 standard errors, at what
// needs no model: 1/choices, the shortest answer, or always the same one. On the first items of each published file.
import { expect } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { createBackend } from "../backends/index.ts";
import { TransformerEngine } from "../infer/index.ts";
import { presets, Transformer } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainBpe } from "../tokenizer/index.ts";
import { evaluateNamedTask } from "./run-tasks.ts";
import { readTaskRows } from "./task-rows.ts";

const names = [
  "arc_easy",
  "arc_challenge",
  "hellaswag",
  "piqa",
  "winogrande",
  "boolq",
  "openbookqa",
  "copa",
  "lambada_openai",
];

testShared(
  "a random model scores at chance on every task of ../shared/data/mc, for both variants, and says so",
  ["data/mc/copa.jsonl"],
  async () => {
    const rows = await readTaskRows(sharedPath("data/mc/openbook_qa.jsonl"));
    const { tokenizer } = await trainBpe(
      rows.map(({ value }) => String(value.query)),
      { vocabSize: 512 },
    );
    const backend = await createBackend({ backend: "auto", threads: 1 });
    const sizes = {
      vocabSize: tokenizer.vocabSize,
      width: 32,
      layers: 1,
      heads: 2,
      kvHeads: 1,
      hiddenWidth: 48,
      contextLength: 256,
    };
    for (const variant of ["full", "bitnet"] as const) {
      const engine = new TransformerEngine(
        new Transformer(new Runtime(backend), { ...presets.tiny, ...sizes, variant }, 3),
      );
      for (const name of names) {
        const files = { path: sharedPath("data/mc"), cacheDir: "unused" };
        const options = { batch: 8, startToken: tokenizer.endOfText, limit: 16 };
        const result = await evaluateNamedTask(engine, tokenizer, name, files, options);
        expect(result.items).toBe(16);
        const accuracy = result.metrics.find((metric) => metric.name === "acc");
        expect(accuracy, `${variant} ${name}`).toMatchObject({ withinNoise: true });
      }
      engine.dispose();
    }
    backend.close();
  },
  240_000,
);
