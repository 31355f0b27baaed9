/**
 * Batches from several sources, each with its share of the tokens: the batches of a training run over a mixture.
 *
 * Draw d (0, 1, 2, ...) is one sequence of T tokens. Which source it comes from says shares.ts: after n draws each source
 * has n · w_i of them, up to one. The c-th draw of a source with S sequences is place c mod S of the permutation that
 * belongs to the seed, the source's name and its epoch floor(c / S): a source is shuffled within and across its shards,
 * each sequence comes once an epoch, and nothing but c is to be remembered. Neither depends on the other sources' sizes,
 * the batch or the number of processes.
 *
 * With a curriculum, until its tokens are through, a draw of a scored source is uniform, with replacement, from the
 * easiest c(t) of its sequences (Platanios et al. 2019, algorithm 1); its epochs are counted from then on.
 *
 * Step n of W processes takes the draws from n · B · W on: process r the B of them from r · B. So processes share no draw,
 * and together they have them all.
 */
import { ignoreBeforeMarker, type LossMarker, nextCounted } from "../loss-mask.ts";
import { type Batch, documentStarts } from "../batches.ts";
import { DataError, FormatError, UsageError } from "../../platform/errors.ts";
import { createHasher } from "../../platform/hash.ts";
import { createPermutation, uniformAt } from "../permutation.ts";
import type { SequenceReader } from "../sequences.ts";
import { checkShare, type Share, wholeShare } from "../share.ts";
import { competence, type Pacing } from "./pacing.ts";
import { createShares, partsOf } from "./shares.ts";

export interface MixtureSource {
  name: string;
  /** Any number above 0: the share is the weight over the sum of all. */
  weight: number;
  sequences: SequenceReader;
  /** The token behind every document, and what tokens are below. */
  endOfText: number;
  vocabSize: number;
  /** For a curriculum: the sequence at each place, the easiest first. Absent: drawn in epochs from the start. */
  order?: DifficultyOrder;
  close?(): void;
}

/** Sequences by how hard they are; scores.ts reads one from beside the shards. */
export interface DifficultyOrder {
  /** Which sequence is at this place of the order. */
  sequenceAt(place: number): number;
  /** Names the scores and their direction. */
  readonly identity: string;
  close(): void;
}

export interface MixtureOptions {
  sources: readonly MixtureSource[];
  /** B, sequences a batch of this process. */
  batch: number;
  /** A whole number from 0 to 2^53. */
  seed: number;
  /** Sources with an `order` follow it. */
  curriculum?: Pacing;
  /** Of each step, this process's part: B of the B · count sequences (default: all of it). */
  share?: Share;
  /** @deprecated The names of `share`'s index and count before. */
  rank?: number;
  world?: number;
  /** Adds documentStart_BT. */
  documentStarts?: boolean;
  /** A text after which targets count; see loss-mask.ts. */
  lossAfter?: LossMarker;
}

/** Where a mixture stands: plain JSON of a few hundred bytes a source, for a checkpoint. */
export interface MixturePosition {
  version: 1;
  kind: "mixture";
  seed: number;
  /** T */
  sequence: number;
  /** What scores and pacing are; null without a curriculum. */
  curriculum: string | null;
  sources: {
    name: string;
    /** Whole parts; see shares.ts. */
    part: number;
    /** SequenceReader.identity */
    data: string;
    /** Draws of this source. */
    drawn: number;
    /** Of these, drawn under the curriculum. */
    paced: number;
  }[];
}

/** What a source has given so far, over all processes. */
export interface SourceUse {
  name: string;
  /** Share of the tokens: the weight over the sum. */
  share: number;
  /** S */
  sequences: number;
  drawnSequences: number;
  drawnTokens: number;
  /** Passes: sequences drawn / S. */
  epochs: number;
}

export interface MixtureBatch extends Batch {
  /** [B]: which source each row is from. */
  source_B: Uint16Array;
  sequence_B: Int32Array;
}

export interface Mixture {
  readonly batch: number;
  readonly sequence: number;
  /** Batches of this process after which as many sequences were drawn as all sources have: what is called an epoch here. */
  readonly batchesPerEpoch: number;
  readonly tokensPerEpoch: number;
  /** The next batch, in arrays of its own. */
  next(): MixtureBatch;
  state(): MixturePosition;
  /** Continues exactly where `state` was taken; batch and number of processes may differ. DataError for other data. */
  restore(state: MixturePosition): void;
  use(): SourceUse[];
  close(): void;
}

/** A seed of 48 bits for one source: other sources may come and go without changing its order. */
function seedOf(seed: number, name: string): number {
  return Number.parseInt(createHasher().update(`${seed}\n${name}`).hex().slice(0, 12), 16);
}

/**
 * Makes a mixture, at its first draw.
 *
 * @throws UsageError for weights, sizes, a share or a curriculum that make no sense; FormatError for sources of different
 *   tokenizers or sequence lengths
 */
export function createMixture(options: MixtureOptions): Mixture {
  const { sources, batch, seed } = options;
  checkOptions(options);
  const { index: part, count } = shareOf(options);
  const { endOfText } = sources[0];
  const sequence = sources[0].sequences.length;
  const parts = partsOf(sources.map(({ weight }) => weight));
  const whole = parts.reduce((a, b) => a + b, 0);
  const shares = createShares(parts);
  const seeds = sources.map(({ name }) => seedOf(seed, name));
  const allowed = options.curriculum && competence(options.curriculum);
  const paced = sources.map(() => 0);
  const orders = sources.map(() => ({ epoch: -1, at: (place: number) => place }));
  const inAll = sources.reduce((sum, source) => sum + source.sequences.count, 0);
  let [epochOf, index] = [0, 0];

  /** The sequence that draw d takes, being the c-th of source s. */
  function sequenceOf(s: number, c: number, share: number): number {
    const { order, sequences } = sources[s];
    const S = sequences.count;
    if (order && share < 1) return order.sequenceAt(Math.floor(uniformAt(seeds[s], c) * Math.max(1, share * S)));
    const place = c - paced[s];
    const epoch = Math.floor(place / S);
    if (orders[s].epoch !== epoch) orders[s] = { epoch, at: createPermutation(S, seeds[s], epoch) };
    return orders[s].at(place % S);
  }

  const curriculumText = () =>
    options.curriculum
      ? JSON.stringify([options.curriculum, sources.map(({ order }) => order?.identity ?? null)])
      : null;
  const curriculum = curriculumText() === null ? null : createHasher().update(curriculumText()!).hex();
  const state = (): MixturePosition => ({
    version: 1,
    kind: "mixture",
    seed,
    sequence,
    curriculum,
    sources: sources.map(({ name, sequences }, s) => ({
      name,
      part: parts[s],
      data: sequences.identity,
      drawn: shares.counts[s],
      paced: paced[s],
    })),
  });
  const batchesPerEpoch = Math.max(1, Math.floor(inAll / (batch * count)));

  function nextBatch(): MixtureBatch {
    const tokens_BT = new Int32Array(batch * sequence);
    const targets_BT = new Int32Array(batch * sequence);
    const source_B = new Uint16Array(batch);
    const sequence_B = new Int32Array(batch);
    const epoch = Math.floor(shares.draws / inAll);
    index = epoch === epochOf ? index : 0;
    epochOf = epoch;
    for (let slot = 0; slot < batch * count; slot++) {
      const share = allowed ? allowed(shares.draws * sequence) : 1;
      const s = shares.next();
      const c = shares.counts[s] - 1;
      if (share < 1 && sources[s].order) paced[s]++;
      const b = slot - part * batch;
      if (b < 0 || b >= batch) continue;
      const [from, to] = [b * sequence, (b + 1) * sequence];
      sequence_B[b] = sequenceOf(s, c, share);
      sources[s].sequences.read(sequence_B[b], tokens_BT.subarray(from, to), targets_BT.subarray(from, to));
      source_B[b] = s;
    }
    const result: MixtureBatch = { tokens_BT, targets_BT, source_B, sequence_B, epoch, index: index++ };
    if (options.documentStarts) result.documentStart_BT = documentStarts(tokens_BT, sequence, endOfText);
    if (options.lossAfter) ignoreBeforeMarker(tokens_BT, targets_BT, sequence, options.lossAfter, endOfText);
    return result;
  }

  return {
    batch,
    sequence,
    batchesPerEpoch,
    tokensPerEpoch: batchesPerEpoch * batch * sequence,
    // Where several processes share the draws, each has to draw as often as the others: there nothing is skipped.
    next: () => (options.lossAfter && count === 1 ? nextCounted(nextBatch, batchesPerEpoch) : nextBatch()),
    state,
    restore(saved) {
      checkPosition(saved, state());
      shares.restore(saved.sources.map(({ drawn }) => drawn));
      for (const [s, { paced: count }] of saved.sources.entries()) paced[s] = count;
      epochOf = Math.floor(shares.draws / inAll);
      index = Math.floor((shares.draws - epochOf * inAll) / (batch * count));
    },
    use: () =>
      sources.map(({ name, sequences }, s) => ({
        name,
        share: parts[s] / whole,
        sequences: sequences.count,
        drawnSequences: shares.counts[s],
        drawnTokens: shares.counts[s] * sequence,
        epochs: shares.counts[s] / sequences.count,
      })),
    close() {
      for (const source of sources) {
        source.order?.close();
        source.close?.();
      }
    },
  };
}

function shareOf({ share, rank, world }: MixtureOptions): Share {
  if (share && (rank !== undefined || world !== undefined))
    throw new UsageError("name the process's part once: as share, not by rank and world too");
  return share ?? { index: rank ?? wholeShare.index, count: world ?? wholeShare.count };
}

function checkOptions(options: MixtureOptions): void {
  const { sources, batch, seed } = options;
  if (!(Number.isInteger(batch) && batch >= 1))
    throw new UsageError(`batch is ${batch}; expected a whole number from 1`);
  if (!(Number.isSafeInteger(seed) && seed >= 0))
    throw new UsageError(`seed is ${seed}; expected a whole number from 0`);
  checkShare(shareOf(options));
  if (sources.length === 0) throw new UsageError("a mixture has no sources; name at least one");
  const [first] = sources;
  for (const { name, sequences, vocabSize, endOfText } of sources) {
    if (sources.filter((other) => other.name === name).length > 1)
      throw new UsageError(`two sources of the mixture are called "${name}"; give each a name of its own`);
    if (sequences.length !== first.sequences.length)
      throw new FormatError(
        `source "${name}" has sequences of ${sequences.length} tokens, "${first.name}" of ${first.sequences.length}; prepare them with one length`,
      );
    if (vocabSize !== first.vocabSize || endOfText !== first.endOfText)
      throw new FormatError(
        `source "${name}" was made with another tokenizer than "${first.name}"; prepare them with one`,
      );
  }
}

function checkPosition(saved: MixturePosition, own: MixturePosition): void {
  const refuse = (what: string) =>
    new DataError(
      `cannot continue from the saved data position: ${what}; continue with the same data and settings, or start anew`,
    );
  if (saved.kind !== "mixture") throw refuse("it is of one text, this run's data are a mixture");
  for (const name of ["version", "seed", "sequence"] as const)
    if (saved[name] !== own[name]) throw refuse(`its ${name} is ${saved[name]}, this run's is ${own[name]}`);
  if (saved.curriculum !== own.curriculum) throw refuse("its curriculum is another one than this run's");
  const names = (position: MixturePosition) => position.sources.map(({ name }) => name).join(", ");
  if (names(saved) !== names(own)) throw refuse(`its sources are ${names(saved)}, this run's are ${names(own)}`);
  for (const [s, { name, data, part, drawn, paced }] of saved.sources.entries()) {
    if (data !== own.sources[s].data) throw refuse(`the content of its source "${name}" was another`);
    if (part !== own.sources[s].part)
      throw refuse(`the share of its source "${name}" was ${part} parts, this run's is ${own.sources[s].part}`);
    if (!(Number.isSafeInteger(paced) && paced >= 0 && paced <= drawn))
      throw refuse(`source "${name}" had ${paced} of ${drawn} draws under the curriculum`);
  }
}
