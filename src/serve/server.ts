/**
 * The HTTP server over an engine: OpenAI's API, llama.cpp's /tokenize and /health, Prometheus' /metrics, a chat page.
 * Puts Fastify, what stands before the routes and what ends them together; routes.ts has the routes. Called by index.ts.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { randomHex } from "../platform/secrets.ts";
import { type Clock, packageVersion, systemClock } from "../platform/system.ts";
import type { EngineClient } from "./engine-client.ts";
import { HttpError, RequestEnded, toHttpError } from "./errors.ts";
import { Metrics } from "./metrics.ts";
import { addPage, pagePaths } from "./page.ts";
import { addRoutes } from "./routes.ts";
import type { Serving } from "./serving.ts";
import { checkHost, checkKey, corsHeaders, isLoopback, preflightHeaders } from "./security.ts";

export interface ServerOptions {
  /** Default 127.0.0.1: this computer alone. */
  host?: string;
  /** Default 8080; 0: a free one. */
  port?: number;
  /** What the model is called in requests and answers. */
  modelName: string;
  /** Any of these lets in; none (default): everybody. */
  apiKeys?: readonly string[];
  /** Sites whose pages may ask, "*": all; none (default): no others than this server's own. */
  corsOrigins?: readonly string[];
  /** On a loopback address: names that this server answers to besides this computer's own; "*": any. */
  allowedHosts?: readonly string[];
  /** Bytes of a request's body at most; default 1 MiB. */
  bodyBytes?: number;
  /** From a request's arrival to its answer's end; default 600 s. */
  timeoutMs?: number;
  /** That a reader may take nothing while there is something for it; default 60 s. */
  patienceMs?: number;
  /** That answers under way have when the server closes; default 30 s. */
  graceMs?: number;
  /** Connections at once; default 1024. */
  connections?: number;
  /** The chat page at /; default true. */
  page?: boolean;
  /** JSON lines; default none. */
  log?: { level: "debug" | "info" | "warn" | "error"; stream: { write(line: string): void } };
  clock?: Clock;
  /** So many random bytes in hexadecimal: names of answers, and seeds where none is given. */
  randomHex?(bytes: number): string;
}

export interface HttpServer {
  fastify: FastifyInstance;
  metrics: Metrics;
  /** @returns the address, as http://127.0.0.1:8080 */
  listen(): Promise<string>;
  /** Takes nothing more, lets answers under way end for `graceMs`, then ends them. The engine is the caller's to close. */
  close(): Promise<void>;
}

interface Tracked {
  controller: AbortController;
  timer: ReturnType<typeof setTimeout>;
  startedMs: number;
}

export function createServer(engine: EngineClient, options: ServerOptions): HttpServer {
  const {
    host = "127.0.0.1",
    port = 8080,
    apiKeys = [],
    corsOrigins = [],
    allowedHosts = [],
    clock = systemClock,
  } = options;
  const { bodyBytes = 2 ** 20, timeoutMs = 600_000, patienceMs = 60_000, graceMs = 30_000 } = options;
  const random = options.randomHex ?? randomHex;
  const metrics = new Metrics();
  const tracked = new Map<FastifyRequest, Tracked>();
  let closing = false;

  const fastify = Fastify({
    logger: options.log ? { level: options.log.level, stream: options.log.stream } : false,
    // One line of ours for each request, at its end.
    logController: new Fastify.LogController({ disableRequestLogging: true, requestIdLogLabel: "request" }),
    bodyLimit: bodyBytes,
    genReqId: () => `req_${random(12)}`,
    // A request must have come whole by then: slow senders hold no connection for long.
    requestTimeout: 30_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: "idle",
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200 },
  });
  fastify.server.maxConnections = options.connections ?? 1024;
  // Only JSON: a form or plain text is what another site's page could send without being asked.
  fastify.removeContentTypeParser("text/plain");

  const serving: Serving = {
    engine,
    modelName: options.modelName,
    metrics,
    clock,
    randomHex: random,
    get refusal() {
      return { bodyBytes, retryAfterSeconds: Math.min(60, Math.max(1, Math.ceil(metrics.meanTextSeconds ?? 1))) };
    },
    patienceMs,
    // One that is finished with already was left by its asker.
    signalOf: (request) =>
      tracked.get(request)?.controller.signal ?? AbortSignal.abort(new RequestEnded("disconnected")),
    end: (request, cause) => tracked.get(request)?.controller.abort(new RequestEnded(cause)),
    get closing() {
      return closing;
    },
    version: packageVersion().version,
    startedMs: clock.monotonicMs(),
  };

  fastify.addHook("onRequest", async (request, reply) => {
    metrics.inFlight++;
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(new RequestEnded("timeout")), timeoutMs);
    tracked.set(request, { controller, timer, startedMs: clock.monotonicMs() });
    reply.raw.on("close", () => finish(request, reply));
    reply.headers({ "x-request-id": request.id, "x-content-type-options": "nosniff" });
    reply.headers(corsHeaders(request.headers.origin, corsOrigins));
    if (closing) {
      reply.header("connection", "close");
      throw new RequestEnded("shutdown");
    }
    if (isLoopback(host)) checkHost(request.headers.host, allowedHosts);
    const path = request.url.split("?", 1)[0];
    const open =
      path === "/health" || request.method === "OPTIONS" || (options.page !== false && pagePaths.includes(path));
    if (!open) checkKey(request.headers.authorization, apiKeys);
  });

  /** Node counts a connection that has sent nothing yet (browsers keep such ones ready) as busy, so it is closed here. */
  function closeUnused(): void {
    if (tracked.size === 0) fastify.server.closeAllConnections();
    else fastify.server.closeIdleConnections();
  }

  fastify.addHook("onResponse", async (request, reply) => finish(request, reply));

  function finish(request: FastifyRequest, reply: FastifyReply): void {
    const own = tracked.get(request);
    if (!own) return;
    tracked.delete(request);
    clearTimeout(own.timer);
    // A connection kept for another request would keep the server from closing.
    if (closing) setImmediate(closeUnused);
    metrics.inFlight--;
    const ms = clock.monotonicMs() - own.startedMs;
    const { signal } = own.controller;
    if (!reply.raw.writableFinished && !signal.aborted) own.controller.abort(new RequestEnded("disconnected"));
    const early = signal.aborted && signal.reason instanceof RequestEnded ? signal.reason.why : null;
    if (early) metrics.endedEarly(early);
    const route = request.routeOptions.url ?? "unknown";
    metrics.request(route, request.method, reply.statusCode, ms / 1000);
    const facts = { method: request.method, path: request.url.split("?", 1)[0], status: reply.statusCode };
    request.log.info({ ...facts, ms: Math.round(ms), ...(early ? { ended: early } : {}), from: request.ip }, "request");
  }

  fastify.setErrorHandler((error, request, reply) => {
    const known = toHttpError(error, serving.refusal);
    if (known.status === 500) request.log.error({ err: error }, "not foreseen");
    return sendError(reply, known);
  });
  fastify.setNotFoundHandler(async (request) => {
    throw new HttpError(
      404,
      `there is no ${request.method} ${request.url.split("?", 1)[0]} here; GET /v1/models tells that the server works`,
      {
        code: "unknown_url",
      },
    );
  });
  if (corsOrigins.length > 0)
    fastify.options("/*", async (_request, reply) => reply.headers(preflightHeaders).code(204).send());
  addRoutes(fastify, serving);
  if (options.page !== false) addPage(fastify);

  return {
    fastify,
    metrics,
    listen: () => fastify.listen({ host, port }),
    async close() {
      if (closing) return;
      closing = true;
      const timer = setTimeout(() => {
        for (const { controller } of tracked.values()) controller.abort(new RequestEnded("shutdown"));
        // Who does not even take the error is not waited for.
        setTimeout(() => fastify.server.closeAllConnections(), Math.min(1000, graceMs)).unref();
      }, graceMs);
      try {
        const closed = fastify.close();
        setImmediate(closeUnused);
        await closed;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

function sendError(reply: FastifyReply, error: HttpError): FastifyReply {
  const { retryAfterSeconds } = error.details;
  if (retryAfterSeconds !== undefined) reply.header("retry-after", String(retryAfterSeconds));
  if (error.status === 401) reply.header("www-authenticate", "Bearer");
  return reply.code(error.status).type("application/json; charset=utf-8").send(error.body());
}
