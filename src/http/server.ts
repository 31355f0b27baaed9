/**
 * An HTTP server without a model: what stands before the routes (ids, keys, the host's name, other sites, limits), what
 * follows them (errors, one line of log), and their common end. It puts Fastify and knows nothing of what is served: the
 * routes come in. serve/server.ts stands on it.
 */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { randomHex } from "../platform/secrets.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { HttpError, RequestEnded, toHttpError } from "./errors.ts";
import { addPages, type PageFile } from "./pages.ts";
import { checkHost, checkKey, corsHeaders, isLoopback, preflightHeaders } from "./security.ts";

export interface WebServerOptions {
  /** Default 127.0.0.1: this computer alone. */
  host?: string;
  /** Default 8080; 0: a free one. */
  port?: number;
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
  /** That answers under way have when the server closes; default 30 s. */
  graceMs?: number;
  /** Connections at once; default 1024. */
  connections?: number;
  /** JSON lines; default none. */
  log?: { level: "debug" | "info" | "warn" | "error"; stream: { write(line: string): void } };
  clock?: Clock;
  /** So many random bytes in hexadecimal: names of requests. */
  randomHex?(bytes: number): string;
}

/** What is served. */
export interface Site {
  addRoutes(server: FastifyInstance, requests: OpenRequests): void;
  /** Static pages; they need no key. */
  pages?: readonly PageFile[];
  /** Further addresses that need none. */
  openPaths?: readonly string[];
  /** An address that works, to name where one is unknown. */
  hint?: string;
  /** An error of what is served, as HTTP says it; null: it is none. */
  translate?(error: unknown): HttpError | null;
  onBegin?(): void;
  onEnd?(ended: EndedRequest): void;
}

/** Requests under way, as routes see them. */
export interface OpenRequests {
  /** Aborted when the request need not be answered any more; the reason is a RequestEnded. */
  signalOf(request: FastifyRequest): AbortSignal;
  /** Ends a request early. */
  end(request: FastifyRequest, cause: RequestEnded["why"]): void;
}

export interface EndedRequest {
  /** As the route was declared; "unknown" for none. */
  route: string;
  method: string;
  status: number;
  seconds: number;
  /** Null for one that was answered whole. */
  early: RequestEnded["why"] | null;
}

export interface WebServer {
  fastify: FastifyInstance;
  /** @returns the address, as http://127.0.0.1:8080 */
  listen(): Promise<string>;
  /** Takes nothing more, lets answers under way end for `graceMs`, then ends them. */
  close(): Promise<void>;
}

interface Tracked {
  controller: AbortController;
  timer: ReturnType<typeof setTimeout>;
  startedMs: number;
}

const pathOf = (request: FastifyRequest) => request.url.split("?", 1)[0];

export function createWebServer(site: Site, options: WebServerOptions = {}): WebServer {
  const { host = "127.0.0.1", port = 8080, apiKeys = [], corsOrigins = [], allowedHosts = [] } = options;
  const { bodyBytes = 2 ** 20, timeoutMs = 600_000, graceMs = 30_000, clock = systemClock } = options;
  const random = options.randomHex ?? randomHex;
  const openPaths = new Set([...(site.openPaths ?? []), ...(site.pages ?? []).map(({ path }) => path)]);
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

  fastify.addHook("onRequest", async (request, reply) => {
    site.onBegin?.();
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
    if (request.method !== "OPTIONS" && !openPaths.has(pathOf(request)))
      checkKey(request.headers.authorization, apiKeys);
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
    const ms = clock.monotonicMs() - own.startedMs;
    const { signal } = own.controller;
    if (!reply.raw.writableFinished && !signal.aborted) own.controller.abort(new RequestEnded("disconnected"));
    const early = signal.aborted && signal.reason instanceof RequestEnded ? signal.reason.why : null;
    const { method } = request;
    const status = reply.statusCode;
    site.onEnd?.({ route: request.routeOptions.url ?? "unknown", method, status, seconds: ms / 1000, early });
    const facts = { method, path: pathOf(request), status, ms: Math.round(ms) };
    request.log.info({ ...facts, ...(early ? { ended: early } : {}), from: request.ip }, "request");
  }

  fastify.setErrorHandler((error, request, reply) => {
    const known = site.translate?.(error) ?? toHttpError(error, { bodyBytes });
    if (known.status === 500) request.log.error({ err: error }, "not foreseen");
    return sendError(reply, known);
  });
  fastify.setNotFoundHandler(async (request) => {
    const hint = site.hint === undefined ? "" : `; ${site.hint}`;
    throw new HttpError(404, `there is no ${request.method} ${pathOf(request)} here${hint}`, { code: "unknown_url" });
  });
  if (corsOrigins.length > 0)
    fastify.options("/*", async (_request, reply) => reply.headers(preflightHeaders).code(204).send());
  site.addRoutes(fastify, {
    // One that is finished with already was left by its asker.
    signalOf: (request) =>
      tracked.get(request)?.controller.signal ?? AbortSignal.abort(new RequestEnded("disconnected")),
    end: (request, cause) => tracked.get(request)?.controller.abort(new RequestEnded(cause)),
  });
  addPages(fastify, site.pages ?? []);

  return {
    fastify,
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
