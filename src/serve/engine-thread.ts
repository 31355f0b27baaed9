/** The module that the server's worker thread runs: opens the model there and hosts it (engine-host.ts). */
import { type OpenedEngine, openEngine } from "../infer/index.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { EngineHost } from "./engine-host.ts";
import type { FromHost, HostSetup, ModelFacts } from "./messages.ts";

export const threadUrl = import.meta.url;

export async function createService(setup: HostSetup, post: (message: FromHost) => void): Promise<EngineHost> {
  const { model, backend, engine, packed, startToken, pre, chatTemplate, limits } = setup;
  const opened = await openEngine(model, {
    backend,
    engine,
    packed,
    startToken,
    pre,
    hub: {
      onProgress: ({ file, doneBytes, totalBytes }) => post({ type: "progress", file, doneBytes, totalBytes }),
      onNote: (text) => post({ type: "note", text }),
    },
  });
  try {
    for (const text of opened.notes) post({ type: "note", text });
    return hostModel({ ...opened, chatTemplate: chatTemplate ?? opened.chatTemplate }, limits, post);
  } catch (error) {
    opened.close();
    throw error;
  }
}

/**
 * Hosts a model that is open already: for a server over an engine of one's own, and tests.
 *
 * @param clock of the texts' times; give the server the same (`ServerOptions.clock`)
 */
export function hostModel(
  opened: OpenedEngine,
  limits: HostSetup["limits"],
  post: (message: FromHost) => void,
  clock: Clock = systemClock,
): EngineHost {
  const host = new EngineHost(opened, limits, post, clock);
  const { config, engine, tokenizer, backend } = opened;
  const nameOf = (id: number | null) => (id === null ? null : (tokenizer.tokenOf(id) ?? null));
  const facts: ModelFacts = {
    folder: opened.folder,
    kind: opened.kind,
    variant: config.variant,
    vocabSize: engine.vocabSize,
    contextLength: engine.contextLength,
    width: config.width,
    layers: config.layers,
    step: opened.step,
    tokenizerHash: tokenizer.hash,
    hasChatTemplate: opened.chatTemplate !== null,
    chatTemplate: opened.chatTemplate,
    bosToken: nameOf(tokenizer.bos),
    eosToken: nameOf(tokenizer.eos),
    hasEmbeddings: engine.hiddenStates !== undefined,
    maxTokens: host.maxTokens,
    backend: { name: backend.name, isa: backend.isa, threads: backend.threads },
    refused: opened.refused.map(({ path, reason }) => ({ path, reason })),
  };
  post({ type: "opened", facts });
  return host;
}
