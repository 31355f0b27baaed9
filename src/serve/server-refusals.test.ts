// Requests that the server refuses, and who may ask. Oracle: OpenAI's API reference for the shape of errors.
import { describe, expect, test } from "vitest";
import { postAlphabet as post, serveAlphabet } from "../../test/support/serving.ts";

describe("what is refused, with OpenAI's shape of errors", () => {
  const chat = { messages: [{ role: "user", content: "a" }] };
  const cases: [string, string, unknown, number, RegExp, string | null][] = [
    [
      "tools",
      "/v1/chat/completions",
      { ...chat, tools: [{ type: "function" }] },
      400,
      /tools are not supported/,
      "tools",
    ],
    [
      "a tool's message",
      "/v1/chat/completions",
      { messages: [{ role: "tool", content: "1" }] },
      400,
      /role: expected/,
      "messages.0.role",
    ],
    [
      "a picture",
      "/v1/chat/completions",
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
      400,
      /no images/,
      "messages.0.content",
    ],
    ["no messages", "/v1/chat/completions", { messages: [] }, 400, /messages/, "messages"],
    [
      "two limits",
      "/v1/chat/completions",
      { ...chat, max_tokens: 1, max_completion_tokens: 2 },
      400,
      /give one/,
      "max_tokens",
    ],
    [
      "an unknown field",
      "/v1/completions",
      { prompt: "a", temprature: 1 },
      400,
      /unknown field "temprature"/,
      "temprature",
    ],
    [
      "a wrong type",
      "/v1/completions",
      { prompt: "a", temperature: "hot" },
      400,
      /temperature: .*number/,
      "temperature",
    ],
    ["a number out of range", "/v1/completions", { prompt: "a", top_p: 1.5 }, 400, /top_p/, "top_p"],
    [
      "a bias of a token that there is not",
      "/v1/completions",
      { prompt: "a", logit_bias: { "999": 1 } },
      400,
      /token 999/,
      "logit_bias",
    ],
    [
      "a prompt's token that there is not",
      "/v1/completions",
      { prompt: [999] },
      400,
      /999 is outside the vocabulary/,
      null,
    ],
    ["a prompt past the context", "/v1/completions", { prompt: "a".repeat(700) }, 400, /the model's context 600/, null],
    [
      "a schema with a keyword that is not supported",
      "/v1/completions",
      { prompt: "a", response_format: { type: "json_schema", json_schema: { name: "x", schema: { not: {} } } } },
      400,
      /not/,
      null,
    ],
    [
      "a schema nested 3,000 deep",
      "/v1/completions",
      { prompt: "a", response_format: { type: "json_schema", json_schema: { name: "x", schema: nested(3000) } } },
      400,
      /nests more than 200 deep/,
      "response_format.json_schema.schema",
    ],
    [
      "a pointer that is no URI",
      "/v1/completions",
      {
        prompt: "a",
        response_format: { type: "json_schema", json_schema: { name: "x", schema: { $ref: "#/%E0%A4%A" } } },
      },
      400,
      /% escapes are not UTF-8/,
      null,
    ],
    ["a mistake in a grammar", "/v1/completions", { prompt: "a", grammar: "root ::= (" }, 400, /grammar/, null],
    [
      "another model",
      "/v1/completions",
      { prompt: "a", model: "gpt-5" },
      404,
      /no model "gpt-5" here; this server has "alphabet"/,
      "model",
    ],
    ["more texts than the server takes", "/v1/completions", { prompt: "a", n: 100 }, 400, /100 texts/, null],
    ["suffix", "/v1/completions", { prompt: "a", suffix: "b" }, 400, /write forward only/, "suffix"],
    ["a list", "/v1/completions", [], 400, /expected a JSON object/, null],
    ["an unknown address", "/v1/responses", {}, 404, /no POST \/v1\/responses/, null],
  ];
  test.for(cases)("%s", async ([, url, payload, status, message, param]) => {
    const answer = await post(url, payload);
    expect(answer.status).toBe(status);
    expect(answer.json.error).toEqual({
      message: expect.stringMatching(message),
      type: "invalid_request_error",
      param,
      code: answer.json.error.code,
    });
  });

  test("malformed JSON, JSON's prototype, another type, a body too large, a limit of the server's", async () => {
    const { server } = await serveAlphabet({ bodyBytes: 2000, limits: { maxTokens: 10 } });
    const send = async (payload: string, type = "application/json") => {
      const headers = { "content-type": type };
      const response = await server.fastify.inject({ method: "POST", url: "/v1/completions", payload, headers });
      return [response.statusCode, response.json().error.message];
    };
    expect(await send("{")).toEqual([400, "the body is not valid JSON"]);
    expect(await send('{"__proto__": {"x": 1}}')).toEqual([400, expect.stringMatching(/unknown field "__proto__"/)]);
    expect(await send("prompt=a", "text/plain")).toEqual([415, expect.stringMatching(/application\/json/)]);
    expect(await send(JSON.stringify({ prompt: "a".repeat(2000) }))).toEqual([
      413,
      expect.stringMatching(/2000 bytes/),
    ]);
    expect(await send('{"prompt": "a", "max_tokens": 11}')).toEqual([400, "max_tokens is 11; at most 10 are allowed"]);
    // Without max_tokens OpenAI's 16 would be more than this server allows.
    const short = await server.fastify.inject({ method: "POST", url: "/v1/completions", payload: { prompt: "a" } });
    expect(short.json()).toMatchObject({ usage: { completion_tokens: 10 } });
  });

  test("a field that asks for nothing is taken: no tools, tool_choice none, one best of", async () => {
    const taken = {
      tools: [],
      tool_choice: "none",
      functions: null,
      parallel_tool_calls: true,
      user: "me",
      store: false,
    };
    expect((await post("/v1/chat/completions", { ...chat, ...taken, max_tokens: 1 })).status).toBe(200);
    expect((await post("/v1/completions", { prompt: "a", best_of: 1, suffix: null })).status).toBe(200);
  });
});

describe("who may ask", () => {
  test("with a key: 401 without it or with another, but for the page and the health", async () => {
    const { server } = await serveAlphabet({ apiKeys: ["first", "second"] });
    const ask = async (authorization?: string, url = "/v1/models") => {
      const response = await server.fastify.inject({ url, headers: authorization ? { authorization } : {} });
      return response.statusCode;
    };
    expect(await ask()).toBe(401);
    expect(await ask("Bearer wrong")).toBe(401);
    expect(await ask("Basic second")).toBe(401);
    expect(await ask("Bearer secon")).toBe(401);
    expect(await ask("Bearer second")).toBe(200);
    expect(await ask(undefined, "/metrics")).toBe(401);
    expect(await ask(undefined, "/nowhere")).toBe(401);
    expect(await ask(undefined, "/health")).toBe(200);
    expect(await ask(undefined, "/")).toBe(200);
    const refused = await server.fastify.inject("/v1/models");
    expect(refused.headers["www-authenticate"]).toBe("Bearer");
    expect(refused.json().error).toMatchObject({ type: "authentication_error", code: "missing_api_key" });
  });

  test("another site's page only where it was named; a name that was made to point here not", async () => {
    const closed = (await serveAlphabet()).server.fastify;
    const headers = { origin: "https://site.example" };
    const preflight = { method: "OPTIONS", url: "/v1/completions", headers } as const;
    expect(
      (await closed.inject({ url: "/v1/models", headers })).headers["access-control-allow-origin"],
    ).toBeUndefined();
    expect((await closed.inject(preflight)).statusCode).toBe(404);
    const open = (await serveAlphabet({ corsOrigins: ["https://site.example"] })).server.fastify;
    expect((await open.inject({ url: "/v1/models", headers })).headers["access-control-allow-origin"]).toBe(
      headers.origin,
    );
    expect((await open.inject(preflight)).statusCode).toBe(204);
    const other = await open.inject({ url: "/v1/models", headers: { origin: "https://other.example" } });
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
    const named = async (host: string, server = closed) =>
      (await server.inject({ url: "/v1/models", headers: { host } })).statusCode;
    expect(await named("evil.example")).toBe(421);
    expect(await named("127.0.0.1.evil.example:8080")).toBe(421);
    for (const own of ["localhost:8080", "127.0.0.1:1", "[::1]:8080"]) expect(await named(own)).toBe(200);
    expect(await named("box.lan", (await serveAlphabet({ allowedHosts: ["box.lan"] })).server.fastify)).toBe(200);
    expect(await named("anything.example", (await serveAlphabet({ host: "0.0.0.0" })).server.fastify)).toBe(200);
  });

  test("the page forbids everything from elsewhere, and holds nothing of it", async () => {
    const { server } = await serveAlphabet();
    for (const url of ["/", "/chat.css", "/chat.js", "/icon.svg"]) {
      const { statusCode, headers, body } = await server.fastify.inject(url);
      expect(statusCode).toBe(200);
      expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'/);
      expect(body.replace("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:\/\//);
      expect(body).not.toMatch(/innerHTML|eval\(|style=|onclick=/);
    }
    const without = await serveAlphabet({ page: false });
    expect((await without.server.fastify.inject("/")).statusCode).toBe(404);
  });
});

/** A schema of lists of lists. */
function nested(depth: number): object {
  let schema: object = { type: "null" };
  for (let i = 0; i < depth; i++) schema = { type: "array", items: schema };
  return schema;
}
