// Oracles: a scripted model whose next token is known; the same text written without the option (speculative decoding,
// prompt cache: on the reference backend sums come in one order, so equal to the bit); the whole text searched for stop
// strings at once; JSON.parse and zod for constrained texts of random logits.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createScriptedEngine } from "../../test/support/scripted-engine.ts";
import { byteTokenizer as bytes, createSmallEngine } from "../../test/support/small-model.ts";
import { createRandom } from "../platform/random.ts";
import { generate, generateText } from "./generate.ts";
import { jsonSchemaToGbnf } from "./grammar/json-schema.ts";
import { Grammar } from "./grammar/token-mask.ts";
import { PromptCache } from "./prompt-cache.ts";
import { draftTokens } from "./prompt-lookup.ts";
import { createStopStrings } from "./stop-strings.ts";

const greedy = { maxTokens: 20, temperature: 0 };
/** A model that writes this text, byte by byte, after its prompt of so many tokens, and then the end. */
const writes = (text: string, promptTokens: number, contextLength = 100) => {
  const ids = [...bytes.encode(text), 256];
  return createScriptedEngine(257, contextLength, (tokens, logits) => {
    logits[ids[Math.min(tokens.length - promptTokens, ids.length - 1)]] = 5;
  });
};

describe("stop strings", () => {
  test("whatever the pieces, the text before the first stop string comes, and no part of it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom("a", "b", "é", "😀"), maxLength: 4 }), { maxLength: 12 }),
        fc.array(fc.string({ unit: fc.constantFrom("a", "b", "é", "😀"), minLength: 1, maxLength: 4 }), {
          maxLength: 3,
        }),
        (pieces, stops) => {
          const stream = createStopStrings(stops);
          let given = "";
          let stopped: string | null = null;
          const whole = () => pieces.join("");
          for (const [i, piece] of pieces.entries()) {
            const pushed = stream.push(piece);
            given += pushed.text;
            stopped = pushed.stopped;
            // Nothing is held back that could not be the beginning of a stop string.
            const held = pieces
              .slice(0, i + 1)
              .join("")
              .slice(given.length);
            if (stopped === null) expect(held === "" || stops.some((stop) => stop.startsWith(held))).toBe(true);
            if (stopped !== null) break;
          }
          if (stopped === null) given += stream.finish();
          const places = stops.map((stop) => whole().indexOf(stop)).filter((at) => at >= 0);
          // Found piece by piece: an earlier end may come before an earlier beginning is complete, never the reverse.
          expect(stopped !== null).toBe(places.length > 0);
          if (stopped === null) expect(given).toBe(whole());
          else {
            expect(whole().startsWith(given + stopped)).toBe(true);
            expect(stops.some((stop) => given.includes(stop))).toBe(false);
          }
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });

  test("one that lies over tokens and amid characters ends the text before it", async () => {
    const engine = writes("one €2€ two", 2);
    const { text, report } = await generateText(engine, bytes, "x", { ...greedy, stopStrings: ["€2€", "zzz"] });
    expect({ text, finish: report.finish, stop: report.stopString }).toEqual({
      text: "one ",
      finish: "stop-string",
      stop: "€2€",
    });
    // Seven bytes of it: no token after the last of them.
    expect(report.generatedTokens).toBe(11);
    expect(engine.open()).toBe(0);
  });

  test("what was held back comes where the text ends otherwise", async () => {
    const { text, report } = await generateText(writes("end", 2), bytes, "x", { ...greedy, stopStrings: ["ending"] });
    expect({ text, finish: report.finish }).toEqual({ text: "end", finish: "end-of-text" });
    await expect(generateText(writes("", 2), bytes, "x", { ...greedy, stopStrings: [""] })).rejects.toThrow("is empty");
  });
});

describe("log-probabilities", () => {
  test("are the model's own, and the likeliest tokens stand beside the one that came", async () => {
    const engine = createScriptedEngine(257, 50, (_, logits) =>
      logits.set([Math.log(8), Math.log(4), Math.log(2)], 65),
    );
    const options = { ...greedy, maxTokens: 1, alternatives: 2, logitBias: [[65, -100]] as [number, number][] };
    const total = 8 + 4 + 2 + 254;
    for await (const token of generate(engine, bytes, "x", options)) {
      expect(token.id).toBe(66);
      expect(token.logProbability).toBeCloseTo(Math.log(4 / total), 5);
      expect(token.alternatives.map(({ id }) => id)).toEqual([65, 66]);
      expect(token.alternatives[0].logProbability).toBeCloseTo(Math.log(8 / total), 5);
    }
  });
});

describe("the context's end", () => {
  test("sliding forgets half of what stands behind what is kept, reads the rest again, and goes on", async () => {
    const engine = writes("abcdefghijklmnopqrstuvwxyz", 0, 8);
    // The script goes by the place in the context: what matters here is what is fed.
    const options = { ...greedy, maxTokens: 10, contextEnd: "slide" as const, keepTokens: 2, stopTokens: [] };
    const { ids, report } = await generateText(engine, bytes, "xyz", options);
    expect({ count: ids.length, finish: report.finish }).toEqual({ count: 10, finish: "length" });
    // 256 x y z, then four tokens; with eight held and one to come, 256 and x stay, four of seven go.
    const written = [...ids];
    expect(engine.fed.slice(0, 5).map((part) => part.length)).toEqual([4, 1, 1, 1, 1]);
    expect(engine.fed[5]).toEqual(written.slice(2, 5));
    expect(engine.fed[6]).toEqual([written[5]]);
    expect(engine.open()).toBe(0);
  });

  test("with the context stopped at, a real model's text is that of a longer context, cut", async () => {
    const short = createSmallEngine({ contextLength: 16 });
    const long = createSmallEngine({ contextLength: 48 });
    const options = { ...greedy, maxTokens: 30, stopTokens: [] };
    const cut = await generateText(short.engine, bytes, "abc", options);
    const whole = await generateText(long.engine, bytes, "abc", options);
    expect(cut.report.finish).toBe("context");
    expect(cut.ids).toEqual(whole.ids.slice(0, 13));
    const slid = await generateText(short.engine, bytes, "abc", { ...options, contextEnd: "slide" });
    expect(slid.ids.slice(0, 13)).toEqual(cut.ids);
    expect(slid.ids).toHaveLength(30);
  });
});

describe("speculative decoding by prompt lookup", () => {
  test("drafts what followed the last tokens the latest time, of the longest match", () => {
    expect(draftTokens([1, 2, 3, 9, 1, 2, 3], 3)).toEqual([9, 1, 2]);
    expect(draftTokens([5, 3, 7, 1, 3, 8, 2, 3], 2)).toEqual([8, 2]);
    expect(draftTokens([4, 4], 5)).toEqual([4]);
    expect(draftTokens([1, 2, 3], 5)).toEqual([]);
    expect(draftTokens([1, 1], 0)).toEqual([]);
  });

  test("writes the same tokens in fewer passes, greedy or drawn", async () => {
    const { engine } = createSmallEngine();
    const forward = engine.forward.bind(engine);
    let passes = 0;
    engine.forward = (batch) => {
      passes++;
      return forward(batch);
    };
    for (const [seed, temperature] of [
      [1, 0],
      [2, 0.7],
      [3, 0.7],
    ]) {
      const run = async (draft: number) => {
        passes = 0;
        const options = { maxTokens: 40, seed, temperature, topK: 3, stopTokens: [], draftTokens: draft };
        const { ids, text, report } = await generateText(engine, bytes, "abababab", options);
        return { ids, text, passes, report };
      };
      const plain = await run(0);
      for (const draft of [1, 4, 10]) {
        const drafted = await run(draft);
        expect({ ids: drafted.ids, text: drafted.text }).toEqual({ ids: plain.ids, text: plain.text });
        expect(drafted.passes).toBe(plain.passes - drafted.report.acceptedTokens);
        if (temperature === 0) expect(drafted.report.acceptedTokens).toBeGreaterThan(5);
      }
    }
  });
});

describe("a prompt cache", () => {
  test("what was read before is not read again, and the text is the same", async () => {
    const { engine, runtime } = createSmallEngine();
    const run = async (prompt: string, cache?: PromptCache) => {
      const { ids, report } = await generateText(engine, bytes, prompt, {
        ...greedy,
        maxTokens: 6,
        stopTokens: [],
        cache,
      });
      return { ids, cached: report.cachedTokens };
    };
    const cache = new PromptCache(engine);
    expect((await run("tell me a story", cache)).cached).toBe(0);
    const again = await run("tell me a story", cache);
    expect(again).toEqual({ ...(await run("tell me a story")), cached: 15 });
    const other = await run("tell me a joke", cache);
    expect(other).toEqual({ ...(await run("tell me a joke")), cached: 11 });
    expect(cache.tokens).toBeLessThanOrEqual(96);
    cache.dispose();
    engine.dispose();
    expect(cache.tokens).toBe(0);
    expect(runtime.backend.stats.liveBytes).toBeGreaterThan(0); // the model's own
  });

  test("keeps no more tokens than it may, the last used the longest", async () => {
    const engine = writes("", 0);
    const cache = new PromptCache(engine, 12);
    const give = (...tokens: number[]) => {
      const sequence = engine.createSequence();
      return engine.forward([{ sequence, tokens, logits: "none" }]).then(() => cache.give(tokens, sequence));
    };
    await give(1, 2, 3, 4, 5, 6);
    await give(9, 8, 7, 6);
    const taken = cache.take([1, 2, 9, 9]); // shares less than half: a copy, and the entry is fresh again
    expect({ shared: taken.length, kept: cache.tokens }).toEqual({ shared: 2, kept: 10 });
    await give(5, 5, 5);
    expect(cache.tokens).toBe(9); // 9 8 7 6 went
    expect(cache.take([9, 8, 7, 6]).length).toBe(0);
    expect(cache.take([1, 2, 3, 4, 5, 6]).length).toBe(5); // never all
    await give(...new Array(13).fill(1));
    cache.dispose();
    expect(engine.open()).toBe(3); // those that were taken
  });
});

describe("constrained output", () => {
  /** Logits that have nothing to do with the grammar, other ones at every place. */
  const noise = (seed: number) => {
    const random = createRandom(seed);
    return createScriptedEngine(257, 400, (_, logits) => {
      for (let i = 0; i < logits.length; i++) logits[i] = 4 * random.normal();
    });
  };
  const judge = z.strictObject({
    name: z.string().max(12),
    age: z.int().min(0).max(120),
    kind: z.enum(["cat", "dog"]),
    tags: z.array(z.string()).max(3).optional(),
  });
  const grammar = new Grammar(jsonSchemaToGbnf(z.toJSONSchema(judge)));

  test("is valid JSON of the schema whatever the logits, the sampling and the limit", async () => {
    let short = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.constantFrom(0, 1, 2),
        fc.integer({ min: 60, max: 200 }),
        async (seed, temperature, maxTokens) => {
          const options = { maxTokens, temperature, seed, topK: 0, topP: 1, minP: 0, repeatPenalty: 1.3, grammar };
          const { text, report } = await generateText(noise(seed), bytes, "x", options);
          expect(judge.safeParse(JSON.parse(text))).toMatchObject({ success: true });
          expect(["grammar", "end-of-text", "length"]).toContain(report.finish);
          if (report.generatedTokens < maxTokens) short++;
        },
      ),
      { seed: 4, numRuns: 25 },
    );
    expect(short).toBeGreaterThan(5);
  });

  test("may be ended by the model only where the grammar's text may end", async () => {
    const wantsEnd = createScriptedEngine(257, 100, (_, logits) => {
      logits[256] = 10;
      logits[97] = 5;
    });
    const run = (gbnf: string) => generateText(wantsEnd, bytes, "x", { ...greedy, grammar: new Grammar(gbnf) });
    expect(await run('root ::= "a"{3} "b"?')).toMatchObject({ text: "aaa", report: { finish: "end-of-text" } });
    expect(await run('root ::= "a"{3}')).toMatchObject({ text: "aaa", report: { finish: "grammar" } });
    expect(await run('root ::= ""')).toMatchObject({ text: "", ids: [] });
  });

  test("the distribution is the model's over what is allowed", async () => {
    const engine = createScriptedEngine(257, 100, (_, logits) => {
      logits.fill(-20);
      logits.set([Math.log(6), Math.log(3), Math.log(1)], 97);
    });
    const options = { maxTokens: 1, temperature: 1, topK: 0, topP: 1, minP: 0, grammar: new Grammar("root ::= [bc]") };
    let b = 0;
    const n = 1000;
    const random = createRandom(3);
    for (let i = 0; i < n; i++) if ((await generateText(engine, bytes, "x", { ...options, random })).text === "b") b++;
    expect(Math.abs(b / n - 0.75)).toBeLessThan(4 * Math.sqrt((0.75 * 0.25) / n));
  });

  test("a tokenizer that does not tell its tokens' bytes, or cannot spell the grammar, is told so", async () => {
    const { bytesOf: _, ...without } = bytes;
    expect(() => generate(writes("", 2), without, "x", { ...greedy, grammar })).toThrow("does not tell what bytes");
    const few = { ...bytes, bytesOf: (id: number) => (id === 97 ? Uint8Array.of(97) : null) };
    const options = { ...greedy, grammar: new Grammar('root ::= "ab"') };
    await expect(generateText(writes("", 2), few, "x", options)).rejects.toThrow("has no token that goes on");
  });
});

test("settings out of range are refused by name, and something must draw", () => {
  const refused: [object, string][] = [
    [{ temperature: 1 }, "give a seed, or random, or temperature 0"],
    [{ seed: 1.5 }, "seed is 1.5"],
    [{ alternatives: -1 }, "alternatives is -1"],
    [{ draftTokens: 0.5 }, "draftTokens is 0.5"],
    [{ keepTokens: -2 }, "keepTokens is -2; expected a whole number from -1"],
    [{ contextEnd: "ring" }, 'contextEnd is "ring"'],
    [{ logitBias: [[300, 1]] }, "logitBias names token 300; the vocabulary has 257"],
  ];
  for (const [options, message] of refused)
    expect(() => generate(writes("", 2), bytes, "x", { ...greedy, ...options })).toThrow(message);
  expect(() => generate(writes("", 2), bytes, [1, 999], greedy)).toThrow("the prompt's token 999 is outside");
});
