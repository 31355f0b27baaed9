/**
 * One model in all the shapes that it runs in: the packed engine's ways, training's own forward, and what comes back from
 * each export. Continues prompts by the likeliest token, again and again, and says where the shapes part. For
 * test/greedy-agreement.test.ts.
 *
 * By default the packed engine adds up attention over pages of keys in another order than training, which can tip an int8
 * code, and with it the choice where two tokens are nearly as likely. `gatherAbove: 0` has training's order: there the shapes
 * must agree on every token, and the default's own shapes among themselves.
 */
import { join } from "node:path";
import {
  exportGguf,
  exportHuggingFace,
  type GgufExportOptions,
  loadModel,
  saveCompact,
} from "../../src/checkpoint/index.ts";
import { type PackedEngineOptions, packModel } from "../../src/infer/index.ts";
import type { Engine } from "../../src/infer/engine.ts";
import type { Transformer } from "../../src/model/index.ts";
import { rowMultiple } from "../../src/quant/ggml-types.ts";
import type { Tokenizer } from "../../src/tokenizer/index.ts";

export interface Agreement {
  name: string;
  /** Tokens the same as the first shape's, and all: of a text, up to the first that differs. */
  same: number;
  of: number;
  /** "prompt 3, token 40"; null where there is none. */
  firstDifference: string | null;
}

/** Texts by the default engine beside those by attention as in training. */
export interface DefaultTexts extends Agreement {
  /** Texts that are the same to the end. */
  sameTexts: number;
  /**
   * Where a text parts first: by how much training's logit of its own token exceeds that of the other, the most of all texts.
   * Of the order of what one tipped code moves.
   */
  largestGap: number;
}

/** Prompts at once. */
const together = 8;

/** Each prompt's continuation by the likeliest tokens, ends of text included as any other. */
async function continuations(
  engine: Engine,
  prompts: readonly (readonly number[])[],
  count: number,
): Promise<number[][]> {
  const texts: number[][] = [];
  for (let from = 0; from < prompts.length; from += together) {
    const sequences = prompts.slice(from, from + together).map(() => engine.createSequence());
    const written = sequences.map((): number[] => []);
    let next = prompts.slice(from, from + together);
    for (let step = 0; step < count; step++) {
      const logits = await engine.forward(
        sequences.map((sequence, i) => ({ sequence, tokens: next[i], logits: "last" as const })),
      );
      next = logits.map((row) => [likeliest(row)]);
      for (const [i, [token]] of next.entries()) written[i].push(token);
    }
    for (const sequence of sequences) sequence.dispose();
    texts.push(...written);
  }
  return texts;
}

function likeliest(row: Float32Array): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
}

/** Training's own forward over a prompt and its continuation: the logits of each place of the continuation. */
async function logitsOf(
  model: Transformer,
  prompt: readonly number[],
  text: readonly number[],
): Promise<Float32Array[]> {
  const V = model.config.vocabSize;
  const tokens = Int32Array.from([...prompt, ...text.slice(0, -1)]);
  const logits = model.logits({ tokens, batch: 1, length: tokens.length });
  const values = await model.runtime.readFloats(logits);
  logits.dispose();
  return text.map((_, t) => values.subarray((prompt.length - 1 + t) * V, (prompt.length + t) * V));
}

/** The tokens that training's forward would write at each place of these texts. */
async function foreseen(
  model: Transformer,
  prompts: readonly (readonly number[])[],
  texts: readonly (readonly number[])[],
): Promise<number[][]> {
  const found: number[][] = [];
  for (const [i, prompt] of prompts.entries())
    found.push((await logitsOf(model, prompt, texts[i])).map((row) => likeliest(row)));
  return found;
}

async function gapsOf(
  model: Transformer,
  prompts: readonly (readonly number[])[],
  texts: readonly (readonly number[])[],
  others: readonly (readonly number[])[],
): Promise<number[]> {
  const gaps: number[] = [];
  for (const [i, text] of texts.entries()) {
    const at = text.findIndex((token, t) => others[i][t] !== token);
    if (at < 0) continue;
    const row = (await logitsOf(model, prompts[i], text))[at];
    gaps.push(row[text[at]] - row[others[i][at]]);
  }
  return gaps;
}

function compare(name: string, wanted: readonly number[][], got: readonly number[][]): Agreement {
  const agreement: Agreement = { name, same: 0, of: 0, firstDifference: null };
  for (const [i, text] of wanted.entries()) {
    const at = text.findIndex((token, t) => got[i][t] !== token);
    agreement.of += text.length;
    agreement.same += at < 0 ? text.length : at;
    if (at >= 0) agreement.firstDifference ??= `prompt ${i}, token ${at}`;
  }
  return agreement;
}

/** @param folder an empty one, for exports */
export async function greedyAgreement(
  model: Transformer,
  tokenizer: Tokenizer,
  prompts: readonly (readonly number[])[],
  count: number,
  folder: string,
): Promise<{ agreements: Agreement[]; byDefault: DefaultTexts }> {
  const written = async (of: Transformer, options?: PackedEngineOptions) => {
    const engine = await packModel(of, options);
    try {
      return await continuations(engine, prompts, count);
    } finally {
      engine.dispose();
    }
  };
  const texts = await written(model, { gatherAbove: 0 });
  const usual = await written(model);
  const gaps = await gapsOf(model, prompts, texts, usual);
  const byDefault: DefaultTexts = {
    ...compare("the packed engine's default", texts, usual),
    sameTexts: texts.length - gaps.length,
    largestGap: Math.max(0, ...gaps),
  };
  const agreements = [
    compare("training's forward", texts, await foreseen(model, prompts, texts)),
    compare("the packed engine's default, five weights a byte", usual, await written(model, { weights: "trits" })),
  ];
  const { width, hiddenWidth } = model.config;
  // Architecture llama, for models without sub-norms, has no scale tensors: the others round scales there.
  const types = model.config.subNorms ? (["TQ2_0", "TQ1_0", "Q2_0", "I2_S"] as const) : (["I2_S"] as const);
  const fits = (type: "TQ2_0" | "TQ1_0" | "Q2_0" | "I2_S") =>
    [width, hiddenWidth].every((n) => n % rowMultiple(type) === 0);
  const gguf = (type: GgufExportOptions["type"]) => async (path: string) => {
    await exportGguf(path, model, tokenizer, { type, embeddingType: "f32", name: type });
  };
  const exports: [string, string, (path: string) => Promise<unknown>][] = [
    ["GGUF, F32", "f32.gguf", gguf("f32")],
    ...types
      .filter(fits)
      .map((type): [string, string, (path: string) => Promise<unknown>] => [
        `GGUF, ${type}`,
        `${type}.gguf`,
        gguf(type.toLowerCase() as GgufExportOptions["type"]),
      ]),
    ["Hugging Face, f32", "hf", (path) => exportHuggingFace(model, tokenizer, path, { type: "f32" })],
    ["Hugging Face, packed", "hf-packed", (path) => exportHuggingFace(model, tokenizer, path, { type: "packed" })],
    [
      "compact",
      "model.bitnet",
      (path) => saveCompact(path, model, tokenizer, { types: { embedding: "f32", head: "f32" } }),
    ],
  ];
  for (const [name, file, write] of exports) {
    const path = join(folder, file);
    await write(path);
    const back = await loadModel(path, model.runtime);
    try {
      agreements.push(compare(`${name}, read back, the packed engine's default`, usual, await written(back.model)));
      agreements.push(
        compare(`${name}, read back, training's forward`, texts, await foreseen(back.model, prompts, texts)),
      );
    } finally {
      back.model.dispose();
    }
  }
  return { agreements, byDefault };
}
