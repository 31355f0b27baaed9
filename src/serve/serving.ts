/** What the routes (routes.ts) are given by the server (server.ts). */
import type { FastifyRequest } from "fastify";
import type { Clock } from "../platform/system.ts";
import type { EngineClient } from "./engine-client.ts";
import type { RequestEnded } from "./errors.ts";
import type { Metrics } from "./metrics.ts";

export interface Serving {
  engine: EngineClient;
  modelName: string;
  metrics: Metrics;
  clock: Clock;
  randomHex(bytes: number): string;
  /** Bytes of a body at most, and seconds after which a full queue may have room. */
  readonly refusal: { bodyBytes: number; retryAfterSeconds: number };
  patienceMs: number;
  /** Aborted when the request need not be answered any more; the reason is a RequestEnded. */
  signalOf(request: FastifyRequest): AbortSignal;
  /** Ends a request early. */
  end(request: FastifyRequest, cause: RequestEnded["why"]): void;
  /** Closing: no more is taken. */
  readonly closing: boolean;
  version: string;
  startedMs: number;
}
