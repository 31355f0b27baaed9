/**
 * Counts greedy tokens that training's forward, the engines and every export read back agree on, for docs/formats.md:
 *
 *   npx tsx bench/agreement.ts --model runs/tiny --text held-out.txt     a trained model, over a text that it has not seen
 *   npx tsx bench/agreement.ts --model small                            the small one that test/judges trains here
 *
 * 100 prompts of 12 tokens, spread evenly over the text, are continued by 100 tokens each (--prompts, --tokens). Each model
 * keeps its place in bench/results/agreement.json. Not a timing: it may run beside other work.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { createBackend } from "../src/backends/index.ts";
import { loadModel } from "../src/exchange/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { promptsFrom, trainSmall } from "../test/judges/support/trained.ts";
import { type Agreements, greedyAgreement } from "../test/support/greedy-agreement.ts";
import { type Provenance, provenance, resultsFolder, writeResult } from "./machine.ts";

export interface AgreementResult extends Provenance, Agreements {
  model: string;
  width: number;
  hiddenWidth: number;
  isa: string;
  prompts: number;
  tokens: number;
}

const promptTokens = 12;

async function opened(model: string, textFile: string | undefined) {
  if (model === "small") return trainSmall();
  if (!textFile) throw new Error("--text FILE is missing: a text that the model has not seen");
  const backend = await createBackend({ backend: "auto", threads: 2 });
  const { model: loaded, tokenizer } = await loadModel(model, new Runtime(backend));
  if (!tokenizer) throw new Error(`${model} has no tokenizer`);
  const text = tokenizer.encode(readFileSync(textFile, "utf8"));
  return { model: loaded, runtime: loaded.runtime, tokenizer, text, close: () => backend.close() };
}

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    prompts: { type: "string", default: "100" },
    tokens: { type: "string", default: "100" },
    quick: { type: "boolean", default: false },
  },
});
if (!values.model) throw new Error("--model is missing: a run, a model folder, or small");
const [prompts, tokens] = values.quick ? [2, 10] : [Number(values.prompts), Number(values.tokens)];
const { model, tokenizer, text, close } = await opened(values.model, values.text);
const folder = mkdtempSync(join(tmpdir(), "bitnet-agreement-"));
try {
  const name = basename(values.model);
  const { width, hiddenWidth } = model.config;
  const texts = promptsFrom(text, prompts, promptTokens, tokenizer.endOfText!);
  const agreements = await greedyAgreement(model, tokenizer, texts, tokens, folder, (shape) => {
    const { name, same, of, firstDifference } = shape;
    console.log(
      `${name}: ${same} of ${of} tokens${firstDifference === null ? "" : `, first differs ${firstDifference}`}`,
    );
  });
  const where = values.model === "small" ? "--model small" : `--model ${name} --text ${basename(values.text!)}`;
  const from = provenance(`npx tsx bench/agreement.ts ${where}`);
  const { isa } = model.runtime.backend;
  const result: AgreementResult = { ...from, model: name, width, hiddenWidth, isa, prompts, tokens, ...agreements };
  const path = resolve(import.meta.dirname, "..", resultsFolder(values.quick), "agreement.json");
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")).models as AgreementResult[]) : [];
  writeResult("agreement", { models: [...before.filter((one) => one.model !== name), result] }, values.quick);
} finally {
  rmSync(folder, { recursive: true, force: true });
  close();
}
