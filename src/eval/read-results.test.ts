// Oracle: results files of lm-evaluation-harness, 0.3 and 0.4, as it writes them (their fields copied out by hand), and our
// own writer read back.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { toHarnessResults } from "./harness-results.ts";
import { readHarnessResults } from "./read-results.ts";

function file(content: string | object): string {
  const path = join(temporaryFolder(), "results.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const harness = {
  results: {
    arc_easy: {
      alias: "arc_easy",
      "acc,none": 0.5513,
      "acc_stderr,none": 0.0102,
      "acc_norm,none": 0.4886,
      "acc_norm_stderr,none": 0.0103,
    },
    wikitext: { alias: "wikitext", "word_perplexity,none": 14.84, "word_perplexity_stderr,none": "N/A" },
    gsm8k: { "exact_match,strict-match": 0.02, "exact_match_stderr,strict-match": 0.004 },
  },
  "n-shot": { arc_easy: 0, wikitext: 0, gsm8k: 5 },
  higher_is_better: { arc_easy: { acc: true, acc_norm: true }, wikitext: { word_perplexity: false } },
  "n-samples": { arc_easy: { original: 2376, effective: 2376 } },
  config: { model: "hf", model_args: "pretrained=TinyLlama/TinyLlama-1.1B" },
};

test("scores of lm-evaluation-harness 0.4, with errors, items, shots and filters", () => {
  const { model, scores } = readHarnessResults(file(harness));
  expect(model).toBe("pretrained=TinyLlama/TinyLlama-1.1B");
  expect(scores.map(({ task, metric, filter }) => `${task} ${metric} ${filter}`)).toEqual([
    "arc_easy acc none",
    "arc_easy acc_norm none",
    "wikitext word_perplexity none",
    "gsm8k exact_match strict-match",
  ]);
  expect(scores[0]).toMatchObject({ value: 0.5513, standardError: 0.0102, items: 2376, totalItems: 2376, fewshot: 0 });
  expect(scores[2]).toMatchObject({ standardError: null, higherIsBetter: false, items: null });
  expect(scores[3]).toMatchObject({ higherIsBetter: true, fewshot: 5 });
});

test("scores of 0.3, whose keys have no filter and which says of no metric what is better", () => {
  const old = { results: { lambada_openai: { ppl: 9.8, ppl_stderr: 0.3, acc: 0.5, acc_stderr: 0.007 } } };
  expect(readHarnessResults(file(old)).scores).toMatchObject([
    { metric: "ppl", value: 9.8, standardError: 0.3, higherIsBetter: false },
    { metric: "acc", value: 0.5, standardError: 0.007, higherIsBetter: true },
  ]);
});

test("what `bitnet eval -o` writes is read back, chance and all", () => {
  const metric = { name: "acc", value: 0.27, standardError: 0.01, higherIsBetter: true };
  const pass = { name: "pass@1", value: 0, standardError: 0, higherIsBetter: true };
  const tasks = [
    {
      task: "copa",
      version: 1,
      metrics: [metric],
      fewshot: 0,
      items: 90,
      totalItems: 100,
      details: { within_noise: { acc: true } },
    },
    { task: "humaneval", version: 1, metrics: [pass], fewshot: 0, items: 164, totalItems: 164, filter: "create_test" },
  ];
  const { model, scores } = readHarnessResults(file(toHarnessResults(tasks, { path: "runs/a" })));
  expect(model).toBe("pretrained=runs/a");
  expect(scores).toMatchObject([
    { task: "copa", metric: "acc", value: 0.27, items: 90, withinNoise: true },
    { task: "humaneval", metric: "pass@1", filter: "create_test", value: 0, standardError: 0, items: 164 },
  ]);
});

test.for([
  ['{"results": {"arc_easy": {"acc,none": 0.5', /is not JSON .*cut short/],
  ["[1]", /expected a JSON object, got \[1\]/],
  [{ score: 1 }, /has no object "results"; expected a results file/],
  [{ results: {} }, /"results" holds no score/],
  [{ results: { arc_easy: 0.5 } }, /results\.arc_easy is 0\.5; expected an object/],
  ['{"results": {"arc_easy": {"acc,none": NaN}}}', /results\.arc_easy\["acc,none"\] is null; expected a number/],
  [{ results: { a: { "acc,none": 0.5, "acc_stderr,none": -1 } } }, /standard error of acc is -1/],
] as const)("%j is refused with what is wrong in it", ([content, message]) => {
  expect(() => readHarnessResults(file(content))).toThrow(message);
});
