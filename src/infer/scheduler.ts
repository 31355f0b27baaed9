/**
 * Many texts as one batch (continuous batching: Yu et al., Orca, OSDI 2022): texts join and leave between passes, every
 * pass moves all of them on by a token, and prompts are read in pieces beside it, so that none waits long. What the server
 * runs on. One text alone is generate.ts; both make tokens in slot.ts, so a text is the same whatever runs beside it (to
 * the last bits of the engine's sums).
 */

import type { Clock } from "../platform/clock.ts";
import { UsageError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Engine } from "./engine.ts";
import type { Generation } from "./generate.ts";
import { PromptCache } from "./prompt-cache.ts";
import { Slot } from "./slot.ts";
import {
  type GeneratedToken,
  type GenerateOptions,
  type GenerationReport,
  type TextTokenizer,
  Writer,
} from "./writer.ts";

/** There is no place in the queue: try later. (A server answers 503.) */
export class QueueFullError extends Error {
  override name = "QueueFullError";
}

export interface SchedulerOptions {
  /** Texts under way at once; default 4. */
  slots?: number;
  /** Texts that may wait for a slot, in order; past these `submit` refuses. Default 64. */
  queue?: number;
  /** Prompt tokens in one pass where no text is being written, shared by the prompts being read; default 512. */
  prefillTokens?: number;
  /** The same where texts are being written, which wait for it; default 64. */
  prefillBesideTokens?: number;
  /** Tokens of texts that are done, kept for prompts that begin alike; default two contexts, 0: none. */
  cacheTokens?: number;
  /** Limits on each request; default: the context. */
  limits?: { promptTokens?: number; maxTokens?: number };
  /** For the reports' times. */
  clock?: Clock;
}

export interface ScheduledText extends Generation {
  /** Ends the text: its slot is free at the next pass's end, at once where none is under way. */
  cancel(): void;
  /** The report once the text has ended; rejects with what ended it otherwise. Need not be awaited. */
  readonly done: Promise<GenerationReport>;
}

export interface SchedulerStats {
  /** Texts that have a slot, and those that wait. */
  active: number;
  waiting: number;
  /** In all so far. */
  submitted: number;
  finished: number;
  refused: number;
  promptTokens: number;
  cachedPromptTokens: number;
  generatedTokens: number;
  passes: number;
  /** Tokens in the prompt cache now. */
  cacheTokens: number;
}

/** One submitted text, on its way from the queue to the reader. */
class Ticket {
  readonly tokens: GeneratedToken[] = [];
  readonly done: Promise<GenerationReport>;
  slot: Slot | null = null;
  cancelled = false;
  ended = false;
  private error: unknown;
  private wake: (() => void) | null = null;
  private settle!: { resolve(report: GenerationReport): void; reject(error: unknown): void };

  constructor(
    readonly writer: Writer,
    readonly queuedAt: number | null,
  ) {
    this.done = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.done.catch(() => {}); // who does not await it has the iterator
  }

  push(tokens: readonly GeneratedToken[]): void {
    this.tokens.push(...tokens);
    this.notify();
  }

  end(error?: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
    this.writer.report.finish ??= "aborted";
    if (error === undefined) this.settle.resolve(this.writer.report);
    else this.settle.reject(error);
    this.notify();
  }

  /** The tokens as they come. Its length is bounded by maxTokens, so a slow reader holds up nobody. */
  async *read(): AsyncGenerator<GeneratedToken> {
    for (let at = 0; ; at++) {
      while (at >= this.tokens.length) {
        if (this.error !== undefined) throw this.error;
        if (this.ended) return;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
      yield this.tokens[at];
    }
  }

  private notify(): void {
    this.wake?.();
    this.wake = null;
  }
}

export class Scheduler {
  private readonly slots: number;
  private readonly queueLength: number;
  private readonly prefillTokens: number;
  private readonly prefillBesideTokens: number;
  private readonly cache: PromptCache;
  private readonly limits: { promptTokens: number; maxTokens: number };
  private readonly clock: Clock | undefined;
  private waiting: Ticket[] = [];
  private active: Ticket[] = [];
  private running: Promise<void> | null = null;
  private inPass = false;
  private closed = false;
  private readonly totals = {
    submitted: 0,
    finished: 0,
    refused: 0,
    promptTokens: 0,
    cachedPromptTokens: 0,
    passes: 0,
  };
  private generatedTokens = 0;

  /** @param engine stays the caller's; its sequences are the scheduler's until `close` */
  constructor(
    private readonly engine: Engine,
    private readonly tokenizer: TextTokenizer,
    options: SchedulerOptions = {},
  ) {
    const { slots = 4, queue = 64, prefillTokens = 512, prefillBesideTokens = 64, limits = {} } = options;
    const { promptTokens = engine.contextLength, maxTokens = engine.contextLength } = limits;
    const least = { slots: 1, queue: 0, prefillTokens: 1, prefillBesideTokens: 1, promptTokens: 1, maxTokens: 1 };
    const given = { slots, queue, prefillTokens, prefillBesideTokens, promptTokens, maxTokens };
    for (const [name, value] of Object.entries(given))
      if (!(Number.isSafeInteger(value) && value >= least[name as keyof typeof least]))
        throw new UsageError(
          `scheduler: ${name} is ${value}; expected a whole number from ${least[name as keyof typeof least]}`,
        );
    this.slots = slots;
    this.queueLength = queue;
    this.prefillTokens = prefillTokens;
    this.prefillBesideTokens = prefillBesideTokens;
    this.limits = { promptTokens, maxTokens };
    this.cache = new PromptCache(engine, options.cacheTokens);
    this.clock = options.clock;
  }

  /**
   * Begins a text, or puts it in the queue. It is written whether or not it is read; leaving its iterator cancels it.
   *
   * @throws QueueFullError where slots and queue are full; UsageError for settings out of range or over the limits;
   *   DataError as generate
   */
  submit(prompt: string | ArrayLike<number>, options: GenerateOptions): ScheduledText {
    if (this.closed) throw new UsageError("scheduler: is closed");
    const busy = this.active.length + this.waiting.length;
    if (busy >= this.slots + this.queueLength) {
      this.totals.refused++;
      throw new QueueFullError(
        `${this.active.length} texts are being written and ${this.waiting.length} wait, as many as may; try again later`,
      );
    }
    const { promptTokens, maxTokens } = this.limits;
    if (options.maxTokens > maxTokens)
      throw new UsageError(`maxTokens is ${options.maxTokens}; at most ${maxTokens} are allowed`);
    const writer = new Writer(this.engine, this.tokenizer, prompt, { clock: this.clock, ...options });
    if (writer.promptIds.length > promptTokens)
      throw new UsageError(`the prompt has ${writer.promptIds.length} tokens; at most ${promptTokens} are allowed`);

    const ticket = new Ticket(writer, this.clock?.monotonicMs() ?? null);
    this.totals.submitted++;
    const cancel = () => this.cancel(ticket);
    const { signal } = options;
    if (signal?.aborted) ticket.cancelled = true;
    if (ticket.cancelled || writer.report.finish) {
      this.finish(ticket);
    } else {
      signal?.addEventListener("abort", cancel, { once: true });
      const forget = () => signal?.removeEventListener("abort", cancel);
      ticket.done.then(forget, forget);
      this.waiting.push(ticket);
      this.running ??= this.run();
    }
    let begun = false;
    return {
      report: writer.report,
      promptIds: writer.promptIds,
      promptTokens: writer.promptScores?.tokens ?? [],
      done: ticket.done,
      cancel,
      [Symbol.asyncIterator]() {
        if (begun) throw new Error("scheduler: a text can be iterated once");
        begun = true;
        return readThenCancel(ticket, cancel);
      },
    };
  }

  get stats(): SchedulerStats {
    return {
      active: this.active.length,
      waiting: this.waiting.length,
      ...this.totals,
      generatedTokens: this.generatedTokens,
      cacheTokens: this.cache.tokens,
    };
  }

  /** Takes no more texts; lets those under way and in the queue end, or (`cancel`) ends them; then frees all sequences. */
  async close({ cancel = false }: { cancel?: boolean } = {}): Promise<void> {
    this.closed = true;
    if (cancel) for (const ticket of [...this.waiting, ...this.active]) this.cancel(ticket);
    await this.running;
    this.cache.dispose();
  }

  private cancel(ticket: Ticket): void {
    if (ticket.ended) return;
    ticket.cancelled = true;
    this.waiting = this.waiting.filter((other) => other !== ticket);
    // Amid a pass its sequence is the engine's; the loop ends it right behind.
    if (!this.inPass || !this.active.includes(ticket)) this.finish(ticket);
  }

  /** Takes a text out of its slot and keeps, or frees, its sequence. */
  private finish(ticket: Ticket, error?: unknown): void {
    this.active = this.active.filter((other) => other !== ticket);
    const { slot } = ticket;
    if (slot) {
      ticket.slot = null;
      if (error === undefined) this.cache.give(slot.held, slot.sequence);
      else slot.dispose();
    }
    if (!ticket.ended) this.totals.finished++;
    ticket.end(error);
  }

  /** Runs while there is work; each turn of the loop is one pass. */
  private async run(): Promise<void> {
    // Texts submitted in one go begin together; and signals are heard between passes.
    await nextTurn();
    while (this.waiting.length > 0 || this.active.length > 0) {
      this.admit();
      if (this.active.length > 0) await this.pass();
      await nextTurn();
    }
    this.running = null;
  }

  private admit(): void {
    while (this.active.length < this.slots && this.waiting.length > 0) {
      const ticket = this.waiting.shift()!;
      const { writer } = ticket;
      const running = this.active.map(({ slot }) => ({ held: slot!.held, sequence: slot!.sequence }));
      try {
        // A cached beginning has no logits any more.
        const sequence = writer.promptScores
          ? this.engine.createSequence()
          : this.cache.take(writer.promptIds, running);
        ticket.slot = new Slot(this.engine, sequence, writer);
      } catch (error) {
        this.finish(ticket, error);
        continue;
      }
      if (this.clock && ticket.queuedAt !== null) writer.report.queuedMs = this.clock.monotonicMs() - ticket.queuedAt;
      writer.begin();
      this.totals.promptTokens += writer.promptIds.length;
      this.totals.cachedPromptTokens += writer.report.cachedTokens;
      this.active.push(ticket);
    }
  }

  private async pass(): Promise<void> {
    const batch = this.share();
    this.totals.passes++;
    let results: Float32Array[];
    this.inPass = true;
    try {
      results = await this.engine.forward(batch.map(({ slot, budget }) => slot!.work(budget)));
    } catch (error) {
      this.inPass = false;
      // What the sequences hold now is not known.
      for (const { ticket } of batch) this.finish(ticket, error);
      return;
    }
    this.inPass = false;
    for (const [i, { ticket, slot }] of batch.entries()) {
      if (ticket.cancelled) {
        slot!.drop();
        this.finish(ticket);
        continue;
      }
      try {
        const tokens = slot!.take(results[i]);
        this.generatedTokens += tokens.length;
        ticket.push(tokens);
        if (slot!.finished) this.finish(ticket);
      } catch (error) {
        this.finish(ticket, error);
      }
    }
  }

  /** Who takes part in the next pass with how many tokens: every text being written, and prompts share what there is. */
  private share(): { ticket: Ticket; slot: Slot | null; budget: number }[] {
    const isReading = ({ slot }: Ticket) => slot!.pending > 1;
    const reading = this.active.filter(isReading);
    const written = this.active.length - reading.length;
    const budget = written > 0 ? this.prefillBesideTokens : this.prefillTokens;
    // Short prompts leave their share to the longer ones.
    const shares = new Map<Ticket, number>();
    let left = budget;
    const byLength = [...reading].sort((a, b) => a.slot!.pending - b.slot!.pending);
    for (const [i, ticket] of byLength.entries()) {
      const share = Math.min(ticket.slot!.pending, Math.max(1, Math.floor(left / (byLength.length - i))));
      shares.set(ticket, share);
      left -= share;
    }
    return this.active.map((ticket) => ({ ticket, slot: ticket.slot, budget: shares.get(ticket) ?? 1 }));
  }
}

async function* readThenCancel(ticket: Ticket, cancel: () => void): AsyncGenerator<GeneratedToken> {
  try {
    yield* ticket.read();
  } finally {
    cancel();
  }
}
