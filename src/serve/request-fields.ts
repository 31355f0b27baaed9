/**
 * What requests of OpenAI's API may hold, checked by zod: fields that completions and chat share, and how they become
 * settings of the engine. Fields of the API that this server has not are refused by name, unless they ask for nothing;
 * unknown ones always: nothing is read and ignored but names for the asker's own books (`user`, `metadata` ...).
 */
import { z } from "zod";
import { HttpError } from "../http/errors.ts";
import { anyObject } from "../infer/index.ts";
import { nestsDeeper } from "../platform/show.ts";
import type { Constraint, TextSettings } from "./messages.ts";

/** Texts of one request, of each prompt: OpenAI's most. */
const mostCopies = 128;
/** OpenAI takes 4; a bound is needed, since each is looked for in each text. */
const mostStops = 16;

/** Lists and objects in each other in a schema. OpenAI takes 10. */
export const mostNesting = 200;

/** As in OpenAI's API, null is as good as nothing. */
const optional = <T extends z.ZodType>(type: T) => type.nullish();

/** Fields of both, with OpenAI's meanings; those behind the empty line are llama.cpp's. */
export const sharedFields = {
  model: optional(z.string()),
  stream: optional(z.boolean()),
  stream_options: optional(
    z.strictObject({ include_usage: optional(z.boolean()), include_obfuscation: optional(z.literal(false)) }),
  ),
  max_tokens: optional(z.int().min(0)),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().min(0).max(1)),
  n: optional(z.int().min(1).max(mostCopies)),
  stop: optional(z.union([z.string().min(1), z.array(z.string().min(1)).max(mostStops)])),
  seed: optional(z.int()),
  presence_penalty: optional(z.number().min(-2).max(2)),
  frequency_penalty: optional(z.number().min(-2).max(2)),
  logit_bias: optional(
    z.record(z.string().regex(/^\d{1,9}$/, "expected token ids as keys"), z.number().min(-100).max(100)),
  ),
  response_format: optional(
    z.discriminatedUnion("type", [
      z.strictObject({ type: z.literal("text") }),
      z.strictObject({ type: z.literal("json_object") }),
      z.strictObject({
        type: z.literal("json_schema"),
        json_schema: z.strictObject({
          name: z.string(),
          description: optional(z.string()),
          schema: optional(z.union([z.boolean(), z.record(z.string(), z.unknown())])),
          strict: optional(z.boolean()),
        }),
      }),
    ]),
  ),
  // For the asker's own books: they ask nothing of the answer.
  user: optional(z.string()),
  metadata: optional(z.record(z.string(), z.string())),
  safety_identifier: optional(z.string()),
  prompt_cache_key: optional(z.string()),
  store: optional(z.literal(false, "this server stores nothing; leave it out")),
  service_tier: optional(z.enum(["auto", "default"])),

  top_k: optional(z.int().min(0)),
  min_p: optional(z.number().min(0).max(1)),
  typical_p: optional(z.number().min(0).max(1)),
  repeat_penalty: optional(z.number().gt(0)),
  repeat_last_n: optional(z.int().min(-1)),
  ignore_eos: optional(z.boolean()),
  grammar: optional(z.string()),
};

/** A field of the API that this server has not: taken where it asks for nothing, else refused with the reason. */
export const absent = (reason: string, ...harmless: readonly unknown[]) =>
  z
    .unknown()
    .refine(
      (value) =>
        value === undefined ||
        value === null ||
        (Array.isArray(value) && value.length === 0) ||
        harmless.includes(value),
      { message: reason },
    )
    .optional();

export type SharedFields = { [K in keyof typeof sharedFields]?: z.output<(typeof sharedFields)[K]> };

/** @throws HttpError 400 naming the field, what was wanted and what came */
export function parseRequest<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new HttpError(
      400,
      `the body is ${body === null || body === undefined ? "empty" : "no object"}; expected a JSON object`,
    );
  // zod passes over a key of this name, which would then be ignored.
  if (Object.hasOwn(body, "__proto__"))
    throw new HttpError(400, 'unknown field "__proto__"; this server does not know what it asks for', {
      param: "__proto__",
      code: "unknown_parameter",
    });
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue.code === "unrecognized_keys") {
    const where = issue.path.length > 0 ? `${issue.path.join(".")}: ` : "";
    const names = issue.keys.map((key) => JSON.stringify(key)).join(", ");
    throw new HttpError(400, `${where}unknown field ${names}; this server does not know what it asks for`, {
      param: [...issue.path, issue.keys[0]].join("."),
      code: "unknown_parameter",
    });
  }
  const param = issue.path.join(".") || null;
  throw new HttpError(400, param ? `${param}: ${issue.message}` : issue.message, { param, code: "invalid_value" });
}

export const tools = absent(
  "tools are not supported: this server's models were not trained to call them. Ask for JSON with response_format instead",
  "none",
  false,
);

/** OpenAI's: without settings the model's own distribution. */
export function settingsOf(
  fields: SharedFields,
  rest: Pick<TextSettings, "maxTokens" | "logProbabilities"> & { newSeed(): number },
): TextSettings {
  return {
    maxTokens: rest.maxTokens,
    temperature: fields.temperature ?? 1,
    topP: fields.top_p ?? 1,
    topK: fields.top_k ?? 0,
    minP: fields.min_p ?? 0,
    typicalP: fields.typical_p ?? 1,
    repeatPenalty: fields.repeat_penalty ?? 1,
    // "The text so far", in OpenAI's words: prompt and answer.
    repeatLastN: fields.repeat_last_n ?? -1,
    presencePenalty: fields.presence_penalty ?? 0,
    frequencyPenalty: fields.frequency_penalty ?? 0,
    logitBias: Object.entries(fields.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias]),
    stopStrings: typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []),
    seed: fields.seed ?? rest.newSeed(),
    ignoreEnd: fields.ignore_eos ?? false,
    logProbabilities: rest.logProbabilities,
    constraint: constraintOf(fields),
  };
}

function constraintOf({ response_format: format, grammar }: SharedFields): Constraint | null {
  if (typeof grammar === "string") {
    if (format && format.type !== "text")
      throw new HttpError(400, "grammar: give either a grammar or a response_format", { param: "grammar" });
    return { gbnf: grammar };
  }
  if (!format || format.type === "text") return null;
  if (format.type === "json_object") return { schema: anyObject };
  // It crosses to the engine's thread by structured clone, which has a stack.
  if (nestsDeeper(format.json_schema.schema, mostNesting))
    throw new HttpError(400, `response_format.json_schema.schema: nests more than ${mostNesting} deep`, {
      param: "response_format.json_schema.schema",
      code: "invalid_value",
    });
  return { schema: format.json_schema.schema ?? anyObject };
}
