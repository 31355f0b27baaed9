/**
 * The server over an engine: OpenAI's API, llama.cpp's /tokenize and /health, Prometheus' /metrics, a chat page. What every
 * server has is in http/server.ts, the routes in routes.ts. Called by index.ts.
 */
import { createWebServer, type WebServer, type WebServerOptions } from "../http/server.ts";
import { randomHex } from "../platform/secrets.ts";
import { packageVersion, systemClock } from "../platform/system.ts";
import type { EngineClient } from "./engine-client.ts";
import { engineHttpError } from "./errors.ts";
import { Metrics } from "./metrics.ts";
import { chatPage } from "./page.ts";
import { addRoutes } from "./routes.ts";

/** `randomHex` gives the names of answers too, and seeds where none is given. */
export interface ServerOptions extends WebServerOptions {
  /** What the model is called in requests and answers. */
  modelName: string;
  /** That a reader may take nothing while there is something for it; default 60 s. */
  patienceMs?: number;
  /** The chat page at /; default true. */
  page?: boolean;
}

export interface HttpServer extends WebServer {
  metrics: Metrics;
}

/** The engine is the caller's to close, after the server. */
export function createServer(engine: EngineClient, options: ServerOptions): HttpServer {
  const { clock = systemClock, modelName, patienceMs = 60_000 } = options;
  const metrics = new Metrics();
  /** After so long a full queue may have room. */
  const retryAfterSeconds = () => Math.min(60, Math.max(1, Math.ceil(metrics.meanTextSeconds ?? 1)));
  const server = createWebServer(
    {
      addRoutes: (fastify, requests) =>
        addRoutes(fastify, {
          ...requests,
          engine,
          modelName,
          metrics,
          clock,
          randomHex: options.randomHex ?? randomHex,
          patienceMs,
          version: packageVersion().version,
          startedMs: clock.monotonicMs(),
        }),
      pages: options.page === false ? [] : chatPage,
      openPaths: ["/health"],
      hint: "GET /v1/models tells that the server works",
      translate: (error) => engineHttpError(error, retryAfterSeconds()),
      onBegin() {
        metrics.inFlight++;
      },
      onEnd({ route, method, status, seconds, early }) {
        metrics.inFlight--;
        if (early) metrics.endedEarly(early);
        metrics.request(route, method, status, seconds);
      },
    },
    { ...options, clock },
  );
  return { ...server, metrics };
}
