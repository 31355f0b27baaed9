/**
 * One model in all the shapes that it runs in: training's own forward, the engine over it, the packed engine's ways, and what
 * comes back from each export. Continues prompts by the likeliest token, again and again, and says where the shapes part.
 * For test/greedy-agreement.test.ts, test/judges/agreement.test.ts and bench/agreement.ts.
 *
 * The packed engine's default writes the texts; training's forward, over each whole text, must foresee every token, and every
 * other exact shape must write it again. A cache or an embedding in float16 rounds what training does not: those are told apart.
 */
import { join } from "node:path";
import {
  exportGguf,
  exportHuggingFace,
  type GgufExportOptions,
  loadModel,
  saveCompact,
} from "../../src/exchange/index.ts";
import { type PackedEngineOptions, packModel, TransformerEngine } from "../../src/infer/index.ts";
import type { Engine } from "../../src/infer/engine.ts";
import type { Transformer } from "../../src/model/index.ts";
import { rowMultiple } from "../../src/quant/ggml-types.ts";
import type { Tokenizer } from "../../src/tokenizer/index.ts";

export interface Agreement {
  name: string;
  /** Tokens the same as the default engine's, and all: of a text, up to the first that differs. */
  same: number;
  of: number;
  /** Texts the same to the end. */
  sameTexts: number;
  /** "prompt 3, token 40"; null where there is none. */
  firstDifference: string | null;
}

export interface Rounded extends Agreement {
  /** Where a text parts first: by how much training's logit of its own token exceeds that of the other, the most of all texts. */
  largestGap: number;
}

export interface Agreements {
  /** Each must be the same on every token. */
  exact: Agreement[];
  /** What rounds more than training does: keys and values, or the embedding, in float16. */
  rounded: Rounded[];
}

/** Prompts at once. */
const together = 8;

/** Each prompt's continuation by the likeliest tokens, ends of text included as any other. */
async function continuations(
  engine: Engine,
  prompts: readonly (readonly number[])[],
  count: number,
  atOnce = together,
): Promise<number[][]> {
  const texts: number[][] = [];
  for (let from = 0; from < prompts.length; from += atOnce) {
    const sequences = prompts.slice(from, from + atOnce).map(() => engine.createSequence());
    const written = sequences.map((): number[] => []);
    let next = prompts.slice(from, from + atOnce);
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

async function largestGap(
  model: Transformer,
  prompts: readonly (readonly number[])[],
  texts: readonly (readonly number[])[],
  others: readonly (readonly number[])[],
): Promise<number> {
  let largest = 0;
  for (const [i, text] of texts.entries()) {
    const at = text.findIndex((token, t) => others[i][t] !== token);
    if (at < 0) continue;
    const row = (await logitsOf(model, prompts[i], text))[at];
    largest = Math.max(largest, row[text[at]] - row[others[i][at]]);
  }
  return largest;
}

function compare(name: string, wanted: readonly number[][], got: readonly number[][]): Agreement {
  const agreement: Agreement = { name, same: 0, of: 0, sameTexts: 0, firstDifference: null };
  for (const [i, text] of wanted.entries()) {
    const at = text.findIndex((token, t) => got[i][t] !== token);
    agreement.of += text.length;
    agreement.same += at < 0 ? text.length : at;
    if (at < 0) agreement.sameTexts++;
    else agreement.firstDifference ??= `prompt ${i}, token ${at}`;
  }
  return agreement;
}

/**
 * @param folder  an empty one, for exports
 * @param onShape called with each shape's result as it comes
 */
export async function greedyAgreement(
  model: Transformer,
  tokenizer: Tokenizer,
  prompts: readonly (readonly number[])[],
  count: number,
  folder: string,
  onShape: (shape: Agreement) => void = () => {},
): Promise<Agreements> {
  const exact: Agreement[] = [];
  const told = <T extends Agreement>(shape: T): T => {
    onShape(shape);
    return shape;
  };
  const add = (name: string, got: readonly number[][]) => void exact.push(told(compare(name, texts, got)));
  const written = async (of: Transformer, options?: PackedEngineOptions, atOnce?: number) => {
    const engine = await packModel(of, options);
    try {
      return await continuations(engine, prompts, count, atOnce);
    } finally {
      engine.dispose();
    }
  };
  const texts = await written(model);
  add("training's forward", await foreseen(model, prompts, texts));
  add(
    "the engine over training's model, with its cache",
    await continuations(new TransformerEngine(model), prompts, count),
  );
  add("the packed engine, text by text", await written(model, {}, 1));
  add("the packed engine, prompts over pages too", await written(model, { gatherAbove: Number.MAX_SAFE_INTEGER }));
  if (model.config.variant === "bitnet")
    add("the packed engine, five weights to a byte", await written(model, { weights: "trits" }));
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
      add(`${name}, read back: the packed engine`, await written(back.model));
      add(`${name}, read back: training's forward`, await foreseen(back.model, prompts, texts));
    } finally {
      back.model.dispose();
    }
  }
  const rounded: Rounded[] = [];
  const addRounded = async (name: string, got: readonly number[][]) =>
    void rounded.push(told({ ...compare(name, texts, got), largestGap: await largestGap(model, prompts, texts, got) }));
  await addRounded("keys and values in float16", await written(model, { cache: "f16" }));
  const path = join(folder, "half.gguf");
  await exportGguf(path, model, tokenizer, { type: "i2_s", embeddingType: "f16", name: "half" });
  const back = await loadModel(path, model.runtime);
  try {
    await addRounded("GGUF, I2_S, with its embedding in float16 (the default), read back", await written(back.model));
  } finally {
    back.model.dispose();
  }
  return { exact, rounded };
}
