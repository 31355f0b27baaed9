/**
 * The packed engine: weights stay packed in memory, sequences of a batch share each pass over them, keys and values lie in
 * pages (see ../engine.ts for the contract, weights.ts, pages.ts and workspace.ts for the memory, step.ts for the kernels).
 *
 * Up to 8 new tokens in all (generating text, for up to 8 sequences) are one recorded program: a token is one call into the
 * backend and one waking of its threads, five kernels a layer (norm, int8 and q, k, v; attention; sub-norm, int8, output and
 * residual; norm, int8, gate and up; sub-norm, int8, down and residual). More are run kernel by kernel, up to 512 tokens at a
 * time, with attention as in training where a sequence brings more than `gatherAbove` tokens.
 *
 * Held to the training-time model: integer products, norms, int8 codes, attention, gates and residuals are the same to the
 * bit. With an f32 head and an f32 cache, as is the default, the logits of a bitnet model differ only by the order of float32
 * sums in the head. (In a ring, once a text has grown past it, a prompt's attention sums chunks of keys cut elsewhere.)
 *
 * What a token must read, and so the floor of its time: `report.bytesForToken`, over the machine's memory bandwidth.
 */
import type { Backend, Program } from "../../backends/backend.ts";
import {
  finalNormEpsOf,
  headWidth,
  type ModelConfig,
  type ModelPlan,
  planModel,
  type Transformer,
} from "../../model/index.ts";
import { RotaryAngles } from "../../ops/rotary/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { checkBatch, type Engine, rowsWanted, type Sequence, type Work } from "../engine.ts";
import { type PackedEngineOptions, programRows, resolveOptions } from "./options.ts";
import { PageList, PagePool } from "./pages.ts";
import { roundRowsOf, roundsOf, type Segment } from "./rounds.ts";
import { PackedSequence } from "./sequence.ts";
import { ModelStep } from "./step.ts";
import { loadPackedWeights, type PackedWeights, type WeightSource, weightsOfModel } from "./weights.ts";
import { createWorkspace, type Workspace, withRows } from "./workspace.ts";

export type { PackedEngineOptions } from "./options.ts";

/** Rows of logits at a time, in a prompt whose logits are all wanted. */
const logitRows = 64;

/** A row of a round whose logits are wanted: where they go. */
interface WantedRow {
  row: number;
  work: number;
  place: number;
}

/** Where a pass leaves what it gives. */
interface Outputs {
  results: readonly Float32Array[];
  reads: Promise<void>[];
  states: Float32Array | null;
}

const rowsOf = (round: readonly Segment[]): number => round.reduce((sum, { tokens }) => sum + tokens.length, 0);

export class PackedEngine implements Engine {
  private readonly pool: PagePool;
  private readonly sequences = new Set<PackedSequence>();
  private readonly programs = new Map<string, { program: Program; workspace: Workspace }>();
  private programGeneration = 0;
  private readonly angles: RotaryAngles;
  private readonly step: ModelStep;
  private readonly plan: ModelPlan;
  private disposed = false;

  constructor(
    private readonly backend: Backend,
    readonly config: ModelConfig,
    private readonly weights: PackedWeights,
    private readonly options: Required<PackedEngineOptions>,
  ) {
    const { layers, heads, kvHeads, contextLength, ropeBase } = config;
    this.plan = planModel(config);
    const shape = { heads, kvHeads, headWidth: headWidth(config), format: options.cache };
    this.pool = new PagePool(backend, layers, shape);
    this.angles = new RotaryAngles(contextLength, headWidth(config), ropeBase);
    const firstSeen = this.firstSeen.bind(this);
    this.step = new ModelStep({ backend, config, weights, options, pool: this.pool, firstSeen });
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

  /**
   * Bytes of the weights, of them what one token reads, of the cache as it is now; and of the model's file, what kernels read
   * where it lay (0: all of it was copied first, as on a backend that maps no files).
   */
  get report(): { weightBytes: number; bytesForToken: number; cacheBytes: number; mappedBytes: number } {
    const { sizeBytes, bytesForToken, mappedBytes } = this.weights;
    return { weightBytes: sizeBytes, bytesForToken, cacheBytes: this.pool.sizeBytes, mappedBytes };
  }

  createSequence(): Sequence {
    return this.adopt(new PageList(this.pool), 0);
  }

  /** For sequences: a new one over these pages. */
  adopt(pages: PageList, length: number): PackedSequence {
    if (this.disposed) throw new UsageError("engine: a sequence is asked of an engine that is disposed of");
    const sequence = new PackedSequence(this, pages, length);
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
    checkBatch(this, batch, this.ring);
    const results = batch.map((work) => work.into ?? new Float32Array(rowsWanted(work) * this.vocabSize));
    await this.pass(batch, results, null);
    return results;
  }

  /** The last layer's states are read back and normed here, in float64: of a text once, where the head would be far more. */
  async hiddenStates(sequence: Sequence, tokens: ArrayLike<number>): Promise<Float32Array> {
    const { width } = this.config;
    const normEps = finalNormEpsOf(this.config);
    const batch: Work[] = [{ sequence, tokens, logits: "none" }];
    checkBatch(this, batch, this.ring);
    const states = new Float32Array(tokens.length * width);
    await this.pass(batch, [new Float32Array(0)], states);
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
    for (const { sequence } of batch)
      if (!this.sequences.has(sequence as PackedSequence))
        throw new UsageError("engine: a sequence of the batch is disposed of, or another engine's");
    const before = batch.map(({ sequence }) => sequence.length);
    const rounds = roundsOf(batch, roundRowsOf(this.config));
    const reads: Promise<void>[] = [];
    let workspace: Workspace | null = null;
    try {
      this.makeRoom(batch);
      for (const round of rounds) {
        const rows = rowsOf(round);
        const wanted = this.wantedOf(round, batch, before);
        const into = { results, reads, states: null as Float32Array | null };
        if (states) {
          const from = (round[0].start - before[0]) * this.config.width;
          into.states = states.subarray(from, from + rows * this.config.width);
        }
        if (rows <= programRows && round.every(({ tokens }) => tokens.length <= this.options.gatherAbove)) {
          this.runRecorded(round, rows, wanted, into);
        } else {
          workspace ??= createWorkspace(this.backend, this.config, this.sizesOf(rounds));
          this.runRows(withRows(workspace, rows), round, rows, wanted, into);
        }
        for (const { sequence, start, tokens } of round) {
          sequence.length = start + tokens.length;
          sequence.pages.dropBefore(this.firstSeen(sequence.length));
        }
      }
    } catch (error) {
      for (const [i, { sequence }] of batch.entries()) {
        const own = sequence as PackedSequence;
        own.pages.truncate(before[i]);
        own.length = before[i];
      }
      throw error;
    } finally {
      workspace?.arrays.dispose();
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

  /** Pages for all new tokens at once, so that the cache grows once. Of a ring, pages come back between rounds. */
  private makeRoom(batch: readonly Work[]): void {
    if (this.ring) return;
    const missing = batch.map(({ sequence, tokens }) =>
      (sequence as PackedSequence).pages.missing(sequence.length + tokens.length),
    );
    this.pool.reserve(missing.reduce((a, b) => a + b, 0));
  }

  /** Of a workspace for all these rounds: the most rows, rows of logits, and positions that attention as in training sees. */
  private sizesOf(rounds: readonly Segment[][]): { rows: number; logits: number; seen: number } {
    const long = rounds.flat().filter(({ tokens }) => tokens.length > this.options.gatherAbove);
    const logits = rounds.map((round) => round.reduce((sum, { wanted }) => sum + wanted.length, 0));
    return {
      rows: Math.max(...rounds.map(rowsOf)),
      logits: Math.min(logitRows, Math.max(...logits)),
      seen: Math.max(0, ...long.map(({ start, tokens }) => start + tokens.length - this.firstSeen(start))),
    };
  }

  private wantedOf(round: readonly Segment[], batch: readonly Work[], before: readonly number[]): WantedRow[] {
    const wanted: WantedRow[] = [];
    let row = 0;
    for (const segment of round) {
      for (const i of segment.wanted) {
        const place = batch[segment.work].logits === "all" ? segment.start + i - before[segment.work] : 0;
        wanted.push({ row: row + i, work: segment.work, place });
      }
      row += segment.tokens.length;
    }
    return wanted;
  }

  private runRecorded(round: readonly Segment[], rows: number, wanted: readonly WantedRow[], into: Outputs): void {
    for (const { sequence, start, tokens } of round) sequence.pages.makeRoom(start, start + tokens.length);
    const { program, workspace } = this.programFor(rows, wanted.length);
    this.uploadRound(workspace, round, rows);
    this.uploadSelection(workspace, wanted);
    this.backend.run(program);
    this.readRows(workspace, wanted, into);
    if (into.states) into.reads.push(this.backend.read(workspace.x.buffer, into.states));
  }

  private runRows(
    w: Workspace,
    round: readonly Segment[],
    rows: number,
    wanted: readonly WantedRow[],
    into: Outputs,
  ): void {
    for (const { sequence, start, tokens } of round) sequence.pages.makeRoom(start, start + tokens.length);
    this.uploadRound(w, round, rows);
    // Where every layer is BitLinear, a row's products are the same to the bit whatever rows are beside it.
    const few = this.plan.allBitLinear && !into.states && wanted.length <= logitRows;
    if (few) this.uploadSelection(w, wanted);
    this.step.runBody(
      w,
      rows,
      round.map(({ tokens, start }) => ({ count: tokens.length, start })),
      few ? wanted.length : null,
    );
    if (into.states) into.reads.push(this.backend.read(w.x.buffer, into.states));
    for (let from = 0; from < wanted.length; from += logitRows) {
      const some = wanted.slice(from, from + logitRows);
      if (!few) this.uploadSelection(w, some);
      this.step.runHead(w, some.length, rows, few);
      this.readRows(w, some, into);
    }
  }

  private readRows(w: Workspace, wanted: readonly WantedRow[], { results, reads }: Outputs): void {
    const V = this.vocabSize;
    for (const [i, { work, place }] of wanted.entries())
      reads.push(this.backend.read(w.logits.buffer, results[work].subarray(place * V, (place + 1) * V), 4 * i * V));
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
        angles.set(this.angles.at(position), row * D);
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

  private programFor(rows: number, wanted: number): { program: Program; workspace: Workspace } {
    if (this.programGeneration !== this.pool.generation) this.forgetPrograms();
    this.programGeneration = this.pool.generation;
    const key = `${rows},${wanted}`;
    let found = this.programs.get(key);
    if (!found) {
      const workspace = createWorkspace(this.backend, this.config, { rows, logits: wanted, seen: 0 });
      const program = this.backend.record(() => {
        this.step.runBody(workspace, rows, null);
        if (wanted > 0) this.step.runHead(workspace, wanted, rows);
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
  const all = resolveOptions(options, config, source, backend);
  const formats = { ternary: all.weights, head: all.head, linear: all.linear };
  const weights = await loadPackedWeights(backend, config, source, formats);
  return new PackedEngine(backend, config, weights, all);
}

/** The packed engine over a loaded model, on its backend. The model may be disposed of afterwards. */
export function packModel(model: Transformer, options: PackedEngineOptions = {}): Promise<PackedEngine> {
  return createPackedEngine(model.runtime.backend, model.config, weightsOfModel(model), options);
}
