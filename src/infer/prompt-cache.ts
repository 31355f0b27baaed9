/**
 * Sequences of texts that are done, kept for the next text that begins as they did: a chat's next turn, another question
 * behind the same system prompt. The least recently used go first. Called by generate.ts and scheduler.ts.
 */
import { UsageError } from "../platform/errors.ts";
import type { Engine, Sequence } from "./engine.ts";

interface Entry {
  tokens: readonly number[];
  sequence: Sequence;
}

export class PromptCache {
  /** The most recently used last. */
  private entries: Entry[] = [];

  /**
   * @param engine    the engine that the sequences belong to
   * @param maxTokens tokens kept in all; default: two contexts
   */
  constructor(
    private readonly engine: Engine,
    private readonly maxTokens: number = 2 * engine.contextLength,
  ) {
    if (!(Number.isSafeInteger(maxTokens) && maxTokens >= 0))
      throw new UsageError(`prompt cache: maxTokens is ${maxTokens}; expected a whole number from 0`);
  }

  /** Tokens in it. */
  get tokens(): number {
    return this.entries.reduce((sum, { sequence }) => sum + sequence.length, 0);
  }

  /**
   * A sequence that holds as much of the beginning of these tokens as is known, but never all: the last one's logits are
   * wanted. It is the caller's. An entry that goes on otherwise for more than it shares stays, and the beginning is copied.
   *
   * @param running texts under way, whose beginnings serve as well
   */
  take(tokens: readonly number[], running: Iterable<{ held: readonly number[]; sequence: Sequence }> = []): Sequence {
    let best: { shared: number; entry: Entry | null; sequence: Sequence } | null = null;
    const consider = (held: readonly number[], sequence: Sequence, entry: Entry | null) => {
      // Of a ring that has gone round, the beginning is lost.
      if (sequence.length > this.engine.contextLength) return;
      let shared = 0;
      const most = Math.min(held.length, tokens.length - 1);
      while (shared < most && held[shared] === tokens[shared]) shared++;
      if (shared > (best?.shared ?? 0)) best = { shared, entry, sequence };
    };
    for (const entry of this.entries) consider(entry.tokens, entry.sequence, entry);
    for (const { held, sequence } of running) consider(held, sequence, null);
    const found = best as { shared: number; entry: Entry | null; sequence: Sequence } | null;
    // A token or two (the start token) are read as fast as they are copied.
    if (!found || found.shared < 2) return this.engine.createSequence();
    const { entry, shared } = found;
    let { sequence } = found;
    if (entry && 2 * shared >= entry.tokens.length) this.entries = this.entries.filter((e) => e !== entry);
    else {
      if (entry) this.entries = [...this.entries.filter((e) => e !== entry), entry];
      sequence = sequence.fork();
    }
    sequence.truncate(shared);
    return sequence;
  }

  /** Keeps a sequence, or disposes of it: it is the cache's. @param tokens what it holds */
  give(tokens: readonly number[], sequence: Sequence): void {
    if (tokens.length === 0 || tokens.length > Math.min(this.maxTokens, this.engine.contextLength)) {
      sequence.dispose();
      return;
    }
    // One that this one goes on from is of no more use.
    const covers = (entry: Entry) =>
      entry.tokens.length <= tokens.length && entry.tokens.every((id, i) => id === tokens[i]);
    for (const entry of this.entries.filter(covers)) this.drop(entry);
    this.entries.push({ tokens, sequence });
    while (this.tokens > this.maxTokens) this.drop(this.entries[0]);
  }

  dispose(): void {
    for (const entry of [...this.entries]) this.drop(entry);
  }

  private drop(entry: Entry): void {
    entry.sequence.dispose();
    this.entries = this.entries.filter((e) => e !== entry);
  }
}
