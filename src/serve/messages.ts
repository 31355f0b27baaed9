/**
 * What the HTTP side (engine-client.ts) and the engine's side (engine-host.ts) say to each other, across threads: plain data
 * alone. Texts stream; everything else is a question with one answer.
 */
import type { BackendChoice } from "../backends/index.ts";
import type { ChatMessage, GenerationReport, OpenEngineOptions, SchedulerStats } from "../infer/index.ts";

/** What opens the engine on its own thread. */
export interface HostSetup {
  /** A path or a name on the hub, as openEngine takes it. */
  model: string;
  backend?: BackendChoice;
  engine?: OpenEngineOptions["engine"];
  packed?: OpenEngineOptions["packed"];
  startToken?: OpenEngineOptions["startToken"];
  pre?: OpenEngineOptions["pre"];
  /** In place of the model's own chat template: its Jinja source. */
  chatTemplate?: string;
  limits: HostLimits;
}

export interface HostLimits {
  /** Texts written at once. */
  slots: number;
  /** Texts, and embeddings, that may wait. */
  queue: number;
  /** Most tokens that one text may be asked to have; null: the context. */
  maxTokens: number | null;
  /** Tokens of ended texts kept for prompts that begin alike; null: two contexts. */
  cacheTokens: number | null;
}

/** What is known of the model once it is open. */
export interface ModelFacts {
  /** The folder or file that was read. */
  folder: string;
  kind: "packed" | "float";
  variant: string;
  vocabSize: number;
  contextLength: number;
  width: number;
  layers: number;
  step: number | null;
  tokenizerHash: string;
  hasChatTemplate: boolean;
  /** Its Jinja source. */
  chatTemplate: string | null;
  /** Names of the tokens that begin and end a text. */
  bosToken: string | null;
  eosToken: string | null;
  hasEmbeddings: boolean;
  maxTokens: number;
  backend: { name: string; isa: string | null; threads: number };
  /** Newer checkpoints of the run that were not whole, and why. */
  refused: { path: string; reason: string }[];
}

export type Prompt = { text: string } | { tokens: number[] } | { messages: ChatMessage[] };

/** What may be written: GBNF, or JSON that a schema holds for. */
export type Constraint = { gbnf: string } | { schema: unknown };

export interface TextSettings {
  /** null: as many as the context and the server allow. */
  maxTokens: number | null;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  typicalP: number;
  repeatPenalty: number;
  repeatLastN: number;
  presencePenalty: number;
  frequencyPenalty: number;
  logitBias: [id: number, bias: number][];
  stopStrings: string[];
  /** Of the first text; each further one has the next. */
  seed: number;
  /** Go on past tokens that end a text. */
  ignoreEnd: boolean;
  /** Log-probabilities of each token and of so many likeliest beside it; null: none. */
  logProbabilities: number | null;
  constraint: Constraint | null;
}

/** One request: `copies` texts of each prompt, in the order of the prompts. */
export interface TextsRequest {
  prompts: Prompt[];
  copies: number;
  settings: TextSettings;
  /** Also tell the prompts' text, to be put before the answers; and, with log-probabilities, those of its tokens. */
  echo: boolean;
}

/** A token as answers show it. */
export interface NamedToken {
  id: number;
  /** Its characters; of a token that is a part of one, as bytes:\xe2\x96; of a special token, its name. */
  token: string;
  /** UTF-8; null of a special token. */
  bytes: number[] | null;
  logProbability: number;
}

export interface TextPiece {
  text: string;
  /** Where asked for, and but for the token that ends a text. */
  named?: NamedToken & { alternatives: NamedToken[] };
}

/** A token of an echoed prompt. */
export interface PromptPiece {
  token: string;
  /** Characters of the echoed text before it. */
  offset: number;
  /** null of the first, which nothing stands before. */
  logProbability: number | null;
  alternatives: NamedToken[];
}

/** `prompt` comes once, before a text's first piece, where it was asked for. */
export type TextEvent =
  | { text: number; prompt: PromptPiece[] }
  | { text: number; piece: TextPiece }
  | { text: number; report: GenerationReport };

export type Question =
  | { kind: "tokenize"; text: string; addSpecial: boolean; parseSpecial: boolean; pieces: boolean }
  | { kind: "detokenize"; tokens: number[] }
  | { kind: "embed"; prompts: Prompt[] }
  | { kind: "stats" };

export interface Answers {
  /** The text's tokens; and, where asked for, what each of the different ones stands for. */
  tokenize: { ids: Int32Array; pieces: Map<number, { piece: string; bytes: number[] | null }> };
  detokenize: string;
  /** Mean of the last hidden states over the text's tokens, of length 1; and tokens read. */
  embed: { vectors: Float32Array[]; promptTokens: number };
  stats: SchedulerStats & { slots: number; queue: number; embedding: number; embeddedTexts: number };
}

export type ToHost =
  | { type: "begin"; id: number; request: TextsRequest }
  | { type: "cancel"; id: number }
  /** The reader has taken so many pieces: as many more may come. */
  | { type: "taken"; id: number; pieces: number }
  | { type: "ask"; id: number; question: Question }
  /** Are you there? Answered between passes. */
  | { type: "ping" }
  /** Take nothing more, let what is under way end (or end it), then say `closed`. */
  | { type: "close"; cancel: boolean };

/** An error on its way: its class by name. */
export interface WireError {
  name: string;
  message: string;
}

export type FromHost =
  | { type: "opened"; facts: ModelFacts }
  | { type: "progress"; file: string; doneBytes: number; totalBytes: number }
  | { type: "note"; text: string }
  | { type: "begun"; id: number; promptTokens: number[]; promptTexts: string[] }
  | { type: "event"; id: number; event: TextEvent }
  | { type: "answer"; id: number; value: unknown }
  | { type: "failed"; id: number; error: WireError }
  | { type: "pong" }
  | { type: "closed" };

/** Pieces of one request that may be on their way, not taken by the reader; the rest waits where it was made. */
export const windowPieces = 64;
