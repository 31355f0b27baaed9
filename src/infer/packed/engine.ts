/**
 * The packed engine: weights stay packed in memory, sequences of a batch share each pass over them, keys and values lie in
 * pages (see engine.ts for the contract, weights.ts and pages.ts for the memory).
 *
 * Up to 8 new tokens in all (generating text, for up to 8 sequences) are one recorded program: a token is one call into the
 * backend and one waking of its threads, five kernels a layer (norm, int8 and q, k, v; attention; sub-norm, int8, output and
 * residual; norm, int8, gate and up; sub-norm, int8, down and residual). More are run kernel by kernel, up to 512 tokens at a
 * time, with attention as in training where a sequence brings more than `gatherAbove` tokens.
 *
 * Held to the training-time model: integer products, norms, int8 codes, gates and residuals are the same to the bit. With
 * an f32 head, an f32 cache and gatherAbove 0 the logits of a bitnet model differ only by the order of float32 sums in the
 * head. Attention over pages sums in another order, and an int8 code may then fall on the other side.
 *
 * What a token must read, and so the floor of its time: `report.bytesForToken`, over the machine's memory bandwidth.
 */
import type { Backend, NDArray, Program } from "../../backends/backend.ts";
import { headWidth, type ModelConfig, type Transformer } from "../../model/index.ts";
import { attention } from "../../ops/attention/index.ts";
import { cacheAppend } from "../../ops/cache-append/index.ts";
import { cachedAttention, type CacheFormat, gatherCache, pageTokens } from "../../ops/cached-attention/index.ts";
import { matrixLinear, matrixRows } from "../../ops/matrix-linear/index.ts";
import type { OpContext } from "../../ops/op.ts";
import { type LinearEnd, packedLinear } from "../../ops/packed-linear/index.ts";
import { rotaryTable } from "../../ops/rotary/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { MatrixFormat } from "../../quant/matrix-rows.ts";
import type { TernaryFormat } from "../../quant/packed-ternary.ts";
import { checkBatch, checkLength, type Engine, type Sequence, type Work } from "../engine.ts";
import { PageList, PagePool } from "./pages.ts";
import {
  DeviceArrays,
  type LinearWeight,
  loadPackedWeights,
  type PackedWeights,
  type WeightSource,
  weightsOfModel,
} from "./weights.ts";

export interface PackedEngineOptions {
  /** Ternary weights in memory: 2bit, or trits (five to a byte, 1.6 bits). Default 2bit. */
  weights?: TernaryFormat;
  /** Output head and embeddings. Default: what holds them as exactly as they came (f32; of a file in f16 or bf16, that). */
  head?: MatrixFormat;
  /** Matrices of a full-precision model. Default f32: exact. */
  linear?: MatrixFormat;
  /** Keys and values. Default f32: exact. */
  cache?: CacheFormat;
  /**
   * When a sequence reaches the model's context: stop (forward refuses more), or slide (each token sees the last
   * `contextLength` tokens; a ring of pages). Default stop.
   */
  overflow?: "stop" | "slide";
  /** Activations are not rounded to int8: to compare with programs that do not. Default false. */
  floatActivations?: boolean;
  /**
   * A sequence that brings more tokens than this at once gets training's attention, which reads prompts faster but sums in
   * another order. Number.MAX_SAFE_INTEGER: never; then a ternary model's logits are the same to the bit however a prompt is
   * cut (with a head in f32, bf16 or f16: if the logits of at most 64 tokens are asked for at once). Default 8.
   */
  gatherAbove?: number;
}

/** New tokens in one recorded program. */
const programRows = 8;
/** New tokens at a time: bounds the workspace. */
const roundRows = 512;
/** Rows of logits at a time, in a prompt whose logits are all wanted. */
const logitRows = 64;

class PackedSequence implements Sequence {
  length = 0;
  disposed = false;
  constructor(
    readonly engine: PackedEngine,
    readonly pages: PageList,
  ) {}

  truncate(length: number): void {
    checkLength(length, this.length);
    const seenFrom = this.engine.firstSeen(length);
    if (length > 0 && seenFrom < this.pages.first * pageTokens)
      throw new UsageError(
        `sequence: cannot be truncated to ${length} tokens; what they would see, from token ${seenFrom} on, has slid out of the cache`,
      );
    this.pages.truncate(length);
    this.length = length;
  }

  fork(): Sequence {
    if (this.disposed) throw new UsageError("sequence: fork of a sequence that is disposed of");
    return this.engine.adopt(this.pages.fork(), this.length);
  }

  dispose(): void {
    if (this.disposed) return;
    this.pages.truncate(0);
    this.length = 0;
    this.disposed = true;
    this.engine.forget(this);
  }
}

/** Tokens of one sequence in one round, next to each other. */
interface Segment {
  sequence: PackedSequence;
  work: number;
  tokens: number[];
  start: number;
  /** Of its rows, those whose logits are wanted. */
  wanted: number[];
}

/** What one pass of some rows writes. */
interface Workspace {
  arrays: DeviceArrays;
  ids: NDArray;
  angles: NDArray;
  plan: NDArray;
  x: NDArray;
  qkv: NDArray;
  mixed: NDArray;
  hidden: NDArray;
  select: NDArray;
  chosen: NDArray;
  logits: NDArray;
}

/** [rows, width] f32, as a matrix whose rows can be chosen: 64 bytes more than its numbers. */
const rowsBytes = (rows: number, width: number) => 4 * rows * width + 64;

export class PackedEngine implements Engine {
  private readonly pool: PagePool;
  private readonly sequences = new Set<PackedSequence>();
  private readonly programs = new Map<string, { program: Program; workspace: Workspace }>();
  private programGeneration = 0;
  private readonly angles: Float32Array;
  private disposed = false;

  constructor(
    private readonly backend: Backend,
    readonly config: ModelConfig,
    private readonly weights: PackedWeights,
    private readonly options: Required<PackedEngineOptions>,
  ) {
    const { layers, heads, kvHeads, contextLength, ropeBase } = config;
    const shape = { heads, kvHeads, headWidth: headWidth(config), format: options.cache };
    this.pool = new PagePool(backend, layers, shape);
    this.angles = rotaryTable(contextLength, headWidth(config), ropeBase);
  }

  get vocabSize(): number {
    return this.config.vocabSize;
  }

  get contextLength(): number {
    return this.config.contextLength;
  }

  get ring(): boolean {
    return this.options.overflow === "slide";
  }

  /** Bytes of the weights, of them what one token reads, and of the cache as it is now. */
  get report(): { weightBytes: number; bytesForToken: number; cacheBytes: number } {
    const { sizeBytes, bytesForToken } = this.weights;
    return { weightBytes: sizeBytes, bytesForToken, cacheBytes: this.pool.sizeBytes };
  }

  createSequence(): Sequence {
    return this.adopt(new PageList(this.pool), 0);
  }

  /** For sequences: a new one over these pages. */
  adopt(pages: PageList, length: number): PackedSequence {
    if (this.disposed) throw new UsageError("engine: a sequence is asked of an engine that is disposed of");
    const sequence = new PackedSequence(this, pages);
    sequence.length = length;
    this.sequences.add(sequence);
    return sequence;
  }

  /** For sequences: one is disposed of. */
  forget(sequence: PackedSequence): void {
    this.sequences.delete(sequence);
  }

  /** The first position that the token at a position sees. */
  firstSeen(position: number): number {
    return this.options.overflow === "slide" ? Math.max(0, position - this.config.contextLength + 1) : 0;
  }

  async forward(batch: readonly Work[]): Promise<Float32Array[]> {
    const results = batch.map(({ tokens, logits }) => {
      const rows = logits === "none" ? 0 : logits === "last" ? 1 : tokens.length;
      return new Float32Array(rows * this.vocabSize);
    });
    await this.pass(batch, results, null);
    return results;
  }

  /** The last layer's states are read back and normed here, in float64: of a text once, where the head would be far more. */
  async hiddenStates(sequence: Sequence, tokens: ArrayLike<number>): Promise<Float32Array> {
    const { width, normEps } = this.config;
    const states = new Float32Array(tokens.length * width);
    await this.pass([{ sequence, tokens, logits: "none" }], [new Float32Array(0)], states);
    const gain = new Float32Array(width);
    await this.backend.read(this.weights.finalNorm.buffer, gain);
    for (let at = 0; at < states.length; at += width) {
      const row = states.subarray(at, at + width);
      let squares = 0;
      for (const x of row) squares += x * x;
      const scale = 1 / Math.sqrt(squares / width + normEps);
      for (let i = 0; i < width; i++) row[i] *= scale * gain[i];
    }
    return states;
  }

  /**
   * Moves the sequences on, all or none.
   *
   * @param results of each part, its logits' place
   * @param states  of a single part, [tokens, width]: the last layer's states; null: not wanted
   */
  private async pass(batch: readonly Work[], results: Float32Array[], states: Float32Array | null): Promise<void> {
    checkBatch(this, batch, this.options.overflow === "slide");
    for (const { sequence } of batch)
      if (!this.sequences.has(sequence as PackedSequence))
        throw new UsageError("engine: a sequence of the batch is disposed of, or another engine's");
    const before = batch.map(({ sequence }) => sequence.length);
    const reads: Promise<void>[] = [];
    try {
      for (const round of this.rounds(batch)) {
        const [{ start, tokens }] = round;
        const from = (start - before[0]) * this.config.width;
        const own = states?.subarray(from, from + tokens.length * this.config.width) ?? null;
        this.runRound(round, batch, before, results, own, reads);
      }
    } catch (error) {
      for (const [i, { sequence }] of batch.entries()) {
        const own = sequence as PackedSequence;
        own.pages.truncate(before[i]);
        own.length = before[i];
      }
      throw error;
    }
    await Promise.all(reads);
  }

  dispose(): void {
    if (this.disposed) return;
    for (const sequence of [...this.sequences]) sequence.dispose();
    this.forgetPrograms();
    this.pool.dispose();
    this.weights.dispose();
    this.disposed = true;
  }

  // ---- rounds

  /** The batch in pieces of at most 512 tokens; in each, short segments come first. */
  private rounds(batch: readonly Work[]): Segment[][] {
    const rounds: Segment[][] = [];
    const done = batch.map(() => 0);
    for (;;) {
      const round: Segment[] = [];
      let room = roundRows;
      for (const [work, { sequence, tokens, logits }] of batch.entries()) {
        const count = Math.min(room, tokens.length - done[work]);
        if (count === 0) continue;
        const from = done[work];
        done[work] += count;
        room -= count;
        const wanted = Array.from({ length: count }, (_, i) => i).filter(
          (i) => logits === "all" || (logits === "last" && from + i === tokens.length - 1),
        );
        round.push({
          sequence: sequence as PackedSequence,
          work,
          tokens: Array.prototype.slice.call(tokens, from, from + count),
          start: sequence.length + from,
          wanted,
        });
      }
      if (round.length === 0) return rounds;
      rounds.push(round.sort((a, b) => a.tokens.length - b.tokens.length));
    }
  }

  private runRound(
    round: readonly Segment[],
    batch: readonly Work[],
    before: readonly number[],
    results: Float32Array[],
    states: Float32Array | null,
    reads: Promise<void>[],
  ): void {
    const rows = round.reduce((sum, { tokens }) => sum + tokens.length, 0);
    for (const { sequence, start, tokens } of round) sequence.pages.makeRoom(start, start + tokens.length);
    const wanted: { row: number; work: number; place: number }[] = [];
    let row = 0;
    for (const segment of round) {
      for (const i of segment.wanted) {
        const place = batch[segment.work].logits === "all" ? segment.start + i - before[segment.work] : 0;
        wanted.push({ row: row + i, work: segment.work, place });
      }
      row += segment.tokens.length;
    }
    const recorded = rows <= programRows && round.every(({ tokens }) => tokens.length <= this.options.gatherAbove);
    const workspace = recorded
      ? this.programFor(rows, wanted.length).workspace
      : this.createWorkspace(rows, Math.min(wanted.length, logitRows));
    try {
      this.uploadRound(workspace, round, rows);
      const firstRows = wanted.slice(0, recorded ? programRows : logitRows);
      this.uploadSelection(workspace, firstRows);
      if (recorded) {
        this.backend.run(this.programFor(rows, wanted.length).program);
      } else {
        this.runBody(workspace, rows, round);
      }
      if (states) reads.push(this.backend.read(workspace.x.buffer, states));
      for (let from = 0; from < wanted.length; from += logitRows) {
        const some = wanted.slice(from, from + logitRows);
        if (!recorded) {
          this.uploadSelection(workspace, some);
          this.runHead(workspace, some.length, rows);
        }
        for (const [i, { work, place }] of some.entries()) {
          const into = results[work].subarray(place * this.vocabSize, (place + 1) * this.vocabSize);
          reads.push(this.backend.read(workspace.logits.buffer, into, 4 * i * this.vocabSize));
        }
      }
    } finally {
      if (!recorded) workspace.arrays.dispose();
    }
    for (const { sequence, start, tokens } of round) {
      sequence.length = start + tokens.length;
      sequence.pages.dropBefore(this.firstSeen(sequence.length));
    }
  }

  private uploadRound(w: Workspace, round: readonly Segment[], rows: number): void {
    const D = headWidth(this.config);
    const lists = round.reduce((sum, { sequence }) => sum + sequence.pages.ids.length, 0);
    const plan = new Int32Array(4 * rows + lists);
    const angles = new Float32Array(rows * D);
    const ids = new Int32Array(rows);
    let row = 0;
    let list = 4 * rows;
    for (const { sequence, tokens, start } of round) {
      plan.set(sequence.pages.ids, list);
      for (const [i, token] of tokens.entries()) {
        const position = start + i;
        plan.set([position, this.firstSeen(position), sequence.pages.first, list], 4 * row);
        angles.set(this.anglesAt(position), row * D);
        ids[row++] = token;
      }
      list += sequence.pages.ids.length;
    }
    this.backend.upload(w.plan.buffer, plan);
    this.backend.upload(w.angles.buffer, angles);
    this.backend.upload(w.ids.buffer, ids);
  }

  private uploadSelection(w: Workspace, wanted: readonly { row: number }[]): void {
    if (wanted.length > 0)
      this.backend.upload(
        w.select.buffer,
        Int32Array.from(wanted, ({ row }) => row),
      );
  }

  private anglesAt(position: number): Float32Array {
    const D = headWidth(this.config);
    if (position < this.config.contextLength) return this.angles.subarray(position * D, (position + 1) * D);
    const half = D / 2;
    const row = new Float32Array(D);
    for (let i = 0; i < half; i++) {
      const angle = position * this.config.ropeBase ** (-i / half);
      row[i] = Math.cos(angle);
      row[half + i] = Math.sin(angle);
    }
    return row;
  }

  // ---- kernels

  private createWorkspace(rows: number, logits: number): Workspace {
    const { width, heads, kvHeads, hiddenWidth, contextLength, vocabSize } = this.config;
    const D = headWidth(this.config);
    const arrays = new DeviceArrays(this.backend);
    const create = arrays.create.bind(arrays);
    // A sliding sequence holds a page more at each end of its window, and new tokens' pages.
    const pages = rows * (Math.ceil(contextLength / pageTokens) + 2) + Math.ceil(rows / pageTokens);
    return {
      arrays,
      ids: create([rows], "i32"),
      angles: create([rows, D], "f32"),
      plan: create([4 * rows + pages], "i32"),
      x: { ...create([rowsBytes(rows, width) / 4], "f32"), shape: [rows, width] },
      qkv: create([rows, (heads + 2 * kvHeads) * D], "f32"),
      mixed: create([rows, heads * D], "f32"),
      hidden: create([rows, hiddenWidth], "f32"),
      select: create([Math.max(1, logits)], "i32"),
      chosen: create([Math.max(1, logits), width], "f32"),
      logits: create([Math.max(1, logits), vocabSize], "f32"),
    };
  }

  private contextOf(arrays: DeviceArrays): OpContext {
    return { backend: this.backend, precision: "fp32", create: arrays.create.bind(arrays) };
  }

  private programFor(rows: number, wanted: number): { program: Program; workspace: Workspace } {
    if (this.programGeneration !== this.pool.generation) this.forgetPrograms();
    this.programGeneration = this.pool.generation;
    const key = `${rows},${wanted}`;
    let found = this.programs.get(key);
    if (!found) {
      const workspace = this.createWorkspace(rows, wanted);
      const program = this.backend.record(() => {
        this.runBody(workspace, rows, null);
        if (wanted > 0) this.runHead(workspace, wanted, rows);
      });
      found = { program, workspace };
      this.programs.set(key, found);
    }
    return found;
  }

  private forgetPrograms(): void {
    for (const { program, workspace } of this.programs.values()) {
      program.dispose();
      workspace.arrays.dispose();
    }
    this.programs.clear();
  }

  /** Embedding and layers. @param round null: all rows attend over pages */
  private runBody(w: Workspace, rows: number, round: readonly Segment[] | null): void {
    const { backend } = this;
    const { normEps, activation } = this.config;
    const inLayer = <T>(body: (cx: OpContext) => T): T => {
      // In a program, workspaces live as long as it does; they are shared by all layers.
      if (round === null) return body(this.contextOf(w.arrays));
      const arrays = new DeviceArrays(backend);
      try {
        return body(this.contextOf(arrays));
      } finally {
        arrays.dispose();
      }
    };
    let partial: NDArray | null = null;
    inLayer((cx) => matrixRows(cx, w.ids, this.weights.embedding, w.x));
    for (const [i, layer] of this.weights.layers.entries()) {
      const apply = (x: NDArray, gain: NDArray | null, weight: LinearWeight, y: NDArray, end: LinearEnd) =>
        inLayer((cx) => {
          const { floatActivations } = this.options;
          if ("ternary" in weight) packedLinear(cx, x, gain, weight.ternary, y, { end, normEps, floatActivations });
          else matrixLinear(cx, x, gain, weight.matrix, y, { end, normEps });
        });
      apply(w.x, layer.attentionNorm, layer.qkv, w.qkv, "store");
      inLayer((cx) => {
        if (round === null) {
          // One workspace for all layers.
          const shared: OpContext = {
            ...cx,
            create: (shape, dtype) => {
              partial ??= cx.create(shape, dtype);
              return partial;
            },
          };
          this.attendOverPages(shared, w, i, rows);
        } else {
          this.attend(cx, w, i, round);
        }
      });
      apply(w.mixed, layer.attentionSubNorm, layer.output, w.x, "add");
      apply(w.x, layer.feedForwardNorm, layer.gateUp, w.hidden, activation);
      apply(w.hidden, layer.feedForwardSubNorm, layer.down, w.x, "add");
    }
  }

  private attendOverPages(cx: OpContext, w: Workspace, layer: number, rows: number): void {
    const { shape } = this.pool;
    const part = (array: NDArray) => ({ ...array, shape: [rows, ...array.shape.slice(1)] });
    cachedAttention(
      cx,
      { qkv: part(w.qkv), angles: part(w.angles), plan: w.plan },
      this.pool.layers[layer],
      part(w.mixed),
      shape,
      this.config.contextLength,
    );
  }

  private attend(cx: OpContext, w: Workspace, layer: number, round: readonly Segment[]): void {
    const { heads, kvHeads } = this.config;
    const D = headWidth(this.config);
    const short = round.filter(({ tokens }) => tokens.length <= this.options.gatherAbove);
    let row = short.reduce((sum, { tokens }) => sum + tokens.length, 0);
    if (row > 0) this.attendOverPages(cx, w, layer, row);
    for (const { tokens, start } of round.slice(short.length)) {
      const count = tokens.length;
      const from = this.firstSeen(start);
      const seen = start + count - from;
      const q = cx.create([1, count, heads * D], "f32");
      const [k, v] = [0, 1].map(() => cx.create([1, seen, kvHeads * D], "f32"));
      gatherCache(cx, w, this.pool.layers[layer], { q, k, v }, this.pool.shape, { from, firstRow: row });
      const inputs = [q, k, v];
      if (this.firstSeen(start + count - 1) > from) {
        const bounds = cx.create([1, count], "i32");
        this.backend.upload(
          bounds.buffer,
          Int32Array.from({ length: count }, (_, i) => this.firstSeen(start + i) - from),
        );
        inputs.push(bounds);
      }
      const [mixed] = attention.forward(cx, inputs, { heads, kvHeads, start: start - from }).outputs;
      cacheAppend(cx, { ...w.mixed, shape: [1, ...w.mixed.shape] }, mixed, row);
      row += count;
    }
  }

  /** Final norm and head of the rows in `select`. */
  private runHead(w: Workspace, wanted: number, rows: number): void {
    const { width, normEps, vocabSize } = this.config;
    const arrays = new DeviceArrays(this.backend);
    const cx = this.contextOf(wanted > programRows ? arrays : w.arrays);
    const chosen = { ...w.chosen, shape: [wanted, width] };
    const bytes = { ...w.x, dtype: "u8" as const, shape: [rowsBytes(rows, width)] };
    matrixRows(cx, { ...w.select, shape: [wanted] }, { packed: bytes, rows, k: width, format: "f32" }, chosen);
    const logits = { ...w.logits, shape: [wanted, vocabSize] };
    matrixLinear(cx, chosen, this.weights.finalNorm, this.weights.head, logits, { end: "store", normEps });
    arrays.dispose();
  }
}

/**
 * The packed engine over weights from a source.
 *
 * @throws FormatError where the source does not give what the config says; UsageError for options that do not go together
 */
export async function createPackedEngine(
  backend: Backend,
  config: ModelConfig,
  source: WeightSource,
  options: PackedEngineOptions = {},
): Promise<PackedEngine> {
  const all: Required<PackedEngineOptions> = {
    weights: options.weights ?? "2bit",
    head: options.head ?? source.headFormat ?? "f32",
    linear: options.linear ?? "f32",
    cache: options.cache ?? "f32",
    overflow: options.overflow ?? "stop",
    floatActivations: options.floatActivations ?? false,
    gatherAbove: options.gatherAbove ?? programRows,
  };
  if (!(Number.isInteger(all.gatherAbove) && all.gatherAbove >= 0))
    throw new UsageError(`packed engine: gatherAbove is ${all.gatherAbove}; expected a whole number from 0`);
  if (config.variant === "full" && (options.weights || options.floatActivations))
    throw new UsageError(
      "packed engine: a full-precision model has no ternary weights and no int8 activations; leave out weights and floatActivations",
    );
  const formats = { ternary: all.weights, head: all.head, linear: all.linear };
  const weights = await loadPackedWeights(backend, config, source, formats);
  return new PackedEngine(backend, config, weights, all);
}

/** The packed engine over a loaded model, on its backend. The model may be disposed of afterwards. */
export function packModel(model: Transformer, options: PackedEngineOptions = {}): Promise<PackedEngine> {
  return createPackedEngine(model.runtime.backend, model.config, weightsOfModel(model), options);
}
