// Log-probabilities of an echoed prompt. Oracle: OpenAI's reference of /v1/completions for the shape (the first token has none);
// what lm-evaluation-harness's `local-completions` reads of it (`parse_logprobs`: [context length : -1]); the scripted
// engine's odds, told by hand: 0.8 for the next letter, 0.2 for "!".
import { describe, expect, test } from "vitest";
import { eventsOf, type Json, postAlphabet as post, serveAlphabet } from "../../test/support/serving.ts";

const greedy = { temperature: 0 };
const nats = (p: number) => expect.closeTo(Math.log(p), 5);
const ask = async (body: Json, more = {}) => post("/v1/completions", { ...greedy, ...body }, more);

describe("echo with logprobs", () => {
  test("gives the prompt's tokens before the answer's: null first, then what the model gives each", async () => {
    const { json } = await ask({ prompt: "ab!", max_tokens: 1, logprobs: 2, echo: true });
    const next = (letter: string) => ({ [letter]: nats(0.8), "!": nats(0.2) });
    expect(json.choices[0]).toEqual({
      text: "ab!a",
      index: 0,
      logprobs: {
        tokens: ["a", "b", "!", "a"],
        token_logprobs: [null, nats(0.8), nats(0.2), nats(0.8)],
        top_logprobs: [null, next("b"), next("c"), next("a")],
        text_offset: [0, 1, 2, 3],
      },
      finish_reason: "length",
    });
  });

  test("needs no answer: max_tokens 0 gives the prompt alone, whole and streamed", async () => {
    const body = { prompt: "abd", max_tokens: 0, logprobs: 1, echo: true };
    const { json } = await ask(body);
    expect(json.choices[0]).toMatchObject({ text: "abd", finish_reason: "length" });
    expect(json.choices[0].logprobs.token_logprobs).toEqual([null, nats(0.8), expect.closeTo(-30 - Math.log(5), 4)]);
    expect(json.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 0 });
    const { events, done } = eventsOf((await ask({ ...body, stream: true })).text);
    expect(done).toBe(true);
    expect(events.map(({ choices: [{ text, finish_reason }] }) => [text, finish_reason])).toEqual([
      ["abd", null],
      ["", "length"],
    ]);
    expect(events[0].choices[0].logprobs).toEqual(json.choices[0].logprobs);
  });

  test("takes token ids and batches of prompts, each as alone, in order", async () => {
    const prompts = [[97, 98, 99], [120, 33], [98], [97, 98, 99, 100, 101]];
    const limits = { slots: 2, queue: 8, cacheTokens: 1000 };
    const rest = { max_tokens: 1, logprobs: 1, echo: true };
    const batch = (await ask({ prompt: prompts, n: 2, ...rest }, { limits })).json.choices;
    expect(batch.map(({ index }: Json) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    for (const [i, prompt] of prompts.entries()) {
      const { logprobs, text } = (await ask({ prompt, ...rest })).json.choices[0];
      for (const copy of [batch[2 * i], batch[2 * i + 1]]) expect(copy).toMatchObject({ logprobs, text });
      expect(logprobs.tokens).toHaveLength(prompt.length + 1);
    }
  });

  test("counts the token that ends the text, so that all but the last are the prompt's", async () => {
    const { json } = await ask({ prompt: "yz", max_tokens: 1, logprobs: 1, echo: true });
    expect(json.choices[0]).toMatchObject({ text: "yz", finish_reason: "stop" });
    expect(json.choices[0].logprobs.tokens).toEqual(["y", "z", "<|end|>"]);
    expect(json.choices[0].logprobs.text_offset).toEqual([0, 1, 2]);
  });

  test("of a prompt longer than a pass, and of one that is cached, gives every token", async () => {
    const { server } = await serveAlphabet({ limits: { cacheTokens: 2000 } });
    const prompt = "abcdefgh".repeat(70);
    for (const _ of ["first", "cached"]) {
      const payload = { prompt, max_tokens: 1, logprobs: 0, echo: true, ...greedy };
      const json = (await server.fastify.inject({ method: "POST", url: "/v1/completions", payload })).json();
      const { token_logprobs: all, tokens, text_offset } = json.choices[0].logprobs;
      expect(tokens.join("")).toBe(`${prompt}i`);
      expect(text_offset).toEqual(tokens.map((_: string, i: number) => i));
      expect(all.slice(1, 8)).toEqual(new Array(7).fill(nats(0.8)));
      expect(all[8]).toBeCloseTo(-30 - Math.log(5), 4);
      expect(json.usage.prompt_tokens_details.cached_tokens).toBe(0);
    }
  });

  test("gives characters of several tokens the offset of the character", async () => {
    const { json } = await ask({ prompt: "é!", max_tokens: 0, logprobs: 0, echo: true });
    expect(json.choices[0].logprobs).toMatchObject({
      tokens: ["bytes:\\xc3", "bytes:\\xa9", "!"],
      text_offset: [0, 0, 1],
    });
  });

  test("is bounded: an answer with too many log-probabilities is refused with the numbers", async () => {
    const prompt = new Array(50).fill("a".repeat(590));
    const more = { limits: { slots: 1, queue: 200 } };
    const { status, json } = await ask({ prompt, max_tokens: 0, logprobs: 20, echo: true }, more);
    expect(status).toBe(400);
    expect(json.error.message).toMatch(/29500 tokens, so 619500 log-probabilities .* at most 500000 .* fewer prompts/);
  });
});
