/** What is answered where. Shapes are told by completions.ts, chat-completions.ts and the schemas below. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { HttpError } from "../http/errors.ts";
import { eventBody } from "../http/event-stream.ts";
import { sha256Of } from "../platform/hash.ts";
import { show } from "../platform/show.ts";
import { residentBytes } from "../platform/system.ts";
import { type Reply, type Shape, streamedAnswer, wholeAnswer } from "./answers.ts";
import { chatShape, readChatRequest } from "./chat-completions.ts";
import { completionShape, readCompletionRequest } from "./completions.ts";
import { llamaProps, llamaShape, llamaSlots, readLlamaRequest } from "./llama-server.ts";
import type { Prompt, TextsRequest } from "./messages.ts";
import { parseRequest } from "./request-fields.ts";
import type { Serving } from "./serving.ts";

export function addRoutes(server: FastifyInstance, serving: Serving): void {
  const { engine } = serving;
  const newSeed = () => Number.parseInt(serving.randomHex(4), 16);
  const addText = (
    path: string,
    shape: Shape,
    read: (body: unknown, seed: () => number, mostTokens: number) => { request: TextsRequest; reply: Reply },
  ) =>
    server.post(path, async (request, reply) => {
      checkModel(request.body, serving);
      return answer(serving, shape, read(request.body, newSeed, engine.facts.maxTokens), request, reply);
    });
  addText("/v1/completions", completionShape, readCompletionRequest);
  addText("/v1/chat/completions", chatShape, readChatRequest);
  addText("/completion", llamaShape, readLlamaRequest);

  for (const path of ["/v1/models", "/models"])
    server.get(path, async () => ({ object: "list", data: [modelCard(serving)] }));
  server.get("/props", async () => {
    const { slots } = await engine.ask<"stats">({ kind: "stats" });
    return llamaProps(engine.facts, serving.modelName, serving.version, slots);
  });
  server.get("/slots", async (request) => {
    const stats = await engine.ask<"stats">({ kind: "stats" });
    if ((request.query as { fail_on_no_slot?: string }).fail_on_no_slot === "1" && stats.active >= stats.slots)
      throw new HttpError(503, "no slot is free", { code: "no_slot" });
    return llamaSlots(stats, engine.facts);
  });
  // A model's name may have slashes.
  server.get("/v1/models/*", async (request) => {
    const name = (request.params as { "*": string })["*"];
    if (name !== serving.modelName) throw unknownModel(name, serving);
    return modelCard(serving);
  });

  server.post("/v1/embeddings", async (request) => embeddings(serving, request));
  server.post("/tokenize", async (request) => {
    const fields = parseRequest(tokenizeSchema, request.body);
    const question = {
      kind: "tokenize" as const,
      text: fields.content,
      addSpecial: fields.add_special ?? false,
      parseSpecial: fields.parse_special ?? true,
      pieces: fields.with_pieces ?? false,
    };
    const { ids, pieces } = await engine.ask<"tokenize">(question, serving.signalOf(request));
    // As llama.cpp's: a piece that is no text by itself is a list of bytes.
    const isText = (piece: string, bytes: number[]) => new TextDecoder().decode(Uint8Array.from(bytes)) === piece;
    const shown = (piece: string, bytes: number[] | null) => (bytes && !isText(piece, bytes) ? bytes : piece);
    if (!fields.with_pieces) return { tokens: [...ids] };
    const named = new Map([...pieces].map(([id, { piece, bytes }]) => [id, { id, piece: shown(piece, bytes) }]));
    return { tokens: Array.from(ids, (id) => named.get(id)) };
  });
  server.post("/detokenize", async (request) => {
    const { tokens } = parseRequest(z.strictObject({ tokens: z.array(z.int().min(0)) }), request.body);
    return { content: await engine.ask<"detokenize">({ kind: "detokenize", tokens }, serving.signalOf(request)) };
  });

  server.get("/health", async () => {
    engine.check();
    return { status: "ok" };
  });
  server.get("/metrics", async (_request, reply) => {
    const stats = engine.gone ? null : await engine.ask<"stats">({ kind: "stats" });
    const text = serving.metrics.render(stats, {
      model: serving.modelName,
      version: serving.version,
      residentBytes: residentBytes(),
      upSeconds: (serving.clock.monotonicMs() - serving.startedMs) / 1000,
    });
    return reply.type("text/plain; version=0.0.4; charset=utf-8").send(text);
  });
}

const tokenizeSchema = z.strictObject({
  content: z.string(),
  add_special: z.boolean().optional(),
  parse_special: z.boolean().optional(),
  with_pieces: z.boolean().optional(),
});

function modelCard({ modelName, engine, clock, startedMs }: Serving) {
  const { contextLength, vocabSize, hasChatTemplate, hasEmbeddings, variant, maxTokens } = engine.facts;
  const upMs = clock.monotonicMs() - startedMs;
  return {
    id: modelName,
    object: "model",
    created: Math.floor((clock.epochMs() - upMs) / 1000),
    owned_by: "bitnet.ts",
    // Ours, for the page and for whoever wants to know.
    meta: {
      variant,
      context_length: contextLength,
      max_tokens: maxTokens,
      vocab_size: vocabSize,
      chat: hasChatTemplate,
      embeddings: hasEmbeddings,
    },
  };
}

const unknownModel = (name: string, { modelName }: Serving) =>
  new HttpError(404, `there is no model ${show(name)} here; this server has ${show(modelName)}`, {
    param: "model",
    code: "model_not_found",
  });

/** A request may leave the model out; another one it may not name. */
function checkModel(body: unknown, serving: Serving): void {
  const name = (body as { model?: unknown } | null)?.model;
  if (typeof name === "string" && name !== serving.modelName) throw unknownModel(name, serving);
}

async function answer(
  serving: Serving,
  shape: Shape,
  read: { request: TextsRequest; reply: Reply },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<object> {
  const { engine, clock, metrics, modelName } = serving;
  const signal = serving.signalOf(request);
  const arrivedMs = clock.monotonicMs();
  const running = await engine.begin(read.request, signal);
  const id = `${shape.idPrefix}${serving.randomHex(12)}`;
  const created = Math.floor(clock.epochMs() / 1000);
  const fingerprint = fingerprintOf(serving);
  const head = (object: string) => ({ id, object, created, model: modelName, system_fingerprint: fingerprint });

  if (!read.reply.stream) {
    const { body, reports } = await wholeAnswer(shape, head, read, running);
    for (const report of reports) metrics.text(report);
    return body;
  }
  let first = true;
  const events = streamedAnswer(shape, head, read, running, {
    onText() {
      if (first) metrics.firstToken((clock.monotonicMs() - arrivedMs) / 1000);
      first = false;
    },
    onReport: (report) => metrics.text(report),
    onError: (error, cause) => request.log.warn({ err: cause, status: error.status }, "stream ended"),
  });
  const body = eventBody(events, {
    patienceMs: serving.patienceMs,
    onStall() {
      serving.end(request, "stalled");
      reply.raw.destroy();
    },
  });
  return reply
    .headers({ "cache-control": "no-cache", "x-accel-buffering": "no" })
    .type("text/event-stream; charset=utf-8")
    .send(body);
}

/** Changes when the same seed may give another text: model, engine, backend, threads. */
function fingerprintOf({ engine, version }: Serving): string {
  const { folder, step, kind, backend, tokenizerHash } = engine.facts;
  return `fp_${sha256Of(JSON.stringify([version, folder, step, kind, backend, tokenizerHash])).slice(0, 10)}`;
}

const ids = z.array(z.int().min(0)).min(1);
/** OpenAI's most. */
const mostTexts = 2048;
const embeddingsSchema = z.strictObject({
  model: z.string().nullish(),
  input: z.union([z.string(), ids, z.array(z.string()).min(1).max(mostTexts), z.array(ids).min(1).max(mostTexts)], {
    error: "expected a text, a list of tokens, or a list of texts or of lists of tokens",
  }),
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: z.int().min(1).nullish(),
  user: z.string().nullish(),
});

async function embeddings(serving: Serving, request: FastifyRequest): Promise<object> {
  const { engine, modelName } = serving;
  checkModel(request.body, serving);
  const fields = parseRequest(embeddingsSchema, request.body);
  const { width } = engine.facts;
  if (typeof fields.dimensions === "number" && fields.dimensions !== width)
    throw new HttpError(400, `dimensions: this model's embeddings have ${width} numbers, and are not to be shortened`, {
      param: "dimensions",
    });
  const { input } = fields;
  const single = typeof input === "string" || typeof input[0] === "number";
  const list = (single ? [input] : input) as (string | number[])[];
  const prompts: Prompt[] = list.map((one) => (typeof one === "string" ? { text: one } : { tokens: one }));
  const { vectors, promptTokens } = await engine.ask<"embed">({ kind: "embed", prompts }, serving.signalOf(request));
  return {
    object: "list",
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: fields.encoding_format === "base64" ? base64Of(vector) : [...vector],
    })),
    model: modelName,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}

/** Float32, the lower byte first, as the openai client asks for by itself. */
function base64Of(vector: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * vector.length));
  for (const [i, x] of vector.entries()) bytes.setFloat32(4 * i, x, true);
  return btoa(Array.from(new Uint8Array(bytes.buffer), (byte) => String.fromCharCode(byte)).join(""));
}
