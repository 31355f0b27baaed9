// llama.cpp's server API where its clients need it. Oracle: tools/server/README.md of llama.cpp (fields, defaults, events); the
// alphabet, which the scripted engine writes.
import { describe, expect, test } from "vitest";
import { eventsOf, type Json, postAlphabet as post, serveAlphabet } from "../../test/support/serving.ts";

const greedy = { temperature: 0 };

describe("/completion", () => {
  test("continues a text or token ids, and says why it stopped", async () => {
    const { json } = await post("/completion", { prompt: "ab", n_predict: 5, ...greedy });
    expect(json).toMatchObject({
      content: "cdefg",
      stop: true,
      stop_type: "limit",
      stopping_word: "",
      model: "alphabet",
      tokens_predicted: 5,
      tokens_evaluated: 2,
      truncated: false,
      timings: { prompt_n: 2, predicted_n: 5, predicted_ms: expect.any(Number) },
    });
    const ask = async (body: Json) => (await post("/completion", { ...greedy, ...body })).json;
    expect(await ask({ prompt: [119] })).toMatchObject({ content: "xyz", stop_type: "eos" });
    expect(await ask({ prompt: "a", stop: ["e"] })).toMatchObject({
      content: "bcd",
      stop_type: "word",
      stopping_word: "e",
    });
    expect(await ask({ prompt: "a", n_predict: 1, logit_bias: [[33, 5]] })).toMatchObject({ content: "!" });
    expect(await ask({ prompt: "a", n_predict: 1, logit_bias: { "33": 5 } })).toMatchObject({ content: "!" });
    expect(JSON.parse((await ask({ prompt: "a", json_schema: { enum: [7] } })).content)).toBe(7);
  });

  test("streams pieces and ends with the event that has stop: true, without [DONE]", async () => {
    const { text, headers } = await post("/completion", { prompt: "w", stream: true, ...greedy });
    expect(headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    const { events, done } = eventsOf(text);
    expect(done).toBe(false);
    expect(events.map(({ content, stop }) => [content, stop])).toEqual([
      ["x", false],
      ["y", false],
      ["z", false],
      ["", true],
    ]);
    expect(events.at(-1)).toMatchObject({ stop_type: "eos", tokens_evaluated: 1 });
  });

  test.for([
    [{ prompt: ["a", "b"] }, /one prompt a request/],
    [{ prompt: "a", mirostat: 2 }, /mirostat is not supported/],
    [{ prompt: "a", id_slot: 3 }, /slots cannot be chosen/],
    [{ prompt: "a", n_probs: 5 }, /logprobs/],
    [{ prompt: "a", grammar: 'root ::= "a"', json_schema: {} }, /either a grammar or a json_schema/],
    [{ prompt: "a", temprature: 1 }, /unknown field "temprature"/],
  ] as [Json, RegExp][])("refuses %o by name", async ([body, message]) => {
    const { status, json } = await post("/completion", body);
    expect(status).toBe(400);
    expect(json.error.message).toMatch(message);
  });
});

test("/props, /slots and /models tell the context, the slots, the template and the model", async () => {
  const { server, gate, passesBegun } = await serveAlphabet({ limits: { slots: 2 }, chatTemplate: "{{ messages }}" });
  const get = async (url: string) => server.fastify.inject({ method: "GET", url });
  expect((await get("/props")).json()).toMatchObject({
    total_slots: 2,
    model_alias: "alphabet",
    chat_template: "{{ messages }}",
    default_generation_settings: { n_ctx: 600, params: { temperature: 0.8 } },
  });
  expect((await get("/models")).json()).toEqual((await get("/v1/models")).json());
  const busy = async () => (await get("/slots")).json().map((slot: Json) => slot.is_processing);
  expect(await busy()).toEqual([false, false]);
  gate.shut();
  const payload = { prompt: "ab", n_predict: 3, ...greedy };
  const running = [1, 2].map(() => server.fastify.inject({ method: "POST", url: "/completion", payload }));
  const answers = Promise.all(running);
  while (passesBegun() === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(await busy()).toEqual([true, true]);
  expect((await get("/slots?fail_on_no_slot=1")).statusCode).toBe(503);
  gate.open();
  expect((await answers).map((answer) => answer.json().content)).toEqual(["cde", "cde"]);
});

test("reasoning_effort is accepted and changes nothing; embeddings take token ids, one list or several", async () => {
  const chat = { messages: [{ role: "user", content: "a" }], max_tokens: 3, ...greedy };
  const content = async (more: Json) =>
    (await post("/v1/chat/completions", { ...chat, ...more })).json.choices[0].message.content;
  expect(await content({ reasoning_effort: "high" })).toBe(await content({}));
  const embedded = async (input: Json) => (await post("/v1/embeddings", { input })).json.data;
  const [one] = await embedded([97, 99]);
  expect(await embedded(["ac", "b"])).toMatchObject([{ embedding: one.embedding }, { index: 1 }]);
  expect(await embedded([[97, 99], [98]])).toEqual(await embedded(["ac", "b"]));
});
