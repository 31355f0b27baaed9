/**
 * The HTTP side's hold on the engine: begins texts, reads what comes, gives back credit, asks questions. The engine itself
 * lives behind messages (engine-host.ts), on its own thread. Called by server.ts and the routes.
 */
import { type ServiceModule, type ServiceWorker, startService } from "../platform/service-worker.ts";
import { systemClock } from "../platform/system.ts";
import {
  type Answers,
  type FromHost,
  type HostSetup,
  type ModelFacts,
  type Question,
  type TextEvent,
  type TextsRequest,
  type ToHost,
  type WireError,
  windowPieces,
} from "./messages.ts";

/** An error of the engine's side, its class by name: "QueueFullError", "DataError" ... */
export class EngineError extends Error {
  constructor({ name, message }: WireError) {
    super(message);
    this.name = name;
  }
}

export interface RunningTexts {
  /** Of each prompt, the start token included. */
  promptTokens: number[];
  /** Where an echo was asked for. */
  promptTexts: string[];
  /** What comes, of all texts as it comes; ends when all have. Reading gives the engine leave to send more. Once. */
  events: AsyncIterable<TextEvent>;
}

interface Waiting {
  begun?(message: Extract<FromHost, { type: "begun" }>): void;
  event?(event: TextEvent): void;
  answer?(value: unknown): void;
  failed(error: Error): void;
}

export interface EngineClientOptions {
  /** False: no thread; the engine shares this one (tests, embedding). Default true. */
  thread?: boolean;
  /**
   * An engine on a thread of its own that says nothing for so long is stuck: it is ended and opened anew. 0: never. Must be
   * longer than the longest pass; default 60 s.
   */
  stuckMs?: number;
  onNote?(text: string): void;
  onProgress?(progress: { file: string; doneBytes: number; totalBytes: number }): void;
}

/** Of the time to being stuck: how often is asked, and from when on `/health` says that something is wrong. */
const pingShare = 1 / 8;
const doubtShare = 1 / 2;
/** An engine that is stuck again and again is broken: so many times in an hour it is opened anew. */
const maxRestarts = 8;
const restartWindowMs = 3_600_000;

export class EngineClient {
  facts!: ModelFacts;
  /** Rejects with why the engine's thread ended by itself; else never settles. */
  readonly failure: Promise<never>;
  /** The engine is gone. */
  gone: Error | null = null;
  private worker!: ServiceWorker<ToHost>;
  private nextId = 1;
  private readonly waiting = new Map<number, Waiting>();
  private reject!: (error: Error) => void;
  private closed!: () => void;
  private opened!: () => void;
  private heardMs = 0;
  private watch: ReturnType<typeof setInterval> | null = null;
  /** When the engine was found stuck. */
  private restarts: number[] = [];
  private restarting = false;
  private readonly stuckMs: number;
  private readonly whenClosed = new Promise<void>((resolve) => {
    this.closed = resolve;
  });

  private constructor(
    private readonly start: (onMessage: (message: FromHost) => void) => Promise<ServiceWorker<ToHost>>,
    private readonly options: EngineClientOptions,
  ) {
    // In this thread an engine that is stuck holds up this watch too.
    this.stuckMs = options.thread === false ? 0 : (options.stuckMs ?? 60_000);
    this.failure = new Promise((_, reject) => {
      this.reject = reject;
    });
    this.failure.catch(() => {});
  }

  /** Opens the model. @throws as openEngine */
  static async open<Setup = HostSetup>(
    module: ServiceModule<Setup, ToHost, FromHost>,
    setup: Setup,
    options: EngineClientOptions = {},
  ): Promise<EngineClient> {
    const client: EngineClient = new EngineClient(
      (onMessage) =>
        startService(module, setup, {
          thread: options.thread ?? true,
          onMessage,
          onEnd: (error) => client.end(error),
        }),
      options,
    );
    await client.openWorker();
    return client;
  }

  private async openWorker(): Promise<void> {
    const isOpen = new Promise<void>((resolve) => {
      this.opened = resolve;
    });
    this.worker = await this.start((message) => this.hear(message));
    await isOpen;
    if (this.stuckMs === 0) return;
    this.heardMs = systemClock.monotonicMs();
    this.watch = setInterval(() => this.look(), this.stuckMs * pingShare);
    this.watch.unref();
  }

  private hear(message: FromHost): void {
    this.heardMs = systemClock.monotonicMs();
    if (message.type === "opened") {
      this.facts = message.facts;
      this.opened();
    } else if (message.type === "note") this.options.onNote?.(message.text);
    else if (message.type === "progress") this.options.onProgress?.(message);
    else this.receive(message);
  }

  private get silentMs(): number {
    return this.watch === null ? 0 : systemClock.monotonicMs() - this.heardMs;
  }

  private look(): void {
    if (this.silentMs > this.stuckMs) void this.restart();
    else this.worker.post({ type: "ping" });
  }

  /** Ends an engine that is stuck, and opens the model anew. Texts under way are lost. */
  private async restart(): Promise<void> {
    if (this.watch) clearInterval(this.watch);
    this.watch = null;
    this.restarting = true;
    const seconds = Math.round(this.stuckMs / 1000);
    const error = new EngineError({
      name: "EngineStuckError",
      message: `the engine did not answer for ${seconds} s; it is being opened anew, try again later`,
    });
    for (const waiting of this.waiting.values()) waiting.failed(error);
    this.waiting.clear();
    this.options.onNote?.(`the engine did not answer for ${seconds} s; opening the model anew`);
    const nowMs = systemClock.monotonicMs();
    this.restarts = [...this.restarts.filter((ms) => nowMs - ms < restartWindowMs), nowMs];
    try {
      await this.worker.terminate();
      if (this.gone) return;
      if (this.restarts.length > maxRestarts) throw new Error(`it was stuck ${this.restarts.length} times in an hour`);
      await this.openWorker();
    } catch (cause) {
      this.end(cause as Error);
    } finally {
      this.restarting = false;
    }
  }

  /** @throws EngineError where the engine is gone, being opened anew, or has not been heard of for long */
  check(): void {
    if (this.gone) throw this.gone;
    const silent = this.silentMs > this.stuckMs * doubtShare ? Math.round(this.silentMs / 1000) : null;
    if (!this.restarting && silent === null) return;
    const message = this.restarting
      ? "the engine is being opened anew; try again later"
      : `the engine has not answered for ${silent} s`;
    throw new EngineError({ name: "EngineStuckError", message });
  }

  /** Texts begun and not ended, and questions not answered. */
  get pending(): number {
    return this.waiting.size;
  }

  /**
   * Begins texts; resolves once they have a slot or a place in the queue.
   *
   * @param signal ends them: their slots are free at once
   * @throws EngineError of the engine's refusal; the signal's reason
   */
  async begin(request: TextsRequest, signal: AbortSignal): Promise<RunningTexts> {
    const queue = new EventQueue();
    const { id, promise } = this.send<Extract<FromHost, { type: "begun" }>>(
      (id) => ({ type: "begin", id, request }),
      (settle) => ({
        begun: settle.resolve,
        event: (event) => queue.push(event),
        failed: (error) => {
          settle.reject(error);
          queue.fail(error);
        },
      }),
      signal,
      (reason) => queue.fail(reason),
    );
    const { promptTokens, promptTexts } = await promise;
    const count = request.prompts.length * request.copies;
    return { promptTokens, promptTexts, events: this.read(id, queue, count) };
  }

  /** @throws EngineError, the signal's reason */
  async ask<K extends Question["kind"]>(
    question: Extract<Question, { kind: K }>,
    signal?: AbortSignal,
  ): Promise<Answers[K]> {
    const { id, promise } = this.send<Answers[K]>(
      (id) => ({ type: "ask", id, question }),
      (settle) => ({ answer: (value) => settle.resolve(value as Answers[K]), failed: settle.reject }),
      signal,
    );
    return promise.finally(() => this.waiting.delete(id));
  }

  /**
   * Lets what is under way end, or ends it; then the engine is closed and its thread ended.
   *
   * @param withinMs an engine that has not closed by then is ended as it is; default: as long as it takes
   */
  async close({ cancel = false, withinMs }: { cancel?: boolean; withinMs?: number } = {}): Promise<void> {
    if (this.watch) clearInterval(this.watch);
    this.watch = null;
    if (!this.gone && !this.restarting) {
      this.worker.post({ type: "close", cancel });
      const ends: Promise<unknown>[] = [this.whenClosed, this.failure.catch(() => {})];
      if (withinMs !== undefined) ends.push(new Promise((resolve) => setTimeout(resolve, withinMs).unref()));
      await Promise.race(ends);
    }
    this.failAll("the engine is closed");
    await this.worker.terminate();
  }

  private send<T>(
    message: (id: number) => ToHost,
    waiting: (settle: { resolve(value: T): void; reject(error: Error): void }) => Waiting,
    signal?: AbortSignal,
    onAbort: (reason: unknown) => void = () => {},
  ): { id: number; promise: Promise<T> } {
    const id = this.nextId++;
    const promise = new Promise<T>((resolve, reject) => {
      if (this.gone) return reject(this.gone);
      if (this.restarting)
        return reject(
          new EngineError({
            name: "EngineStuckError",
            message: "the engine is being opened anew; try again later",
          }),
        );
      if (signal?.aborted) return reject(signal.reason);
      const cancel = () => {
        if (!this.waiting.delete(id)) return;
        if (!this.gone && !this.restarting) this.worker.post({ type: "cancel", id });
        reject(signal!.reason);
        onAbort(signal!.reason);
      };
      signal?.addEventListener("abort", cancel, { once: true });
      this.waiting.set(id, waiting({ resolve, reject }));
      this.worker.post(message(id));
    });
    return { id, promise };
  }

  private async *read(id: number, queue: EventQueue, count: number): AsyncGenerator<TextEvent> {
    let left = count;
    let taken = 0;
    try {
      while (left > 0) {
        const event = await queue.next();
        yield event;
        if ("report" in event) left--;
        // Credit goes back when the reader has come for the next, half a window at a time.
        else if ("piece" in event && ++taken >= windowPieces / 2) {
          if (!this.gone && !this.restarting) this.worker.post({ type: "taken", id, pieces: taken });
          taken = 0;
        }
      }
    } finally {
      // A reader that leaves early ends the texts.
      if (this.waiting.delete(id) && left > 0 && !this.gone && !this.restarting)
        this.worker.post({ type: "cancel", id });
    }
  }

  private receive(message: FromHost): void {
    if (message.type === "closed") this.closed();
    if (!("id" in message)) return;
    const waiting = this.waiting.get(message.id);
    if (!waiting) return; // cancelled meanwhile
    if (message.type === "begun") waiting.begun?.(message);
    else if (message.type === "event") waiting.event?.(message.event);
    else if (message.type === "answer") waiting.answer?.(message.value);
    else if (message.type === "failed") {
      this.waiting.delete(message.id);
      waiting.failed(new EngineError(message.error));
    }
  }

  private end(error: Error): void {
    this.reject(this.failAll(`the engine has ended: ${error.message}`));
  }

  private failAll(message: string): Error {
    this.gone ??= new EngineError({ name: "EngineGoneError", message });
    for (const waiting of this.waiting.values()) waiting.failed(this.gone);
    this.waiting.clear();
    return this.gone;
  }
}

/** Events that came and were not read; at most a window of them, and each text's end. */
class EventQueue {
  private readonly events: TextEvent[] = [];
  private error: { reason: unknown } | null = null;
  private wake: (() => void) | null = null;

  push(event: TextEvent): void {
    this.events.push(event);
    this.notify();
  }

  fail(reason: unknown): void {
    this.error ??= { reason };
    this.notify();
  }

  /** @throws what failed, at once: what came before is not wanted any more */
  async next(): Promise<TextEvent> {
    while (!this.error && this.events.length === 0)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    if (this.error) throw this.error.reason;
    return this.events.shift()!;
  }

  private notify(): void {
    this.wake?.();
    this.wake = null;
  }
}
