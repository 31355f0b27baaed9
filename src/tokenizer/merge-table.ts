/**
 * The merges of a byte-pair encoding and their application: "join the adjacent pair of lowest rank, leftmost first,
 * until none is left" (Sennrich et al., 2016). Over token ids; knows nothing of text.
 *
 * Called by the tokenizers that run merges (byte-level.ts, code-points.ts).
 */

/** Longest sequence merged by looking through all pairs; longer ones (quadratic so) go through a heap. */
const SHORT = 48;

/** Ranks are packed beside a position in a float64 of 53 bits: 21 for the rank, 32 for the position. */
export const MAX_MERGES = 2 ** 21;

const STRIDE = 4; // left, right, rank, merged

/** Merges as a hash table in one array, which threads can share. */
export interface MergeTables {
  size: number;
  slots: Int32Array;
}

/**
 * @param left, right  ids joined by each merge, in order of rank; of equal pairs the last counts, as in Hugging Face's
 * @param merged       the id that they become
 */
export function mergeTables(left: ArrayLike<number>, right: ArrayLike<number>, merged: ArrayLike<number>): MergeTables {
  if (left.length > MAX_MERGES) throw new Error(`merge table: ${left.length} merges, at most ${MAX_MERGES}`);
  let capacity = 16;
  while (capacity < left.length * 1.5) capacity *= 2;
  const slots = new Int32Array(capacity * STRIDE).fill(-1);
  for (let rank = 0; rank < left.length; rank++) {
    const at = locate(slots, left[rank], right[rank]);
    slots[at] = left[rank];
    slots[at + 1] = right[rank];
    slots[at + 2] = rank;
    slots[at + 3] = merged[rank];
  }
  return { size: left.length, slots };
}

/** Offset of the pair's slot, or of the empty one where it would be. */
function locate(slots: Int32Array, left: number, right: number): number {
  const mask = (slots.length >> 2) - 1;
  let h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  h ^= h >>> 15;
  for (let slot = h & mask; ; slot = (slot + 1) & mask) {
    const at = slot * STRIDE;
    const key = slots[at];
    if (key < 0 || (key === left && slots[at + 1] === right)) return at;
  }
}

const NONE = 0x7fffffff;

export class MergeTable {
  readonly size: number;
  private readonly slots: Int32Array;
  // Scratch of apply() for short sequences: of each pair its merge's rank, or NONE, and what it becomes.
  private readonly ranks = new Int32Array(SHORT);
  private readonly merged = new Int32Array(SHORT);

  constructor({ size, slots }: MergeTables) {
    this.size = size;
    this.slots = slots;
  }

  /**
   * Merges ids[0, length) in place; returns the new length. An id below zero (a symbol with no token) joins nothing.
   */
  apply(ids: Int32Array, length: number): number {
    if (length < 2) return length;
    return length <= SHORT ? this.applyShort(ids, length) : this.applyLong(ids, length);
  }

  private applyShort(ids: Int32Array, length: number): number {
    const { ranks, merged } = this;
    for (let i = 0; i < length - 1; i++) this.look(ids, i);
    for (;;) {
      let best = NONE;
      let where = -1;
      for (let i = 0; i < length - 1; i++) {
        if (ranks[i] < best) {
          best = ranks[i];
          where = i;
        }
      }
      if (where < 0) return length;
      ids[where] = merged[where];
      length--;
      for (let i = where + 1; i < length; i++) {
        ids[i] = ids[i + 1];
        ranks[i] = ranks[i + 1];
        merged[i] = merged[i + 1];
      }
      if (where > 0) this.look(ids, where - 1);
      if (where < length - 1) this.look(ids, where);
    }
  }

  /** Finds the merge of the pair at i, for applyShort. */
  private look(ids: Int32Array, i: number): void {
    const { slots } = this;
    const at = ids[i] < 0 ? -1 : locate(slots, ids[i], ids[i + 1]);
    if (at < 0 || slots[at] < 0) {
      this.ranks[i] = NONE;
    } else {
      this.ranks[i] = slots[at + 2];
      this.merged[i] = slots[at + 3];
    }
  }

  /** A doubly linked list of symbols and a heap of (rank, position); n log n whatever the text. */
  private applyLong(ids: Int32Array, length: number): number {
    const { slots } = this;
    const next = new Int32Array(length);
    const previous = new Int32Array(length);
    const heap = new MinHeap(length);
    const push = (i: number) => {
      const j = next[i];
      if (j < 0 || ids[i] < 0) return;
      const at = locate(slots, ids[i], ids[j]);
      if (slots[at] >= 0) heap.push(slots[at + 2] * 4294967296 + i);
    };
    for (let i = 0; i < length; i++) {
      next[i] = i + 1 < length ? i + 1 : -1;
      previous[i] = i - 1;
    }
    for (let i = 0; i < length; i++) push(i);
    const GONE = -0x80000000;
    for (let key = heap.pop(); key >= 0; key = heap.pop()) {
      const i = key % 4294967296;
      const j = next[i];
      if (ids[i] < 0 || j < 0) continue;
      const at = locate(slots, ids[i], ids[j]);
      // A rank belongs to one pair, so an entry whose rank still holds is not stale.
      if (slots[at] < 0 || slots[at + 2] !== Math.floor(key / 4294967296)) continue;
      ids[i] = slots[at + 3];
      ids[j] = GONE;
      next[i] = next[j];
      if (next[j] >= 0) previous[next[j]] = i;
      if (previous[i] >= 0) push(previous[i]);
      push(i);
    }
    let count = 0;
    for (let i = 0; i >= 0; i = next[i]) ids[count++] = ids[i];
    return count;
  }
}

/** A binary heap of numbers, smallest first. */
class MinHeap {
  private keys: Float64Array;
  private size = 0;

  constructor(capacity: number) {
    this.keys = new Float64Array(capacity * 3 + 1); // each of the n - 1 merges pushes at most two, after n at the start
  }

  push(key: number): void {
    const { keys } = this;
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[i] = keys[parent];
      i = parent;
    }
    keys[i] = key;
  }

  /** The smallest, taken out; -1 when empty. */
  pop(): number {
    const { keys } = this;
    if (this.size === 0) return -1;
    const top = keys[0];
    const last = keys[--this.size];
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= last) break;
      keys[i] = keys[child];
      i = child;
    }
    keys[i] = last;
    return top;
  }
}
