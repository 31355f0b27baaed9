/**
 * The training-time model as an engine: the judge of the packed engine, and what runs a model whose weights are float.
 * Sequences of a batch are run one after the other, each with a cache of its own that grows as it does; weights stay as
 * training has them. See engine.ts for the contract.
 */
import type { Cache, Transformer } from "../model/index.ts";
import { cacheAppend } from "../ops/cache-append/index.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";
import { UsageError } from "../platform/errors.ts";
import { checkBatch, checkLength, type Engine, type Sequence, type Work } from "./engine.ts";

type Model = Pick<Transformer, "config" | "runtime" | "logits" | "lastLogits" | "hiddenStates" | "createCache">;

/** Tokens that a new sequence has room for; the room doubles as it is outgrown. */
const firstCapacity = 64;

/** Copies the first `length` keys and values of every layer. */
function copyCache(runtime: Runtime, from: Cache, to: Cache): void {
  const rowsOf = (tensor: Tensor) => ({
    shape: [1, from.length, tensor.shape[2]],
    dtype: tensor.dtype,
    buffer: tensor.buffer,
  });
  if (from.length > 0)
    for (const [i, { keys, values }] of from.layers.entries()) {
      cacheAppend(runtime.plainContext(), to.layers[i].keys, rowsOf(keys), 0);
      cacheAppend(runtime.plainContext(), to.layers[i].values, rowsOf(values), 0);
    }
  to.length = from.length;
}

class CachedSequence implements Sequence {
  private cache: Cache | null = null;

  constructor(
    readonly engine: TransformerEngine,
    private readonly model: Model,
  ) {}

  get length(): number {
    return this.cache?.length ?? 0;
  }

  truncate(length: number): void {
    checkLength(length, this.length);
    if (this.cache) this.cache.length = length;
  }

  fork(): Sequence {
    const copy = this.engine.createSequence();
    if (this.cache) copyCache(this.model.runtime, this.cache, copy.withRoomFor(this.length));
    return copy;
  }

  /** The cache, with room for so many tokens. */
  withRoomFor(length: number): Cache {
    if (this.cache && this.cache.capacity >= length) return this.cache;
    const wanted = Math.max(length, 2 * (this.cache?.capacity ?? firstCapacity / 2));
    const grown = this.model.createCache(1, Math.min(wanted, this.engine.contextLength));
    if (this.cache) {
      copyCache(this.model.runtime, this.cache, grown);
      this.cache.dispose();
    }
    this.cache = grown;
    return grown;
  }

  dispose(): void {
    this.cache?.dispose();
    this.cache = null;
    this.engine.forget(this);
  }
}

export class TransformerEngine implements Engine {
  private readonly sequences = new Set<CachedSequence>();

  /** @param model stays the caller's: `dispose` frees the sequences, not the weights */
  constructor(private readonly model: Model) {}

  get vocabSize(): number {
    return this.model.config.vocabSize;
  }

  get contextLength(): number {
    return this.model.config.contextLength;
  }

  createSequence(): CachedSequence {
    const sequence = new CachedSequence(this, this.model);
    this.sequences.add(sequence);
    return sequence;
  }

  /** Called by a sequence as it is disposed of. */
  forget(sequence: CachedSequence): void {
    this.sequences.delete(sequence);
  }

  async forward(batch: readonly Work[]): Promise<Float32Array[]> {
    this.check(batch);
    const results: Float32Array[] = [];
    for (const work of batch) results.push(await this.run(work));
    return results;
  }

  async hiddenStates(sequence: Sequence, tokens: ArrayLike<number>): Promise<Float32Array> {
    this.check([{ sequence, tokens, logits: "none" }]);
    const own = sequence as CachedSequence;
    const cache = own.withRoomFor(own.length + tokens.length);
    const batch = { tokens: Int32Array.from(tokens), batch: 1, length: tokens.length };
    const states = this.model.hiddenStates(batch, cache);
    try {
      return await this.model.runtime.readFloats(states);
    } finally {
      states.dispose();
    }
  }

  dispose(): void {
    for (const sequence of [...this.sequences]) sequence.dispose();
  }

  private check(batch: readonly Work[]): void {
    checkBatch(this, batch);
    for (const { sequence } of batch)
      if (!this.sequences.has(sequence as CachedSequence))
        throw new UsageError("engine: a sequence of the batch is disposed of, or another engine's");
  }

  private async run({ sequence, tokens, logits: wanted, into }: Work): Promise<Float32Array> {
    const own = sequence as CachedSequence;
    const cache = own.withRoomFor(own.length + tokens.length);
    const batch = { tokens: Int32Array.from(tokens), batch: 1, length: tokens.length };
    const logits = wanted === "all" ? this.model.logits(batch, cache) : this.model.lastLogits(batch, cache);
    try {
      if (wanted === "none") return into ?? new Float32Array(0);
      const values = await this.model.runtime.readFloats(logits);
      into?.set(values);
      return into ?? values;
    } finally {
      logits.dispose();
    }
  }
}
