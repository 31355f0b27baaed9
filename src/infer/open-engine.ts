/**
 * A path to something that writes: finds the model, chooses how to run it, and says what its texts start and end with.
 * What cli/ and serve/ open models through.
 */
import { type Backend, type BackendChoice, createBackend } from "../backends/index.ts";
import {
  downloadModel,
  type HubOptions,
  isCompactPath,
  isGgufPath,
  isHubName,
  loadModel,
  openCompactModel,
  type OpenedModel,
  openGgufModel,
  refusePre,
} from "../exchange/index.ts";
import type { ModelConfig, QuantizationConfig } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { Runtime } from "../tensor/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { readChatTemplate } from "./chat-template.ts";
import type { Engine } from "./engine.ts";
import { endTokensOf } from "./end-tokens.ts";
import { createPackedEngine, type PackedEngineOptions, packModel } from "./packed/engine.ts";
import { runsPacked } from "./packed/options.ts";
import { weightsOfCompact, weightsOfGguf } from "./packed/file-weights.ts";
import type { WeightSource } from "./packed/weights.ts";
import { type StartTokenChoice, startTokenOf } from "./start-token.ts";
import { TransformerEngine } from "./transformer-engine.ts";

export interface OpenEngineOptions {
  /** Where to compute; by default the best that there is. */
  backend?: BackendChoice;
  /**
   * "packed": weights packed, the fast engine; "float": the training-time model, whose linear layers run as in training.
   * "auto" (default): packed for ternary models, float for others unless `packed` says more.
   */
  engine?: "auto" | "packed" | "float";
  /** How the packed engine holds weights, head and cache. */
  packed?: PackedEngineOptions;
  /** Of a download, where the path is a name on the hub. */
  hub?: HubOptions;
  /** The token before a text, by name or id, null for none; by default what the model wants (start-token.ts). */
  startToken?: StartTokenChoice;
  /** Of a GGUF file: how its byte-level BPE cuts text, by a name of tokenizer.ggml.pre. */
  pre?: string;
  /** Other quantizers, laid over the model's own, as an overrides file has them. */
  overrides?: QuantizationConfig;
}

export interface OpenedEngine {
  engine: Engine;
  /** Which was chosen. */
  kind: "packed" | "float";
  config: ModelConfig;
  tokenizer: Tokenizer;
  /** The folder or file that was read. */
  folder: string;
  /** Steps of training behind it; null for a model that came without that knowledge. */
  step: number | null;
  /** Newer checkpoints of the run that were not whole, and why. */
  refused: OpenedModel["refused"];
  /** The token before a text that is given as text; null: none. */
  startToken: number | null;
  /** Tokens that end a text or an answer. */
  stopTokens: number[];
  /** The model's own chat template (Jinja), null where it has none. */
  chatTemplate: string | null;
  /** What a user should know of how the model was read. */
  notes: readonly string[];
  backend: Pick<Backend, "name" | "isa" | "threads">;
  close(): void;
}

/**
 * Opens a checkpoint, a run's folder (its newest whole checkpoint), a model folder from elsewhere, a GGUF or compact file,
 * or a name on the hub.
 *
 * @throws FileError, FormatError, UnsupportedError or UsageError, saying what is wrong where
 */
export async function openEngine(path: string, options: OpenEngineOptions = {}): Promise<OpenedEngine> {
  const { engine: wanted = "auto", packed, pre, overrides } = options;
  if (wanted === "float" && packed && Object.values(packed).some((value) => value !== undefined))
    throw new UsageError(
      "open: options of the packed engine were given, and the float engine asked for; leave out one",
    );
  const backend = await createBackend(options.backend ?? { backend: "auto" });
  try {
    const found = isHubName(path) ? await downloadModel(path, options.hub) : path;
    const kindOf = (config: ModelConfig) =>
      wanted === "auto" ? (runsPacked(config) || packed ? "packed" : "float") : wanted;
    const opened =
      (overrides ? null : await openFileDirectly(found, kindOf, backend, { packed, pre })) ??
      (await openModel(found, kindOf, backend, { packed, pre, overrides }));
    const { engine, free, kind, config, folder, step, refused } = opened;
    const tokenizer = tokenizerOf(opened);
    return {
      ...{ engine, kind, config, tokenizer, folder, step, refused },
      startToken: startTokenOf(step, tokenizer, options.startToken),
      stopTokens: endTokensOf(tokenizer, opened.endTokens ?? folder),
      chatTemplate: opened.chatTemplate === undefined ? readChatTemplate(folder) : opened.chatTemplate,
      notes: opened.notes ?? [],
      backend,
      close() {
        free();
        backend.close();
      },
    };
  } catch (error) {
    backend.close();
    throw error;
  }
}

type Opened = Omit<OpenedModel, "model"> & { engine: Engine; kind: OpenedEngine["kind"]; free(): void };
type KindOf = (config: ModelConfig) => OpenedEngine["kind"];
type How = Pick<OpenEngineOptions, "packed" | "pre" | "overrides">;

/** The packed engine over a GGUF or compact file, without a model in between; null for what else there is. */
async function openFileDirectly(
  path: string,
  kindOf: KindOf,
  backend: Backend,
  { packed, pre }: How,
): Promise<Opened | null> {
  const of = async (
    { file, config }: { file: { close(): void }; config: ModelConfig },
    source: () => WeightSource,
    rest: () => Pick<OpenedModel, "tokenizer" | "step" | "chatTemplate" | "endTokens" | "notes">,
  ): Promise<Opened | null> => {
    try {
      if (kindOf(config) === "float") return null;
      const about = rest();
      const engine = await createPackedEngine(backend, config, source(), packed);
      return { ...about, engine, config, folder: path, refused: [], kind: "packed", free: () => engine.dispose() };
    } finally {
      file.close();
    }
  };
  if (isCompactPath(path)) {
    refusePre(path, pre);
    const opened = openCompactModel(path);
    const { step, chatTemplate } = opened;
    return of(
      opened,
      () => weightsOfCompact(opened),
      () => ({ tokenizer: opened.readTokenizer(), step, chatTemplate }),
    );
  }
  if (isGgufPath(path)) {
    const opened = openGgufModel(path, { pre });
    const { tokenizer, chatTemplate, endTokens, notes } = opened;
    return of(
      opened,
      () => weightsOfGguf(opened),
      () => ({ tokenizer, step: null, chatTemplate, endTokens, notes }),
    );
  }
  return null;
}

/** Whatever path it is: a model is loaded, and packed if that is wanted. */
async function openModel(
  path: string,
  kindOf: KindOf,
  backend: Backend,
  { packed, pre, overrides }: How,
): Promise<Opened> {
  const { model, ...opened } = await loadModel(path, new Runtime(backend), { pre, overrides });
  const kind = kindOf(opened.config);
  if (kind === "packed") {
    const engine = await packModel(model, packed);
    model.dispose();
    return { ...opened, kind, engine, free: () => engine.dispose() };
  }
  const engine = new TransformerEngine(model);
  return {
    ...opened,
    kind,
    engine,
    free() {
      engine.dispose();
      model.dispose();
    },
  };
}

function tokenizerOf({ tokenizer, folder }: Pick<OpenedModel, "tokenizer" | "folder">): Tokenizer {
  if (!tokenizer)
    throw new UsageError(
      `${folder}: has no tokenizer.json; put the tokenizer that the model was trained with beside it`,
    );
  return tokenizer;
}
