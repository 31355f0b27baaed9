// Oracles: a scripted model whose next token is known; a real model on every backend, where generating with a cache must
// give what running the whole text again for each token gives. A ternary model's logits are equal to the bit, and all on the
// reference backend; elsewhere a full-precision model's products sum few rows and many in another order.
import { describe, expect, test } from "vitest";
import { forEachBackend } from "../../test/support/backends.ts";
import { expectClose } from "../../test/support/expect-close.ts";
import { integers } from "../../test/support/random.ts";
import { createScriptedEngine } from "../../test/support/scripted-engine.ts";
import { type ModelConfig, presets, Transformer } from "../model/index.ts";
import { createRandom } from "../platform/random.ts";
import { Runtime } from "../tensor/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { generate, generateText } from "./generate.ts";
import { createTextStream } from "./text-stream.ts";
import { TransformerEngine } from "./transformer-engine.ts";

/** Bytes are tokens; 256 ends a text. */
const bytes: Pick<Tokenizer, "encode" | "decode" | "vocabSize" | "bos" | "eos" | "endOfText"> = {
  vocabSize: 257,
  bos: null,
  eos: 256,
  endOfText: 256,
  encode: (text) => Int32Array.from(new TextEncoder().encode(text)),
  decode: (ids) =>
    new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(Array.from(ids).filter((id) => id < 256))),
};
const options = { maxTokens: 100, random: createRandom(1), temperature: 0 };

/** A model that writes these tokens whatever it reads, and then the last of them for ever. */
function scripted(script: readonly number[], contextLength = 1000) {
  let written = 0;
  const model = createScriptedEngine(257, contextLength, (_, logits) => {
    logits[script[Math.min(written++, script.length - 1)]] = 1;
  });
  return { model, fed: model.fed, openCaches: model.open };
}
const idsOf = (text: string) => [...bytes.encode(text)];

describe("what is fed", () => {
  test("the prompt goes through once behind the start token, then each token alone", async () => {
    const { model, fed, openCaches } = scripted(idsOf("cd"));
    const { text, ids, report } = await generateText(model, bytes, "ab", { ...options, maxTokens: 3 });
    expect(fed).toEqual([[256, 97, 98], [99], [100]]);
    expect({ text, ids }).toEqual({ text: "cdd", ids: [99, 100, 100] });
    expect(report).toMatchObject({ finish: "length", promptTokens: 3, generatedTokens: 3, promptMs: null });
    expect(openCaches()).toBe(0);
  });

  test("an empty prompt starts from the start token alone, and a start token given is not doubled", async () => {
    for (const prompt of ["", [256]]) {
      const { model, fed } = scripted(idsOf("x"));
      await generateText(model, bytes, prompt, { ...options, maxTokens: 1 });
      expect(fed).toEqual([[256]]);
    }
  });

  test("bos comes before end-of-text as the start token, and null leaves it out", async () => {
    const { model, fed } = scripted(idsOf("x"));
    await generateText(model, { ...bytes, bos: 7 }, "a", { ...options, maxTokens: 1 });
    await generateText(model, { ...bytes, bos: 7 }, "a", { ...options, maxTokens: 1, startToken: null });
    expect(fed).toEqual([[7, 97], [97]]);
  });

  test("a prompt given as ids as it is: no start token before it", async () => {
    const { model, fed } = scripted(idsOf("x"), 20);
    await generateText(model, bytes, [65, 66], { ...options, maxTokens: 1, startToken: 256 });
    expect(fed.flat()).toEqual([65, 66]);
  });

  test("a long prompt goes through in pieces of 512", async () => {
    const { model, fed } = scripted(idsOf("x"), 2000);
    await generateText(model, bytes, new Array(1100).fill(65), { ...options, maxTokens: 1 });
    expect(fed.map((piece) => piece.length)).toEqual([512, 512, 76]);
  });
});

describe("what ends a text", () => {
  test("the end-of-text token, which is given with no text of its own", async () => {
    const { model } = scripted([...idsOf("hi"), 256]);
    const { text, ids, report } = await generateText(model, bytes, "a", options);
    expect({ text, ids, finish: report.finish }).toEqual({ text: "hi", ids: [104, 105, 256], finish: "end-of-text" });
  });

  test("a stop token of the caller's, in place of the tokenizer's", async () => {
    const { model } = scripted([256, ...idsOf("a.b")]);
    const { ids, report } = await generateText(model, bytes, "a", { ...options, stopTokens: [46] });
    expect({ ids, finish: report.finish }).toEqual({ ids: [256, 97, 46], finish: "end-of-text" });
  });

  test("the context: the token after a full context is the last, and its place is not needed", async () => {
    const { model, openCaches } = scripted(idsOf("xyz"), 5);
    const { text, report } = await generateText(model, bytes, "ab", options); // start, a, b, x, y, then z unread
    expect({ text, finish: report.finish }).toEqual({ text: "xyz", finish: "context" });
    expect(openCaches()).toBe(0);
  });

  test("no tokens asked for: nothing is computed", async () => {
    const { model, fed } = scripted(idsOf("x"));
    const { ids, report } = await generateText(model, bytes, "ab", { ...options, maxTokens: 0 });
    expect({ ids, fed, finish: report.finish }).toEqual({ ids: [], fed: [], finish: "length" });
  });

  test("the signal, after the token under way; the cache is freed", async () => {
    const { model, openCaches } = scripted(idsOf("x"));
    const controller = new AbortController();
    const generation = generate(model, bytes, "ab", { ...options, signal: controller.signal });
    let text = "";
    for await (const token of generation) {
      text += token.text;
      if (text.length === 3) controller.abort();
    }
    expect({ text, finish: generation.report.finish }).toEqual({ text: "xxx", finish: "aborted" });
    expect(openCaches()).toBe(0);
  });

  test("the caller's break; the cache is freed", async () => {
    const { model, openCaches } = scripted(idsOf("x"));
    const generation = generate(model, bytes, "ab", options);
    for await (const _ of generation) break;
    expect(generation.report).toMatchObject({ finish: "aborted", generatedTokens: 1 });
    expect(openCaches()).toBe(0);
  });
});

test("times are told by the clock passed in: the first token belongs to the prompt", async () => {
  const { model } = scripted(idsOf("x"));
  let now = 0;
  const clock = { monotonicMs: () => (now += 100), epochMs: () => 0 };
  const { report } = await generateText(model, bytes, "abc", { ...options, maxTokens: 3, clock });
  expect(report).toMatchObject({
    promptMs: 100,
    promptTokensPerSecond: 40, // four tokens in 0.1 s
    generationMs: 200,
    generationTokensPerSecond: 10, // the two after the first, in 0.2 s
  });
});

test("each token comes with the model's own log-probability, whatever the sampling", async () => {
  const { model } = scripted(idsOf("x"));
  for await (const token of generate(model, bytes, "a", { ...options, maxTokens: 1, repeatPenalty: 3 }))
    expect(token.logProbability).toBeCloseTo(1 - Math.log(Math.E + 256), 6);
});

describe("text as it streams", () => {
  const pieces = (text: string) => {
    const stream = createTextStream(bytes);
    return [...idsOf(text).map((id) => stream.push(id)), stream.finish()];
  };

  test("a character comes whole with its last byte", () => {
    expect(pieces("aé€😀b")).toEqual(["a", "", "é", "", "", "€", "", "", "", "😀", "b", ""]);
  });

  test("whatever the bytes, the pieces join to what decoding them all gives", () => {
    for (let seed = 0; seed < 300; seed++) {
      const ids = [...integers(12, seed, 256)].map((x, i) => (seed % 2 && i % 3 ? 0x80 + (x & 63) : x));
      const stream = createTextStream(bytes);
      const text = ids.map((id) => stream.push(id)).join("") + stream.finish();
      expect(text).toBe(bytes.decode(ids));
    }
  });

  test("a character cut short at the end of the text comes as U+FFFD with the last token", async () => {
    const { model } = scripted([0x61, 0xe2, 0x82, 256]);
    const { text } = await generateText(model, bytes, "a", options);
    expect(text).toBe("a\uFFFD");
  });

  test("a character that the prompt began is completed", () => {
    const stream = createTextStream(bytes, [0x61, 0xe2, 0x82]);
    expect(stream.push(0xac)).toBe("€");
  });

  test("a decoder that drops a text's first space does not drop it amid a text", () => {
    const words = ["▁Once", "▁upon", "▁a"];
    const decode = (ids: ArrayLike<number>) =>
      Array.from(ids, (id) => words[id])
        .join("")
        .replaceAll("▁", " ")
        .replace(/^ /, "");
    const stream = createTextStream({ decode }, [0]);
    expect([stream.push(1), stream.push(2)]).toEqual([" upon", " a"]);
  });
});

describe("bad input", () => {
  test("is refused with what was wanted, before anything is computed", () => {
    const { model, fed } = scripted([1], 4);
    const refused = (prompt: string, more: object, tokenizer = bytes) => {
      try {
        generate(model, tokenizer, prompt, { ...options, ...more });
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(refused("abcd", {})).toContain("the prompt has 5 tokens, the model's context 4; shorten the prompt");
    expect(refused("a", { maxTokens: -1 })).toContain("maxTokens is -1");
    expect(refused("a", { temperature: -1 })).toContain("temperature is -1");
    expect(refused("", {}, { ...bytes, endOfText: null })).toContain("the prompt is empty");
    expect(refused("a", {}, { ...bytes, vocabSize: 300 })).toContain("the tokenizer has 300 tokens, the model 257");
    expect(fed).toEqual([]);
  });

  test("a text cannot be iterated twice", async () => {
    const { model } = scripted(idsOf("x"));
    const generation = generate(model, bytes, "a", { ...options, maxTokens: 1 });
    for await (const _ of generation);
    expect(() => generation[Symbol.asyncIterator]()).toThrow("can be iterated once");
  });
});

forEachBackend((backend) => {
  const config: ModelConfig = {
    ...presets.tiny,
    vocabSize: 257,
    width: 48,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    hiddenWidth: 80,
    contextLength: 40,
    initStd: 0.2,
  };
  for (const variant of ["bitnet", "full"] as const)
    test(`${variant}: greedy text with a cache is the text without one, and the logits agree`, async () => {
      const runtime = new Runtime(await backend.get());
      const live = runtime.backend.stats.liveBytes;
      const model = new Transformer(runtime, { ...config, variant }, 5);
      const withCache: Float32Array[] = [];
      const engine = new TransformerEngine(model);
      const forward = engine.forward.bind(engine);
      engine.forward = async (batch) => {
        const logits = await forward(batch);
        withCache.push(logits[0].slice());
        return logits;
      };
      const prompt = [256, ...integers(7, 3, 256)];
      const { ids } = await generateText(engine, bytes, prompt, { ...options, stopTokens: [] });
      expect(ids.length).toBe(33); // 40 in the context, 8 of the prompt, and one that is not read back

      const text = [...prompt];
      for (const [i, id] of ids.entries()) {
        const logits = model.lastLogits({ tokens: Int32Array.from(text), batch: 1, length: text.length });
        const values = await runtime.readFloats(logits);
        logits.dispose();
        const exact = backend.choice.backend === "reference" || variant === "bitnet";
        expectClose(withCache[i], values, exact ? {} : { abs: 1e-4 }, `logits of token ${i}`);
        if (exact) expect(values.indexOf(Math.max(...values))).toBe(id);
        text.push(id);
      }
      engine.dispose();
      model.dispose();
      expect(runtime.backend.stats.liveBytes).toBe(live);
    });
});
