// Exported GGUF files, judged by llama.cpp itself (node-llama-cpp): it loads them unchanged, and what it computes is held
// to what we compute. Oracle: llama.cpp; the weights of the `llama` twin are a published model's (stories260K of llama2.c).
//
// Prompts: 20, for the time that CI has; JUDGE_PROMPTS=100 for the full check. Each is continued by 24 tokens. Where two tokens
// are nearly as likely, rounding may choose either: a token may differ only where our own gap is below what the formats'
// rounding explains, and that is counted and printed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBackend } from "../../src/backends/index.ts";
import { exportGguf, type GgufExportType } from "../../src/exchange/gguf/index.ts";
import { loadModel } from "../../src/exchange/index.ts";
import { describePlan, type ModelConfig } from "../../src/model/index.ts";
import { text, u32, writeGguf } from "../../src/formats/gguf/index.ts";
import { tokenizerToGguf } from "../../src/exchange/gguf/tokenizer-to-gguf.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { loadTokenizer, type Tokenizer, trainBpe, trainCharacters } from "../../src/tokenizer/index.ts";
import { createTokenizer } from "../../src/tokenizer/load.ts";
import { sharedPath } from "../support/shared.ts";
import { readLlama2c } from "../support/llama2c.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { gpt2Files, gpt2Json, realTextFiles, realTexts } from "../support/tokenizers.ts";
import { type Continue, FloatEngine, type Greedy, greedy, startModel } from "./support/float-engine.ts";
import { absent, askLlama, dismissLlama, testJudge } from "./support/llama.ts";
import { promptsFrom, type Trained, trainSmall } from "./support/trained.ts";

const promptCount = Number(process.env.JUDGE_PROMPTS ?? 20);
const promptLength = 12;
const count = 24;

afterAll(dismissLlama);

const report = (line: string) => process.stdout.write(`    ${line}\n`);

/** A thousand lines of stories, articles and web pages. */
const lines = () =>
  realTexts(120_000)
    .flatMap((document) => document.split("\n"))
    .filter((line) => line.trim() !== "")
    .slice(0, 1000);

describe("a thousand lines of real text are the same tokens to llama.cpp and to us", () => {
  const check = async (tokenizer: Tokenizer, sample: string[]) => {
    const path = join(temporaryFolder(), "vocabulary.gguf");
    const { entries } = tokenizerToGguf(tokenizer, {
      vocabSize: tokenizer.vocabSize,
      startToken: tokenizer.bos ?? tokenizer.endOfText,
    });
    await writeGguf(
      path,
      [["general.architecture", text("llama")], ["llama.vocab_size", u32(tokenizer.vocabSize)], ...entries],
      [],
    );
    expect(sample).toHaveLength(1000);
    const { tokens } = await askLlama({ model: path, vocabOnly: true, lines: sample });
    const differ = sample.filter(
      (line, i) => tokens![i].join() !== tokenizer.encode(line, { parseSpecialTokens: false }).join(),
    );
    expect(differ).toEqual([]);
  };

  testJudge("byte-level BPE trained here", realTextFiles, async () => {
    const { tokenizer } = await trainBpe(realTexts(60_000), { vocabSize: 1500 });
    await check(tokenizer, lines());
  });
  testJudge("GPT-2's", [...realTextFiles, ...gpt2Files], async () =>
    check(createTokenizer(gpt2Json(), { name: "gpt2" }), lines()),
  );
  testJudge("LLaMA-2's (SentencePiece)", [...realTextFiles, "data/tokenizers/llama2.tokenizer.json"], async () =>
    check(loadTokenizer(sharedPath("data/tokenizers/llama2.tokenizer.json")), lines()),
  );
  testJudge("LLaMA-3's", [...realTextFiles, "data/tokenizers/llama3.tokenizer.model"], async () =>
    check(loadTokenizer(sharedPath("data/tokenizers/llama3.tokenizer.model")), lines()),
  );
  testJudge("characters with bytes for those unknown, trained here", realTextFiles, async () => {
    const sample = lines();
    const { tokenizer } = await trainCharacters(sample.slice(0, 500), { unknown: "bytes" });
    await check(tokenizer, sample);
  });
});

/** What came of comparing greedy continuations. */
function compare(theirs: readonly number[][], ours: readonly Greedy[], explained: number) {
  let [same, tokens, agreed] = [0, 0, 0];
  const unexplained: string[] = [];
  for (const [i, { tokens: mine, gaps }] of ours.entries()) {
    const at = mine.findIndex((token, k) => theirs[i][k] !== token);
    const length = at < 0 ? mine.length : at;
    tokens += mine.length;
    agreed += length;
    if (at < 0 && theirs[i].length === mine.length) same++;
    else if (at < 0 || gaps[at] >= explained) unexplained.push(`prompt ${i}, token ${at}: gap ${gaps[at]}`);
  }
  return { same, of: ours.length, share: agreed / tokens, unexplained };
}

/** Logits of every position of each text, by our engine. */
async function logitsOf(
  start: () => Continue,
  texts: readonly number[][],
  vocabSize: number,
): Promise<Float32Array[][]> {
  const all: Float32Array[][] = [];
  for (const ids of texts) {
    const values = await start()(Int32Array.from(ids), ids.length);
    all.push(ids.map((_, t) => values.subarray(t * vocabSize, (t + 1) * vocabSize)));
  }
  return all;
}

/** Over all positions: the least cosine, the rms of the difference over the rms of ours, and equal largest logits. */
function distance(theirs: readonly number[][][], ours: readonly Float32Array[][]) {
  let [least, error, power, positions, top] = [1, 0, 0, 0, 0];
  for (const [i, rows] of ours.entries())
    for (const [t, row] of rows.entries()) {
      let [ab, aa, bb] = [0, 0, 0];
      let [bestA, bestB] = [0, 0];
      const other = theirs[i][t];
      expect(other).toHaveLength(row.length);
      for (const [v, a] of row.entries()) {
        const b = other[v];
        ab += a * b;
        aa += a * a;
        bb += b * b;
        error += (a - b) ** 2;
        if (a > row[bestA]) bestA = v;
        if (b > other[bestB]) bestB = v;
      }
      power += aa;
      positions++;
      if (bestA === bestB) top++;
      // A NaN fails every comparison after it.
      const cosine = ab / Math.sqrt(aa * bb);
      least = cosine < least || Number.isNaN(cosine) ? cosine : least;
    }
  return { cosine: least, relative: Math.sqrt(error / power), top: top / positions, positions };
}

describe.skipIf(absent !== null)("a bitnet model trained here", () => {
  let trained: Trained;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-judge-"));
    trained = await trainSmall();
  }, 120_000);
  afterAll(() => {
    trained?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const exported = async (type: GgufExportType) => {
    const path = join(folder, `${type}.gguf`);
    await exportGguf(path, trained.model, trained.tokenizer, { type, name: "judged" });
    return path;
  };
  const prompts = () => promptsFrom(trained.text, promptCount, promptLength, trained.tokenizer.endOfText!);
  const texts = () => promptsFrom(trained.text.subarray(1000), 8, 40, trained.tokenizer.endOfText!);
  const vocabSize = 1000;

  testJudge("has learnt: its loss fell by a nat at least", realTextFiles, async () => {
    expect(trained.losses.at(-1)!).toBeLessThan(trained.losses[0] - 1);
  });

  for (const type of ["f32", "f16"] as const)
    testJudge(
      `in ${type.toUpperCase()} tokenises as we do, and computes what our model does with float activations`,
      realTextFiles,
      async () => {
        const model = await exported(type);
        const sample = lines().slice(0, 200);
        const answer = await askLlama({ model, lines: sample, greedy: { prompts: prompts(), count }, logits: texts() });
        expect(answer.architecture).toBe("bitnet");
        expect(answer.tokens).toEqual(
          sample.map((line) => [...trained.tokenizer.encode(line, { parseSpecialTokens: false })]),
        );
        const engine = await FloatEngine.of(trained.model);
        const ours = await logitsOf(() => engine.start(1, 128), texts(), vocabSize);
        const { cosine, relative, positions } = distance(answer.logits!, ours);
        report(
          `${type}: ${positions} positions, least cosine ${cosine.toFixed(7)}, rms difference ${(100 * relative).toFixed(3)} %`,
        );
        // Activations go through float16 with F16 weights: 2^-11 a layer.
        expect(relative).toBeLessThan(type === "f32" ? 1e-4 : 3e-3);
        const continued = await greedy(
          engine.start(promptCount, 64),
          prompts(),
          count,
          vocabSize,
          trained.tokenizer.eos,
        );
        const result = compare(answer.greedy!, continued, type === "f32" ? 1e-3 : 2e-2);
        report(`${type}: ${result.same} of ${result.of} prompts continued the same for ${count} tokens`);
        expect(result.unexplained).toEqual([]);
        expect(result.share).toBeGreaterThan(0.98);
      },
    );

  for (const type of ["tq2_0", "tq1_0", "q2_0", "q8_0"] as const)
    testJudge(
      `in ${type.toUpperCase()} loads, and its logits are ours (exact int8 activations) at cosine 0.998 at least`,
      realTextFiles,
      async () => {
        const model = await exported(type);
        const answer = await askLlama({ model, greedy: { prompts: prompts(), count }, logits: texts() });
        const ours = await logitsOf(() => startModel(trained.model, 1, 128), texts(), vocabSize);
        const { cosine, relative, top, positions } = distance(answer.logits!, ours);
        const continued = await greedy(
          startModel(trained.model, promptCount, 64),
          prompts(),
          count,
          vocabSize,
          trained.tokenizer.eos,
        );
        const { same, of, share } = compare(answer.greedy!, continued, Number.POSITIVE_INFINITY);
        report(
          `${type}: ${positions} positions, least cosine ${cosine.toFixed(5)}, rms difference ${(100 * relative).toFixed(2)} %, same largest logit ${(100 * top).toFixed(1)} %; greedy: ${same} of ${of} prompts the same, ${(100 * share).toFixed(1)} % of tokens before the first difference`,
        );
        expect(cosine).toBeGreaterThanOrEqual(0.998);
        expect(top).toBeGreaterThan(0.9);
      },
    );

  testJudge("read back from each file has the same ternary weights, so the same tokens", realTextFiles, async () => {
    const wanted = await greedy(startModel(trained.model, 4, 64), prompts().slice(0, 4), count, vocabSize, null);
    const path = join(folder, "back.gguf");
    await exportGguf(path, trained.model, trained.tokenizer, { type: "tq1_0", embeddingType: "f32" });
    const back = await loadModel(path, trained.runtime);
    const got = await greedy(startModel(back.model, 4, 64), prompts().slice(0, 4), count, vocabSize, null);
    expect(got).toEqual(wanted);
    back.model.dispose();
  });
});

describe.skipIf(absent !== null)("a ternary model without sub-norms, as architecture llama", () => {
  let trained: Trained;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-judge-"));
    trained = await trainSmall({ subNorms: false, tiedHead: false });
  }, 120_000);
  afterAll(() => {
    trained?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const type of ["f32", "tq2_0", "tq1_0", "q2_0"] as const)
    testJudge(`in ${type.toUpperCase()} loads, and its logits are ours`, realTextFiles, async () => {
      const { model, tokenizer, text } = trained;
      const path = join(folder, `${type}.gguf`);
      const { architecture } = await exportGguf(path, model, tokenizer, { type, name: "judged" });
      expect(architecture).toBe("llama");
      const start = tokenizer.endOfText!;
      const texts = promptsFrom(text.subarray(1000), 8, 40, start);
      const prompts = promptsFrom(text, promptCount, promptLength, start);
      const answer = await askLlama({ model: path, greedy: { prompts, count }, logits: texts });
      // llama.cpp does not quantise activations beside float weights; in blocks of its own beside ternary ones.
      const engine = type === "f32" ? await FloatEngine.of(model) : null;
      const begin = (batch: number, capacity: number) =>
        engine ? engine.start(batch, capacity) : startModel(model, batch, capacity);
      const { cosine, relative, top } = distance(answer.logits!, await logitsOf(() => begin(1, 128), texts, 1000));
      const continued = await greedy(begin(promptCount, 64), prompts, count, 1000, tokenizer.eos);
      const result = compare(answer.greedy!, continued, engine ? 1e-3 : Number.POSITIVE_INFINITY);
      report(
        `llama ${type}: least cosine ${cosine.toFixed(7)}, rms difference ${(100 * relative).toFixed(3)} %, same largest logit ${(100 * top).toFixed(1)} %; greedy: ${result.same} of ${result.of} prompts the same`,
      );
      expect(cosine).toBeGreaterThanOrEqual(0.998);
      if (!engine) return expect(top).toBeGreaterThan(0.9);
      expect(relative).toBeLessThan(1e-4);
      expect(result.unexplained).toEqual([]);
    });
});

describe.skipIf(absent !== null)("models of mixed precision", () => {
  const shapes = [
    { architecture: "bitnet", changes: {} },
    { architecture: "llama", changes: { subNorms: false, tiedHead: false } },
  ] as const;
  for (const { architecture, changes } of shapes) {
    // Float inputs everywhere, and float weights in one block: what llama.cpp computes of float32 tensors, and so do we.
    testJudge(
      `${architecture}: float layers beside ternary ones, in float32: its logits are ours`,
      realTextFiles,
      async () => {
        const overrides = [{ layers: "layers.1.*", weights: "none" }];
        const result = await judgeMixed({ ...changes, quantization: { activations: "none", overrides } }, "f32");
        expect(result.architecture).toBe(architecture);
        expect(result.relative).toBeLessThan(1e-4);
      },
    );
    // TQ2_0 and Q8_0 products round their inputs in blocks there.
    testJudge(
      `${architecture}: int8, float and ternary layers in one file load, and its logits are ours`,
      realTextFiles,
      async () => {
        const overrides = [
          { layers: "*.down_proj", weights: "int8" },
          { layers: "layers.0.*", weights: "none" },
        ];
        const result = await judgeMixed({ ...changes, quantization: { overrides } }, "tq2_0");
        expect(result.architecture).toBe(architecture);
        expect(result.cosine).toBeGreaterThanOrEqual(0.998);
        expect(result.top).toBeGreaterThan(0.9);
      },
    );
  }

  // Trits and one scale, whichever quantizer made them: what absmean's are to llama.cpp.
  for (const weights of ["absmedian", "twn", "learned", "lsq", "seq"]) {
    testJudge(`${weights} weights, float inputs, in float32: its logits are ours`, realTextFiles, async () => {
      const { relative } = await judgeMixed({ quantization: { weights, activations: "none" } }, "f32");
      expect(relative).toBeLessThan(1e-4);
    });
    testJudge(`${weights} weights in TQ2_0 load, and its logits are ours`, realTextFiles, async () => {
      const { cosine, top } = await judgeMixed({ quantization: { weights } }, "tq2_0");
      expect(cosine).toBeGreaterThanOrEqual(0.998);
      expect(top).toBeGreaterThan(0.9);
    });
  }
  // Q4_0 products round their inputs in blocks there.
  testJudge("int4 layers beside ternary ones load as Q4_0, and its logits are ours", realTextFiles, async () => {
    const overrides = [{ layers: "*.down_proj", weights: "int4" }];
    const { cosine, top } = await judgeMixed({ quantization: { overrides } }, "tq2_0");
    expect(cosine).toBeGreaterThanOrEqual(0.998);
    expect(top).toBeGreaterThan(0.9);
  });
  testJudge("a full-precision model with int4 layers loads, and its logits are ours", realTextFiles, async () => {
    const { cosine, top } = await judgeMixed({ variant: "full", quantization: { weights: "int4" } }, "f32");
    expect(cosine).toBeGreaterThanOrEqual(0.998);
    expect(top).toBeGreaterThan(0.9);
  });

  async function judgeMixed(changes: Partial<ModelConfig>, type: GgufExportType) {
    const { model, tokenizer, text, close } = await trainSmall(changes, 40);
    try {
      const path = join(temporaryFolder(), "mixed.gguf");
      const { architecture } = await exportGguf(path, model, tokenizer, {
        type,
        name: "judged",
        ...(model.plan.anyTernary && model.plan.layers.some(({ weights }) => !weights) ? { linearType: "f32" } : {}),
      });
      const texts = promptsFrom(text.subarray(1000), 8, 40, tokenizer.endOfText!);
      const answer = await askLlama({ model: path, logits: texts });
      const found = distance(answer.logits!, await logitsOf(() => startModel(model, 1, 128), texts, 1000));
      report(
        `${describePlan(model.plan)}, ${architecture}, ${type}: least cosine ${found.cosine.toFixed(7)}, rms difference ${(100 * found.relative).toFixed(3)} %, same largest logit ${(100 * found.top).toFixed(1)} %`,
      );
      return { ...found, architecture };
    } finally {
      close();
    }
  }
});

const stories = ["data/weights/stories260K.bin", "data/weights/tok512.model"];
testJudge(
  "a real full-precision model (stories260K) in F16: llama.cpp writes the same stories as we do",
  stories,
  async () => {
    const backend = await createBackend({ backend: "auto", threads: 2 });
    try {
      const runtime = new Runtime(backend);
      const model = readLlama2c(sharedPath(stories[0]), runtime);
      const tokenizer = loadTokenizer(sharedPath(stories[1]));
      const path = join(temporaryFolder(), "stories.gguf");
      const { architecture } = await exportGguf(path, model, tokenizer, { type: "f16", name: "stories260K" });
      expect(architecture).toBe("llama");
      // The model as the file has it: weights rounded to float16.
      const rounded = await loadModel(path, runtime);
      const text = Int32Array.from(
        realTexts(30_000)
          .slice(0, 30)
          .flatMap((story) => [...tokenizer.encode(story)]),
      );
      const prompts = promptsFrom(text, promptCount, promptLength, tokenizer.bos!);
      const texts = promptsFrom(text, 8, 40, tokenizer.bos!);
      const answer = await askLlama({ model: path, greedy: { prompts, count }, logits: texts });
      const ours = await logitsOf(() => startModel(rounded.model, 1, 64), texts, 512);
      const { cosine, relative } = distance(answer.logits!, ours);
      const continued = await greedy(startModel(rounded.model, promptCount, 64), prompts, count, 512, tokenizer.eos);
      const result = compare(answer.greedy!, continued, 2e-2);
      report(
        `llama f16: least cosine ${cosine.toFixed(7)}, rms difference ${(100 * relative).toFixed(3)} %; ${result.same} of ${result.of} prompts continued the same for ${count} tokens`,
      );
      report(`a story: ${JSON.stringify(tokenizer.decode([...prompts[0].slice(1), ...answer.greedy![0]]))}`);
      expect(relative).toBeLessThan(3e-3);
      expect(result.unexplained).toEqual([]);
      expect(result.share).toBeGreaterThan(0.98);
    } finally {
      backend.close();
    }
  },
);

if (absent) test.skip(`all of them (skipped: ${absent})`, () => {});
