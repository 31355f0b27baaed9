// Oracle: the functions that score each kind of task by themselves; their numbers have tests of their own. HumanEval's programs
// are judged in humaneval.test.ts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { byteTokenizer, createSmallEngine } from "../../test/support/small-model.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { readDocuments } from "../corpus/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { toHarnessTask } from "./harness-results.ts";
import { evaluateNamedTask } from "./run-tasks.ts";
import {
  checkRows,
  checkTaskNames,
  openTask,
  runTask,
  sourceOf,
  type TaskModels,
  type TaskPhaseProgress,
} from "./task-runner.ts";
import { evaluateWikiText } from "./wikitext.ts";

const tokenizer = byteTokenizer as unknown as Tokenizer;

function setup() {
  const folder = temporaryFolder();
  const rows = ["He fell, therefore", "It rained, because"].map((query, gold) => ({
    query,
    choices: ["a b.", "c."],
    gold,
  }));
  writeFileSync(join(folder, "copa.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  const wiki = join(folder, "wiki.test.raw");
  writeFileSync(wiki, " = A page = \n\nof words\n = Another = \n\nof more\n");
  const { engine, model } = createSmallEngine();
  const asked: string[] = [];
  const models: TaskModels = {
    async engine(use) {
      asked.push(use);
      return { engine, tokenizer, startToken: 256 };
    },
    async model() {
      asked.push("model");
      return { model, tokenizer, startToken: 256 };
    },
  };
  return { files: { path: folder, cacheDir: folder }, folder, wiki, engine, model, models, asked };
}

test("a likelihood task comes to what evaluateTask gives, and says where it is from its beginning", async () => {
  const { files, folder, engine, models, asked } = setup();
  const task = await openTask("copa", files);
  checkRows(task);
  const seen: TaskPhaseProgress[] = [];
  const outcome = await runTask(task, models, { batch: 2, samples: true, onProgress: (one) => seen.push(one) });
  const alone = await evaluateNamedTask(engine, tokenizer, "copa", files, { batch: 2, startToken: 256, samples: true });
  expect(outcome).toEqual({ result: toHarnessTask(alone), truncated: 0, samples: alone.samples });
  expect(asked).toEqual(["scoring"]);
  expect(seen[0]).toEqual({ phase: "scoring", done: 0, total: null, count: 0 });
  expect(seen.at(-1)).toEqual({ phase: "scoring", done: 2, total: 2, count: alone.tokens });
  expect(sourceOf(task)).toEqual({ source: join(folder, "copa.jsonl"), sha256: alone.sha256 });
  const limited = await runTask(task, models, { batch: 1, limit: 1 });
  expect(limited.result).toMatchObject({ items: 1, totalItems: 2 });
});

test("wikitext runs on the model, of the files named or of what the folder has", async () => {
  const { files, wiki, model, models, asked } = setup();
  const pages = readDocuments([wiki], { format: "wikitext" });
  const alone = await evaluateWikiText(model, tokenizer, pages, { batch: 3, startToken: 256 });
  for (const task of [await openTask("wikitext", files), await openTask("wikitext", files, { wikiText: [wiki] })]) {
    const { result, wikitext } = await runTask(task, models, { batch: 3 });
    expect(wikitext).toEqual(alone);
    expect(result.metrics.map(({ name, value }) => [name, value])).toEqual([
      ["word_perplexity", alone.wordPerplexity],
      ["byte_perplexity", alone.bytePerplexity],
      ["bits_per_byte", alone.bitsPerByte],
    ]);
  }
  expect(asked).toEqual(["model", "model"]);
});

test("what cannot be run is refused before anything is opened", async () => {
  const { files } = setup();
  expect(() => checkTaskNames(["copa", "nope"], true)).toThrow('unknown task "nope"; expected one of arc_easy, ');
  expect(() => checkTaskNames(["humaneval"], false)).toThrow("allow");
  await expect(openTask("piqa", files)).rejects.toThrow("has no file for piqa");
  await expect(openTask("wikitext", { path: temporaryFolder(), cacheDir: "unused" })).rejects.toThrow(
    "there is no wiki.test.raw or wiki.valid.raw",
  );
  const folder = temporaryFolder();
  writeFileSync(join(folder, "copa.jsonl"), '{"query":"x","choices":["a","b"],"gold":7}');
  const bad = await openTask("copa", { path: folder, cacheDir: "unused" });
  expect(() => checkRows(bad)).toThrow("copa.jsonl");
});
