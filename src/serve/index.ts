/** A model behind HTTP: OpenAI's API on this computer (`bitnet.ts/serve`). docs/serving.md. */
import { EngineClient, type EngineClientOptions } from "./engine-client.ts";
import { createService, threadUrl } from "./engine-thread.ts";
import type { HostLimits, HostSetup, ModelFacts } from "./messages.ts";
import { createServer, type ServerOptions } from "./server.ts";

export { EngineClient, EngineError } from "./engine-client.ts";
export { hostModel } from "./engine-thread.ts";
export type { HostLimits, HostSetup, ModelFacts } from "./messages.ts";
export { createServer, type HttpServer, type ServerOptions } from "./server.ts";

export interface ServeOptions
  extends Partial<ServerOptions>,
    Partial<HostLimits>,
    Omit<HostSetup, "limits">,
    Pick<EngineClientOptions, "onNote" | "onProgress" | "stuckMs"> {}

/** That an engine has to put itself away once no answer is under way; then its thread is ended. */
const engineCloseMs = 2000;

export interface RunningServer {
  /** http://127.0.0.1:8080 */
  url: string;
  modelName: string;
  facts: ModelFacts;
  /** Rejects where the engine's thread ends by itself; else never settles. */
  failure: Promise<never>;
  /** Takes nothing more, lets answers under way end (for `graceMs`), closes the engine. */
  close(): Promise<void>;
}

/**
 * Opens a model on a thread of its own and serves it.
 *
 * @throws as openEngine; UsageError for limits out of range; the system's error for an address that cannot be had
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const {
    model,
    backend,
    engine,
    packed,
    startToken,
    pre,
    chatTemplate,
    onNote,
    onProgress,
    stuckMs,
    modelName = nameOf(model),
  } = options;
  const limits: HostLimits = {
    slots: options.slots ?? 4,
    queue: options.queue ?? 64,
    maxTokens: options.maxTokens ?? null,
    cacheTokens: options.cacheTokens ?? null,
  };
  const setup: HostSetup = { model, backend, engine, packed, startToken, pre, chatTemplate, limits };
  const client = await EngineClient.open({ url: threadUrl, createService }, setup, { onNote, onProgress, stuckMs });
  const server = createServer(client, { ...options, modelName });
  try {
    const url = await server.listen();
    return {
      url,
      modelName,
      facts: client.facts,
      failure: client.failure,
      async close() {
        await server.close();
        await client.close({ cancel: true, withinMs: engineCloseMs });
      },
    };
  } catch (error) {
    await client.close({ cancel: true, withinMs: engineCloseMs });
    throw error;
  }
}

/** The last part of a path or hub name, without a file's ending; a run's name for a step of it. */
function nameOf(model: string): string {
  const parts = model.split(/[\\/]+/).filter((part) => part !== "" && part !== ".");
  const own = parts.at(-1) ?? "model";
  if (/^step_\d+$/.test(own) && parts.at(-2) === "checkpoints") return parts.at(-3) ?? own;
  return own.replace(/\.(gguf|bitnet)$/i, "");
}
