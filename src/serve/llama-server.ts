/**
 * What clients of llama.cpp's server ask for beside OpenAI's API: `/completion` with its own fields, defaults and answers, and the
 * facts of `/props` and `/slots`. Shapes as pure functions; routes.ts serves them. Field names and defaults: llama.cpp's
 * tools/server/README.md.
 */
import { z } from "zod";
import { HttpError } from "../http/errors.ts";
import type { GenerationReport } from "../infer/index.ts";
import { nestsDeeper } from "../platform/show.ts";
import type { Reply, Shape } from "./answers.ts";
import type { Answers, ModelFacts, Prompt, TextPiece, TextsRequest } from "./messages.ts";
import { absent, mostNesting, parseRequest, settingsOf, sharedFields } from "./request-fields.ts";

const defaults = { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, repeat_last_n: 64 } as const;

const onlyOne = "expected a text, or a list of token ids; send one prompt a request, or use /v1/completions";
const number = z.number();
const schema = z.strictObject({
  prompt: z.union([z.string(), z.array(z.int().min(0)).min(1)], { error: onlyOne }),
  model: z.string().nullish(),
  stream: z.boolean().nullish(),
  n_predict: z.int().min(-1).nullish(),
  max_tokens: z.int().min(-1).nullish(),
  temperature: number.min(0).nullish(),
  top_k: sharedFields.top_k,
  top_p: sharedFields.top_p,
  min_p: sharedFields.min_p,
  typical_p: sharedFields.typical_p,
  repeat_penalty: sharedFields.repeat_penalty,
  repeat_last_n: sharedFields.repeat_last_n,
  presence_penalty: sharedFields.presence_penalty,
  frequency_penalty: sharedFields.frequency_penalty,
  // -1: a random one.
  seed: z.int().min(-1).nullish(),
  stop: sharedFields.stop,
  ignore_eos: sharedFields.ignore_eos,
  logit_bias: z
    .union([
      z.array(z.tuple([z.int().min(0), number.min(-100).max(100)])),
      z.record(z.string().regex(/^\d{1,9}$/), number),
    ])
    .nullish(),
  grammar: sharedFields.grammar,
  json_schema: z.union([z.boolean(), z.record(z.string(), z.unknown())]).nullish(),
  // The prompt cache is always on, and does not change what is generated.
  cache_prompt: z.boolean().nullish(),
  id_slot: absent("slots cannot be chosen; leave it out", -1),
  n_keep: absent("a full context ends the text here; leave it out", 0, -1),
  n_probs: absent("probabilities are given by /v1/completions with logprobs", 0),
  return_tokens: absent("token ids are given by /tokenize", false),
  mirostat: absent("mirostat is not supported", 0),
  dynatemp_range: absent("dynamic temperature is not supported", 0),
  dry_multiplier: absent("DRY is not supported", 0),
  xtc_probability: absent("XTC is not supported", 0),
  samplers: absent("the order of samplers is fixed; leave it out"),
  lora: absent("LoRA adapters are not supported"),
  image_data: absent("these models read no images"),
  t_max_predict_ms: absent("a time limit is --timeout of the server", 0, -1),
});

export function readLlamaRequest(body: unknown, newSeed: () => number): { request: TextsRequest; reply: Reply } {
  const { prompt, n_predict, max_tokens, json_schema, logit_bias, seed, ...rest } = parseRequest(schema, body);
  const limit = n_predict ?? max_tokens ?? -1;
  if (json_schema != null && typeof rest.grammar === "string")
    throw new HttpError(400, "grammar: give either a grammar or a json_schema", { param: "grammar" });
  if (nestsDeeper(json_schema, mostNesting))
    throw new HttpError(400, `json_schema: nests more than ${mostNesting} deep`, { param: "json_schema" });
  const fields = { ...defaults, ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value != null)) };
  const settings = settingsOf(
    { ...fields, seed: seed === -1 ? null : seed },
    { maxTokens: limit === -1 ? null : limit, logProbabilities: null, newSeed },
  );
  if (json_schema != null) settings.constraint = { schema: json_schema };
  const pairs = Array.isArray(logit_bias) ? logit_bias : Object.entries(logit_bias ?? {});
  settings.logitBias = pairs.map(([id, bias]) => [Number(id), bias]);
  const source: Prompt = typeof prompt === "string" ? { text: prompt } : { tokens: prompt };
  return {
    request: { prompts: [source], copies: 1, settings, echo: false },
    reply: { stream: rest.stream ?? false, includeUsage: false, logProbabilities: false },
  };
}

const stopTypes = { "end-of-text": "eos", grammar: "eos", "stop-string": "word" } as const;

/** The last event of a stream, and the whole answer: why it ended, and how fast it was. */
function ending(model: unknown, index: number, content: string, report: GenerationReport) {
  const { finish, promptTokens, cachedTokens, generatedTokens, stopString } = report;
  const read = promptTokens - cachedTokens;
  const promptMs = report.promptMs ?? 0;
  const generationMs = report.generationMs ?? 0;
  return {
    index,
    content,
    id_slot: -1,
    stop: true,
    model,
    tokens_predicted: generatedTokens,
    tokens_evaluated: promptTokens,
    tokens_cached: cachedTokens,
    truncated: false,
    stop_type: (finish && stopTypes[finish as keyof typeof stopTypes]) ?? "limit",
    stopping_word: stopString ?? "",
    timings: {
      cache_n: cachedTokens,
      prompt_n: read,
      prompt_ms: promptMs,
      prompt_per_token_ms: read > 0 ? promptMs / read : 0,
      prompt_per_second: report.promptTokensPerSecond ?? 0,
      predicted_n: generatedTokens,
      predicted_ms: generationMs,
      predicted_per_token_ms: generatedTokens > 0 ? generationMs / generatedTokens : 0,
      predicted_per_second: report.generationTokensPerSecond ?? 0,
    },
  };
}

const modelOf = (head: (object: string) => Record<string, unknown>) => head("").model;
const joined = (pieces: readonly TextPiece[]) => pieces.map(({ text }) => text).join("");

export const llamaShape: Shape = {
  idPrefix: "cmpl-",
  // llama.cpp's stream ends with the event that has `stop: true`.
  endsWithDone: false,
  whole: (head, _reply, [{ pieces, report }]) => ending(modelOf(head), 0, joined(pieces), report),
  opening: () => null,
  chunk: (_head, _reply, index, piece) => ({ index, content: piece.text, stop: false, id_slot: -1 }),
  closing: (head, _reply, index, report) => ending(modelOf(head), index, "", report),
  usage: () => ({}),
};

/** `/props`. The model's name stands for its path: where files lie is nobody's business. */
export function llamaProps(facts: ModelFacts, modelName: string, version: string, slots: number) {
  return {
    default_generation_settings: {
      n_ctx: facts.contextLength,
      params: {
        ...defaults,
        n_predict: -1,
        typical_p: 1,
        repeat_penalty: 1,
        presence_penalty: 0,
        frequency_penalty: 0,
      },
    },
    total_slots: slots,
    model_alias: modelName,
    model_path: modelName,
    modalities: { vision: false, audio: false },
    chat_template: facts.chatTemplate ?? "",
    bos_token: facts.bosToken ?? "",
    eos_token: facts.eosToken ?? "",
    build_info: `bitnet.ts ${version}`,
  };
}

/** `/slots`: sequences are not tied to slots here, so the first ones are those that are busy. */
export const llamaSlots = ({ slots, active }: Answers["stats"], { contextLength }: ModelFacts) =>
  Array.from({ length: slots }, (_, id) => ({
    id,
    n_ctx: contextLength,
    speculative: false,
    is_processing: id < active,
  }));
