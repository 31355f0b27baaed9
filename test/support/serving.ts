/**
 * A server over a scripted engine, for tests: tokens are bytes, and the model writes the alphabet. Behind a small letter comes
 * the next, behind z the end of the text, behind anything else an a; "second best" is always `!`, at a quarter of its odds.
 */
import { onTestFinished } from "vitest";
import type { Engine, OpenedEngine, Work } from "../../src/infer/index.ts";
import { presets } from "../../src/model/index.ts";
import { EngineClient } from "../../src/serve/engine-client.ts";
import { hostModel } from "../../src/serve/engine-thread.ts";
import type { HostLimits } from "../../src/serve/messages.ts";
import { createServer, type HttpServer, type ServerOptions } from "../../src/serve/server.ts";
import { createScriptedEngine } from "./scripted-engine.ts";
import { byteTokenizer } from "./small-model.ts";

// biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the tests find out
export type Json = any;

export const V = 257;
const [a, z] = [97, 122];

export const nextToken = (last: number): number => (last >= a && last < z ? last + 1 : last === z ? 256 : a);

export interface TestServing {
  server: HttpServer;
  client: EngineClient;
  engine: ReturnType<typeof createScriptedEngine>;
  /** Begins to listen, on a free port. */
  url(): Promise<string>;
  /** Passes wait until `open` is called, from `shut` on. */
  gate: { shut(): void; open(): void };
  /** Passes that came to the gate. */
  passesBegun(): number;
}

/** The engine's side in this thread; closed when the test ends. */
export async function serveAlphabet(
  options: Partial<ServerOptions> & {
    limits?: Partial<HostLimits>;
    chatTemplate?: string | null;
    context?: number;
  } = {},
): Promise<TestServing> {
  const {
    limits,
    chatTemplate = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}>",
    context = 600,
  } = options;
  let shut: Promise<void> | null = null;
  let release = () => {};
  let begun = 0;
  const gate = {
    shut() {
      shut = new Promise((resolve) => {
        release = resolve;
      });
    },
    open() {
      shut = null;
      release();
    },
  };
  const engine = createScriptedEngine(
    V,
    context,
    (tokens, out) => {
      const next = nextToken(tokens[tokens.length - 1]);
      out[next] = Math.log(4);
      out[33] = 0;
      for (let i = 0; i < V; i++) if (i !== next && i !== 33) out[i] = -30;
    },
    async (_batch: readonly Work[]) => {
      begun++;
      await shut;
    },
  );
  const withStates: Engine = {
    ...engine,
    // Of each token (id, 1): the mean can be told by hand.
    async hiddenStates(sequence, tokens) {
      await engine.forward([{ sequence, tokens, logits: "none" }]);
      return Float32Array.from({ length: 2 * tokens.length }, (_, i) => (i % 2 === 0 ? tokens[i / 2] : 1));
    },
  };
  const tokenizer = {
    ...byteTokenizer,
    tokenOf: (id: number) => (id === 256 ? "<|end|>" : id < 256 ? String.fromCharCode(id) : undefined),
    specialTokens: new Map([["<|end|>", 256]]),
    hash: "0".repeat(64),
  };
  const opened = {
    engine: withStates,
    kind: "float",
    config: { ...presets.tiny, vocabSize: V, contextLength: context, width: 2 },
    tokenizer,
    folder: "alphabet",
    step: 1,
    refused: [],
    startToken: null,
    stopTokens: [256],
    chatTemplate,
    backend: { name: "reference", isa: "none", threads: 1 },
    close() {},
  } as unknown as OpenedEngine;
  const all: HostLimits = { slots: 2, queue: 2, maxTokens: null, cacheTokens: 0, ...limits };
  const client = await EngineClient.open(
    { url: "", createService: (_: null, post) => hostModel(opened, all, post, options.clock) },
    null,
    { thread: false },
  );
  const server = createServer(client, { modelName: "alphabet", port: 0, ...options });
  onTestFinished(async () => {
    gate.open();
    await server.close();
    await client.close({ cancel: true });
  });
  let listening: Promise<string> | undefined;
  return {
    server,
    client,
    engine,
    gate,
    passesBegun: () => begun,
    url() {
      listening ??= server.listen();
      return listening;
    },
  };
}

/** An answer's JSON. */
export const jsonOf = async (response: Response | Promise<Response>): Promise<Json> => (await response).json();

/** The data of a stream of server-sent events; [DONE] is told apart. */
export function eventsOf(body: string): { events: Json[]; done: boolean } {
  const lines = body.split("\n\n").filter((part) => part !== "");
  const data = lines.map((part) => part.replace(/^data: /, ""));
  const done = data.at(-1) === "[DONE]";
  return { events: (done ? data.slice(0, -1) : data).map((text) => JSON.parse(text)), done };
}

// The real one, also where a test has replaced the timers.
const { setTimeout: later } = globalThis;

/** Waits until something holds; the test's own time limit ends it. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => later(resolve, 5));
}

/** A POST to the alphabet's server, and its answer; `json` is {} where it is none. */
export async function postAlphabet(url: string, payload: unknown, more: Parameters<typeof serveAlphabet>[0] = {}) {
  const { server } = await serveAlphabet(more);
  const response = await server.fastify.inject({ method: "POST", url, payload: payload as Json });
  return { status: response.statusCode, headers: response.headers, text: response.body, json: parsed(response.body) };
}
const parsed = (text: string): Json => {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
};
