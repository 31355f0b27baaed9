// Oracle: OpenAI's API reference (shapes, defaults, order of events), whose own client judges the same server in
// test/judges/openai.test.ts; the alphabet, which the scripted engine writes, told by hand.
import { describe, expect, test } from "vitest";
import { eventsOf, type Json, postAlphabet as post, serveAlphabet } from "../../test/support/serving.ts";

const greedy = { temperature: 0 };
const nats = (p: number) => expect.closeTo(Math.log(p), 5);

describe("completions", () => {
  test("continue a text, with OpenAI's shape and usage", async () => {
    const { status, json, headers } = await post("/v1/completions", { prompt: "ab", max_tokens: 5, ...greedy });
    expect(status).toBe(200);
    expect(json).toEqual({
      id: expect.stringMatching(/^cmpl-[0-9a-f]{24}$/),
      object: "text_completion",
      created: expect.any(Number),
      model: "alphabet",
      system_fingerprint: expect.stringMatching(/^fp_/),
      choices: [{ text: "cdefg", index: 0, logprobs: null, finish_reason: "length" }],
      usage: {
        prompt_tokens: 2,
        completion_tokens: 5,
        total_tokens: 7,
        prompt_tokens_details: { cached_tokens: 0 },
      },
    });
    expect(headers["x-request-id"]).toMatch(/^req_/);
  });

  test("have 16 tokens by default, end with the model, at a stop string, and begin with an echo where asked", async () => {
    const ask = async (body: Json) => (await post("/v1/completions", { ...greedy, ...body })).json.choices[0];
    expect(await ask({ prompt: "A" })).toMatchObject({ text: "abcdefghijklmnop", finish_reason: "length" });
    expect(await ask({ prompt: "w" })).toMatchObject({ text: "xyz", finish_reason: "stop" });
    expect(await ask({ prompt: "a", stop: ["x", "ef"] })).toMatchObject({ text: "bcd", finish_reason: "stop" });
    expect(await ask({ prompt: "w", echo: true })).toMatchObject({ text: "wxyz" });
  });

  test("of several prompts, texts or tokens, come in order, n of each", async () => {
    const { json } = await post("/v1/completions", { prompt: [[97], [102, 103]], n: 2, max_tokens: 2, ...greedy });
    expect(json.choices.map(({ text, index }: Json) => [index, text])).toEqual([
      [0, "bc"],
      [1, "bc"],
      [2, "hi"],
      [3, "hi"],
    ]);
    expect(json.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 8 });
  });

  test("have log-probabilities of tokens, with offsets, without the one that ends the text", async () => {
    const { json } = await post("/v1/completions", { prompt: "x", logprobs: 2, ...greedy });
    expect(json.choices[0].logprobs).toEqual({
      tokens: ["y", "z"],
      token_logprobs: [nats(0.8), nats(0.8)],
      top_logprobs: [
        { y: nats(0.8), "!": nats(0.2) },
        { z: nats(0.8), "!": nats(0.2) },
      ],
      text_offset: [0, 1],
    });
  });

  test("are drawn by the seed: the same again, others for others; a bias and penalties change what comes", async () => {
    const ask = async (body: Json) => (await post("/v1/completions", { prompt: "a", ...body })).json.choices[0].text;
    const [one, same, other] = [await ask({ seed: 1 }), await ask({ seed: 1 }), await ask({ seed: 2 })];
    expect(same).toBe(one);
    expect(other).not.toBe(one);
    expect(await ask({ max_tokens: 2, ...greedy, logit_bias: { "33": 5 } })).toBe("!!");
    // ln 4 apart: a presence penalty of 2 is more than that, once the token has come.
    expect(await ask({ prompt: "ba", max_tokens: 2, ...greedy, presence_penalty: 2 })).toBe("!a");
  });

  test("stream: pieces, then the end, then the usage, then [DONE]", async () => {
    const body = { prompt: "w", stream: true, stream_options: { include_usage: true }, ...greedy };
    const { text, headers } = await post("/v1/completions", body);
    expect(headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const { events, done } = eventsOf(text);
    expect(done).toBe(true);
    expect(
      events.flatMap(({ choices }) => choices).map(({ text, finish_reason }: Json) => [text, finish_reason]),
    ).toEqual([
      ["x", null],
      ["y", null],
      ["z", null],
      ["", "stop"],
    ]);
    expect(events.map(({ usage }) => usage)).toEqual([
      null,
      null,
      null,
      null,
      expect.objectContaining({ completion_tokens: 4 }),
    ]);
    expect(events.at(-1)!.choices).toEqual([]);
    expect(new Set(events.map(({ id }) => id)).size).toBe(1);
  });
});

describe("chat", () => {
  const user = { role: "user", content: "a" };

  test("goes through the template, and answers with OpenAI's shape", async () => {
    const messages = [
      { role: "developer", content: "s" },
      { role: "user", content: [{ type: "text", text: "w" }] },
    ];
    const { status, json } = await post("/v1/chat/completions", { messages, max_completion_tokens: 3, ...greedy });
    expect(status).toBe(200);
    expect(json).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      model: "alphabet",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "abc", refusal: null },
          logprobs: null,
          finish_reason: "length",
        },
      ],
      // [system]s[user]w>
      usage: { prompt_tokens: 17, completion_tokens: 3, total_tokens: 20 },
    });
  });

  test("without a limit goes on to the end of the text; its answer can be sent back as it came", async () => {
    const { server } = await serveAlphabet();
    const ask = async (messages: unknown[]) =>
      (
        await server.fastify.inject({ method: "POST", url: "/v1/chat/completions", payload: { messages, ...greedy } })
      ).json();
    const first = await ask([user]);
    expect(first.choices[0]).toMatchObject({
      message: { content: "abcdefghijklmnopqrstuvwxyz" },
      finish_reason: "stop",
    });
    const second = await ask([user, first.choices[0].message, user]);
    expect(second.choices[0].finish_reason).toBe("stop");
  });

  test("has log-probabilities with bytes", async () => {
    const { json } = await post("/v1/chat/completions", {
      ...{ messages: [user], max_tokens: 1, logprobs: true, top_logprobs: 1, ...greedy },
    });
    expect(json.choices[0].logprobs).toEqual({
      content: [
        {
          token: "a",
          logprob: nats(0.8),
          bytes: [97],
          top_logprobs: [{ token: "a", logprob: nats(0.8), bytes: [97] }],
        },
      ],
      refusal: null,
    });
  });

  test("streams: the role, the pieces, the end", async () => {
    const { text } = await post("/v1/chat/completions", {
      messages: [user],
      max_tokens: 2,
      stream: true,
      n: 2,
      ...greedy,
    });
    const { events, done } = eventsOf(text);
    expect(done).toBe(true);
    expect(events.every(({ object }) => object === "chat.completion.chunk")).toBe(true);
    for (const wanted of [0, 1]) {
      const own = events.flatMap(({ choices }) => choices).filter(({ index }: Json) => index === wanted);
      expect(own.map(({ delta, finish_reason }: Json) => [delta, finish_reason])).toEqual([
        [{ role: "assistant", content: "", refusal: null }, null],
        [{ content: "a" }, null],
        [{ content: "b" }, null],
        [{}, "length"],
      ]);
    }
  });

  test("keeps to a JSON schema, to any JSON object, to a grammar", async () => {
    const ask = async (body: Json) =>
      (await post("/v1/chat/completions", { messages: [user], max_tokens: 60, ...greedy, ...body })).json.choices[0];
    const schema = {
      type: "object",
      properties: { k: { enum: ["yes", "no"] } },
      required: ["k"],
      additionalProperties: false,
    };
    const held = await ask({
      response_format: { type: "json_schema", json_schema: { name: "x", schema, strict: true } },
    });
    expect(["yes", "no"]).toContain(JSON.parse(held.message.content).k);
    expect(held.finish_reason).toBe("stop");
    expect(typeof JSON.parse((await ask({ response_format: { type: "json_object" } })).message.content)).toBe("object");
    expect((await ask({ grammar: 'root ::= "no" | "yes"' })).message.content).toMatch(/^(no|yes)$/);
    expect((await ask({ grammar: 'root ::=\n  "no"\n  | "yes"\n' })).message.content).toMatch(/^(no|yes)$/);
    // Names of JavaScript's own are names like others.
    for (const name of ["__proto__", "constructor", "toString"]) {
      const text = `{"type":"object","properties":{"${name}":{"type":"null"}},"required":["${name}"],"additionalProperties":false}`;
      const own = await ask({
        max_tokens: 200,
        response_format: { type: "json_schema", json_schema: { name: "x", schema: JSON.parse(text), strict: true } },
      });
      expect(own.message.content.replace(/\s/g, "")).toBe(`{"${name}":null}`);
    }
  });

  test("takes an assistant's null as no text, and refuses tool calls by their field", async () => {
    const assistant = { role: "assistant", content: null };
    const { status } = await post("/v1/chat/completions", { messages: [user, assistant, user], max_tokens: 2 });
    expect(status).toBe(200);
    const calls = [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }];
    const { json } = await post("/v1/chat/completions", {
      messages: [user, { ...assistant, tool_calls: calls }, { role: "tool", tool_call_id: "c1", content: "42" }],
    });
    expect(json.error.param).toBe("messages.1.tool_calls");
    expect(json.error.message).toMatch(/tools are not supported/);
    const { json: missing } = await post("/v1/chat/completions", { messages: [{ role: "assistant" }] });
    expect(missing.error.param).toBe("messages.0.content");
  });

  test("of a model without a template is refused with what to do", async () => {
    const { status, json } = await post("/v1/chat/completions", { messages: [user] }, { chatTemplate: null });
    expect(status).toBe(400);
    expect(json.error.message).toMatch(/no chat template.*--chat-template/);
  });
});

describe("other addresses", () => {
  test("tell the model, and turn text into tokens and back", async () => {
    const { server } = await serveAlphabet({ modelName: "a/b" });
    const get = async (url: string) => (await server.fastify.inject(url)).json();
    const list = await get("/v1/models");
    expect(list).toMatchObject({ object: "list", data: [{ id: "a/b", object: "model", owned_by: "bitnet.ts" }] });
    expect(await get("/v1/models/a/b")).toEqual({ ...list.data[0], created: expect.any(Number) });
    expect((await get("/v1/models/x")).error.code).toBe("model_not_found");
    expect(await get("/health")).toEqual({ status: "ok" });
    const send = async (url: string, payload: Json) =>
      (await server.fastify.inject({ method: "POST", url, payload })).json();
    expect(await send("/tokenize", { content: "aé" })).toEqual({ tokens: [97, 0xc3, 0xa9] });
    expect(await send("/tokenize", { content: "aé", with_pieces: true })).toEqual({
      tokens: [
        { id: 97, piece: "a" },
        { id: 0xc3, piece: [0xc3] },
        { id: 0xa9, piece: [0xa9] },
      ],
    });
    expect(await send("/detokenize", { tokens: [97, 0xc3, 0xa9] })).toEqual({ content: "aé" });
    expect((await send("/detokenize", { tokens: [-1] })).error.param).toBe("tokens.0");
  });

  test("embeddings: the mean of the hidden states, of length 1, as numbers or as base64", async () => {
    const { server } = await serveAlphabet();
    const send = async (payload: Json) =>
      (await server.fastify.inject({ method: "POST", url: "/v1/embeddings", payload })).json();
    const found = await send({ input: ["ac", "b"] });
    // (97 + 99) / 2 = 98: both texts have the same mean, (98, 1).
    const unit = [98, 1].map((x) => expect.closeTo(x / Math.hypot(98, 1), 6));
    expect(found).toEqual({
      object: "list",
      data: [0, 1].map((index) => ({ object: "embedding", index, embedding: unit })),
      model: "alphabet",
      usage: { prompt_tokens: 3, total_tokens: 3 },
    });
    const coded = (await send({ input: "b", encoding_format: "base64" })).data[0].embedding;
    const bytes = Buffer.from(coded, "base64");
    expect([bytes.readFloatLE(0), bytes.readFloatLE(4)]).toEqual(found.data[1].embedding);
    expect((await send({ input: "" })).error.message).toMatch(/empty text/);
    expect((await send({ input: "b", dimensions: 7 })).error.message).toMatch(/have 2 numbers/);
    expect((await send({ input: "b".repeat(700) })).error.code).toBe("context_length_exceeded");
  });

  test("metrics: every line is Prometheus' text, and the counts are those of what was asked", async () => {
    const { server } = await serveAlphabet();
    await server.fastify.inject({ method: "POST", url: "/v1/completions", payload: { prompt: "w", ...greedy } });
    await server.fastify.inject({ method: "POST", url: "/v1/completions", payload: { prompt: 1 } });
    const response = await server.fastify.inject("/metrics");
    expect(response.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    const lines = response.body.trimEnd().split("\n");
    // The format's own grammar: comments, or a name, labels and a number.
    const sample =
      /^[a-z_:][a-z0-9_:]*(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? -?[0-9.e+-]+$/;
    expect(lines.filter((line) => !/^# (HELP|TYPE) [a-z_]+ \S/.test(line) && !sample.test(line))).toEqual([]);
    for (const line of [
      'bitnet_http_requests_total{method="POST",route="/v1/completions",status="200"} 1',
      'bitnet_http_requests_total{method="POST",route="/v1/completions",status="400"} 1',
      "bitnet_generated_tokens_total 4",
      "bitnet_texts_finished_total 1",
      "bitnet_slots_active 0",
      'bitnet_text_duration_seconds_bucket{le="+Inf"} 1',
    ])
      expect(lines).toContain(line);
  });
});
