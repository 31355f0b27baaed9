/** What the routes (routes.ts) are given by the server (server.ts). */
import type { OpenRequests } from "../http/server.ts";
import type { Clock } from "../platform/clock.ts";
import type { EngineClient } from "./engine-client.ts";
import type { Metrics } from "./metrics.ts";

export interface Serving extends OpenRequests {
  engine: EngineClient;
  modelName: string;
  metrics: Metrics;
  clock: Clock;
  randomHex(bytes: number): string;
  patienceMs: number;
  version: string;
  startedMs: number;
}
