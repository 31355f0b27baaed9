/** The engine's errors as HTTP says them. What every server has is in http/errors.ts. */
import { HttpError, toHttpError } from "../http/errors.ts";

/** Names of errors (platform/errors.ts, infer/) that say what is wrong with a request. */
const theirFault = new Set(["UsageError", "DataError", "UnsupportedError", "FormatError"]);

/** Fields of requests, and what the engine calls them in its refusals. */
const fieldNames: Record<string, string> = { max_tokens: "maxTokens", logit_bias: "logitBias" };

/**
 * An error of the engine's as one that can be sent; null: it is none.
 *
 * @param retryAfterSeconds where the queue is full
 */
export function engineHttpError(error: unknown, retryAfterSeconds: number): HttpError | null {
  const { name = "", message = "" } = error as Partial<Error>;
  if (name === "QueueFullError") return new HttpError(503, message, { code: "queue_full", retryAfterSeconds });
  if (name === "EngineGoneError") return new HttpError(503, message, { code: "engine_gone" });
  if (!theirFault.has(name)) return null;
  for (const [field, own] of Object.entries(fieldNames))
    if (new RegExp(`\\b${own}\\b`).test(message))
      return new HttpError(400, message.replace(own, field), { param: field, code: "invalid_value" });
  const tooLong = /the model's context \d+|tokens; at most \d+ are allowed/.test(message);
  return new HttpError(400, message, tooLong ? { code: "context_length_exceeded" } : {});
}

/** Any error amid a stream, where neither the body's limit nor a wait for room can be the reason. */
export const streamHttpError = (error: unknown): HttpError =>
  engineHttpError(error, 1) ?? toHttpError(error, { bodyBytes: 0 });
