/**
 * What goes wrong over HTTP, in the shape of OpenAI's API: {"error": {message, type, param, code}} and a status. Errors of
 * what is served (an engine, a run) are translated by whoever serves it, before `toHttpError` sees them.
 */

export type ErrorType = "invalid_request_error" | "authentication_error" | "server_error" | "timeout_error";

export class HttpError extends Error {
  override name = "HttpError";
  constructor(
    readonly status: number,
    message: string,
    readonly details: {
      type?: ErrorType;
      param?: string | null;
      code?: string | null;
      retryAfterSeconds?: number;
    } = {},
  ) {
    super(message);
  }

  get type(): ErrorType {
    return this.details.type ?? (this.status >= 500 ? "server_error" : "invalid_request_error");
  }

  body(): { error: { message: string; type: ErrorType; param: string | null; code: string | null } } {
    const { param = null, code = null } = this.details;
    return { error: { message: this.message, type: this.type, param, code } };
  }
}

/** Why a request was ended before its answer. */
export class RequestEnded extends Error {
  override name = "RequestEnded";
  constructor(readonly why: "disconnected" | "timeout" | "stalled" | "shutdown") {
    super(`the request was ended: ${why}`);
  }
}

/** Fastify's own, whose messages are for programmers of servers. */
const ofFastify: Record<string, (limits: { bodyBytes: number }) => HttpError> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ({ bodyBytes }) =>
    new HttpError(413, `the body is larger than the ${bodyBytes} bytes that this server takes`, {
      code: "body_too_large",
    }),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new HttpError(415, "send JSON, with the header content-type: application/json", { code: "unsupported_media_type" }),
  FST_ERR_CTP_EMPTY_JSON_BODY: () => new HttpError(400, "the body is empty; expected a JSON object"),
  FST_ERR_CTP_INVALID_JSON_BODY: () => new HttpError(400, "the body is not valid JSON", { code: "invalid_json" }),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () =>
    new HttpError(400, "the body is not as long as its content-length says; was it cut short?"),
};

/** Any error as one that can be sent. What we did not foresee keeps its message for the log. */
export function toHttpError(error: unknown, limits: { bodyBytes: number }): HttpError {
  if (error instanceof HttpError) return error;
  const { message = "", code = "", statusCode } = error as Partial<Error & { code: string; statusCode: number }>;
  if (Object.hasOwn(ofFastify, code)) return ofFastify[code](limits);
  if (error instanceof RequestEnded) {
    if (error.why === "timeout")
      return new HttpError(504, "the answer took longer than this server allows", {
        type: "timeout_error",
        code: "timeout",
      });
    return new HttpError(503, "the server is shutting down", { code: "shutting_down", retryAfterSeconds: 1 });
  }
  // Malformed requests that Fastify or Node refuse.
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new HttpError(statusCode, message);
  return new HttpError(500, "something went wrong in the server; its log says what");
}
