// Oracle: every text there can be, scored one by one. With as many beams as there are texts the search must find the best;
// with few it must find no better one, and with one beam it is greedy decoding.
import { expect, test } from "vitest";
import { createScriptedEngine } from "../../test/support/scripted-engine.ts";
import { createRandom } from "../platform/random.ts";
import { beamSearch } from "./beam.ts";
import { generateText } from "./generate.ts";
import { Grammar } from "./grammar/token-mask.ts";
import { logProbability } from "./samplers.ts";

/** Tokens 0 to 3 are letters, 4 ends; logits hang on all tokens before. */
const V = 5;
const end = 4;
const tokenizer = {
  vocabSize: V,
  bos: null,
  eos: end,
  endOfText: end,
  encode: (text: string) => Int32Array.from(text, (c) => "abcd".indexOf(c)),
  decode: (ids: ArrayLike<number>) => Array.from(ids, (id) => "abcd"[id] ?? "").join(""),
  bytesOf: (id: number) => (id < 4 ? Uint8Array.of(97 + id) : null),
};
const logitsOf = (seed: number) => (tokens: readonly number[], out: Float32Array) => {
  const random = createRandom(tokens.reduce((h, id) => h * 7 + id + 1, seed));
  for (let i = 0; i < V; i++) out[i] = 2 * random.normal();
};

interface Text {
  ids: number[];
  logProbability: number;
  finished: boolean;
}
function allTexts(seed: number, maxTokens: number): Text[] {
  const texts: Text[] = [];
  const grow = (ids: number[], sum: number) => {
    const logits = new Float32Array(V);
    logitsOf(seed)([end, ...ids], logits);
    for (let id = 0; id < V; id++) {
      const next = { ids: [...ids, id], logProbability: sum + logProbability(logits, id), finished: id === end };
      if (next.finished || next.ids.length === maxTokens) texts.push(next);
      else grow(next.ids, next.logProbability);
    }
  };
  grow([], 0);
  return texts;
}

test.for([0, 1, -0.5])(
  "with length penalty %d, many beams find the best text of all, few none better",
  async (lengthPenalty) => {
    for (let seed = 1; seed <= 6; seed++) {
      const scored = allTexts(seed, 4).map((text) => ({
        ...text,
        score: text.logProbability / text.ids.length ** lengthPenalty,
      }));
      const best = scored.reduce((a, b) => (b.score > a.score ? b : a));
      const engine = createScriptedEngine(V, 20, logitsOf(seed));
      const [found] = await beamSearch(engine, tokenizer, "", { beams: 300, maxTokens: 4, lengthPenalty });
      expect(found.ids).toEqual(best.ids);
      expect(found.score).toBeCloseTo(best.score, 5);
      expect(found.finished).toBe(best.finished);
      expect(found.text).toBe(tokenizer.decode(best.ids));
      const few = await beamSearch(engine, tokenizer, "", { beams: 3, maxTokens: 4, lengthPenalty });
      expect(few).toHaveLength(3);
      for (const [i, beam] of few.entries()) {
        expect(beam.score).toBeLessThanOrEqual(best.score + 1e-6);
        const same = scored.find(({ ids }) => ids.join() === beam.ids.join())!;
        expect(beam.logProbability).toBeCloseTo(same.logProbability, 5);
        if (i > 0) expect(beam.score).toBeLessThanOrEqual(few[i - 1].score);
      }
      expect(engine.open()).toBe(0);
    }
  },
);

test("one beam is greedy decoding", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const engine = createScriptedEngine(V, 20, logitsOf(seed));
    const [beam] = await beamSearch(engine, tokenizer, "ab", { beams: 1, maxTokens: 8 });
    const greedy = await generateText(engine, tokenizer, "ab", { maxTokens: 8, temperature: 0 });
    expect(beam).toMatchObject({
      ids: greedy.ids,
      text: greedy.text,
      finished: greedy.report.finish === "end-of-text",
    });
  }
});

test("all beams move on in one pass, and every one keeps to a grammar", async () => {
  const engine = createScriptedEngine(V, 20, logitsOf(3));
  const grammar = new Grammar('root ::= "a" ("b" | "cd"){1,2}');
  const beams = await beamSearch(engine, tokenizer, "", { beams: 4, maxTokens: 9, grammar });
  expect(beams.length).toBeGreaterThan(2);
  for (const { text, finished } of beams)
    expect({ fits: grammar.accepts(text), finished }).toEqual({ fits: true, finished: true });
  expect(Math.max(...engine.passes.map((parts) => parts.length))).toBeGreaterThan(1);
});

test("the signal's reason is thrown, sequences are freed, and bad settings are refused", async () => {
  const engine = createScriptedEngine(V, 20, logitsOf(1));
  const search = (options: object) => beamSearch(engine, tokenizer, "a", { beams: 2, maxTokens: 5, ...options });
  await expect(search({ signal: AbortSignal.abort(new Error("stop")) })).rejects.toThrow("stop");
  await expect(search({ beams: 0 })).rejects.toThrow("beams is 0");
  await expect(search({ lengthPenalty: Number.NaN })).rejects.toThrow("lengthPenalty is NaN");
  await expect(beamSearch(engine, tokenizer, new Array(30).fill(1), { beams: 2, maxTokens: 5 })).rejects.toThrow(
    "the prompt has 30 tokens, the model's context 20",
  );
  expect(engine.open()).toBe(0);
});
