/**
 * What the server counts, as Prometheus' text (exposition format 0.0.4): HTTP requests, tokens, times, the engine's state.
 * Pure bookkeeping: the clock's readings come in.
 */
import type { RequestEnded } from "../http/errors.ts";
import type { GenerationReport } from "../infer/index.ts";
import type { Answers } from "./messages.ts";

type Labels = Record<string, string | number>;

/** Seconds; from an answer that is there at once to the longest that is allowed by default. */
const buckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

class Histogram {
  private readonly counts = buckets.map(() => 0);
  private sum = 0;
  count = 0;

  observe(seconds: number): void {
    this.sum += seconds;
    this.count++;
    for (const [i, most] of buckets.entries()) if (seconds <= most) this.counts[i]++;
  }

  get mean(): number | null {
    return this.count > 0 ? this.sum / this.count : null;
  }

  lines(name: string, labels: Labels = {}): string[] {
    return [
      ...buckets.map((most, i) => line(`${name}_bucket`, { ...labels, le: most }, this.counts[i])),
      line(`${name}_bucket`, { ...labels, le: "+Inf" }, this.count),
      line(`${name}_sum`, labels, this.sum),
      line(`${name}_count`, labels, this.count),
    ];
  }
}

const escaped = (text: string) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([key, of]) => `${key}="${escaped(String(of))}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

export class Metrics {
  inFlight = 0;
  /** Requests by route, method and status. */
  private readonly requests = new Map<string, { labels: Labels; count: number }>();
  private readonly ended: Record<RequestEnded["why"], number> = {
    disconnected: 0,
    timeout: 0,
    stalled: 0,
    shutdown: 0,
  };
  private readonly requestSeconds = new Histogram();
  private readonly firstTokenSeconds = new Histogram();
  private readonly textSeconds = new Histogram();
  private readonly tokenSeconds = new Histogram();

  request(route: string, method: string, status: number, seconds: number): void {
    const key = `${method} ${route} ${status}`;
    const entry = this.requests.get(key) ?? { labels: { method, route, status }, count: 0 };
    entry.count++;
    this.requests.set(key, entry);
    this.requestSeconds.observe(seconds);
  }

  /** Of one request: until its first text. */
  firstToken(seconds: number): void {
    this.firstTokenSeconds.observe(seconds);
  }

  text({ promptMs, generationMs, generatedTokens }: GenerationReport): void {
    if (promptMs === null) return;
    this.textSeconds.observe((promptMs + (generationMs ?? 0)) / 1000);
    if (generationMs !== null && generatedTokens > 1)
      this.tokenSeconds.observe(generationMs / 1000 / (generatedTokens - 1));
  }

  endedEarly(cause: RequestEnded["why"]): void {
    this.ended[cause]++;
  }

  /** How long a text holds its slot on the average; null before the first. */
  get meanTextSeconds(): number | null {
    return this.textSeconds.mean;
  }

  /** @param residentBytes of this process. @param stats null where the engine is gone */
  render(
    stats: Answers["stats"] | null,
    facts: { model: string; version: string; residentBytes: number; upSeconds: number },
  ): string {
    const lines: string[] = [];
    const family = (name: string, type: "counter" | "gauge" | "histogram", help: string, own: string[]) => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...own);
    };
    const one = (name: string, type: "counter" | "gauge", help: string, value: number) =>
      family(name, type, help, [line(name, {}, value)]);
    family("bitnet_build_info", "gauge", "Version and model.", [
      line("bitnet_build_info", { version: facts.version, model: facts.model }, 1),
    ]);
    family(
      "bitnet_http_requests_total",
      "counter",
      "Requests answered.",
      [...this.requests.values()].map(({ labels, count }) => line("bitnet_http_requests_total", labels, count)),
    );
    one("bitnet_http_requests_in_flight", "gauge", "Requests that are being answered.", this.inFlight);
    family(
      "bitnet_requests_ended_early_total",
      "counter",
      "Requests ended before their answer was.",
      Object.entries(this.ended).map(([cause, n]) => line("bitnet_requests_ended_early_total", { cause }, n)),
    );
    const histogram = (name: string, help: string, of: Histogram) => family(name, "histogram", help, of.lines(name));
    histogram(
      "bitnet_http_request_duration_seconds",
      "From a request's arrival to its answer's end.",
      this.requestSeconds,
    );
    histogram(
      "bitnet_time_to_first_token_seconds",
      "From a request's arrival to its first text.",
      this.firstTokenSeconds,
    );
    histogram("bitnet_text_duration_seconds", "From a text's slot to its end.", this.textSeconds);
    histogram(
      "bitnet_time_per_token_seconds",
      "Of a text's tokens after the first, on the average.",
      this.tokenSeconds,
    );
    one("bitnet_engine_up", "gauge", "1 where the engine lives.", stats ? 1 : 0);
    if (stats) {
      one("bitnet_slots", "gauge", "Texts that may be written at once.", stats.slots);
      one("bitnet_slots_active", "gauge", "Texts that are being written.", stats.active);
      one("bitnet_queue_size", "gauge", "Texts that may wait.", stats.queue);
      one("bitnet_queue_waiting", "gauge", "Texts that wait for a slot.", stats.waiting);
      one("bitnet_texts_submitted_total", "counter", "Texts begun or queued.", stats.submitted);
      one("bitnet_texts_finished_total", "counter", "Texts that ended.", stats.finished);
      one("bitnet_texts_refused_total", "counter", "Texts refused: slots and queue were full.", stats.refused);
      one("bitnet_prompt_tokens_total", "counter", "Tokens of prompts.", stats.promptTokens);
      one("bitnet_cached_prompt_tokens_total", "counter", "Of these, not read again.", stats.cachedPromptTokens);
      one("bitnet_generated_tokens_total", "counter", "Tokens written.", stats.generatedTokens);
      one("bitnet_engine_passes_total", "counter", "Passes over the weights for texts.", stats.passes);
      one("bitnet_prompt_cache_tokens", "gauge", "Tokens of ended texts that are kept.", stats.cacheTokens);
      one("bitnet_embeddings_active", "gauge", "Requests for embeddings under way.", stats.embedding);
      one("bitnet_embedded_texts_total", "counter", "Texts embedded.", stats.embeddedTexts);
    }
    one("process_resident_memory_bytes", "gauge", "Memory that the process holds.", facts.residentBytes);
    one("bitnet_uptime_seconds", "gauge", "Since the server began.", facts.upSeconds);
    return `${lines.join("\n")}\n`;
  }
}
