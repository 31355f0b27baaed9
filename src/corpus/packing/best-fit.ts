/**
 * Best-fit-decreasing packing of pieces into sequences of T tokens: Ding et al. 2024, "Fewer Truncations Improve Language
 * Modeling" (arXiv:2404.10830), algorithm 1. Documents are cut only where they are longer than a sequence; each piece, from
 * the longest to the shortest, goes into the fullest sequence that still has room for it, or else opens one.
 *
 * Lengths are whole numbers up to T, so sorting is counting, and the fullest sequence with room is found in log T steps:
 * O(n log T) for n pieces. Called by write-shards.ts, over the documents of one shard.
 */

export interface Fitting {
  /** Sequences used. */
  rows: number;
  /** The sequence of each piece; sequences are numbered by their first piece in the order given. */
  rowOf: Uint32Array;
}

/**
 * Packs pieces of `lengths` (each 1 to T) into sequences of T.
 *
 * Ties are broken by order: of equal lengths the earlier piece is placed first, and of equally full sequences that which was
 * so full last. So the same lengths give the same sequences.
 */
export function fitPieces(lengths: ArrayLike<number>, sequence: number): Fitting {
  const n = lengths.length;
  const places = free(sequence, n);
  const placed = new Uint32Array(n);
  for (const piece of longestFirst(lengths, sequence)) {
    const length = lengths[piece];
    const row = places.take(length);
    placed[piece] = row;
  }
  // Numbered anew by first piece, so that the order of sequences is that of the documents and not of their lengths.
  const number = new Int32Array(places.rows).fill(-1);
  let rows = 0;
  for (let i = 0; i < n; i++) {
    if (number[placed[i]] < 0) number[placed[i]] = rows++;
    placed[i] = number[placed[i]];
  }
  return { rows, rowOf: placed };
}

/** Piece numbers by falling length, equal ones in order. */
function longestFirst(lengths: ArrayLike<number>, most: number): Uint32Array {
  const starts = new Uint32Array(most + 2);
  for (let i = 0; i < lengths.length; i++) {
    const length = lengths[i];
    if (!(Number.isInteger(length) && length >= 1 && length <= most))
      throw new Error(`piece ${i} has ${length} tokens; expected 1 to ${most}`);
    starts[most - length + 1]++;
  }
  for (let k = 1; k < starts.length; k++) starts[k] += starts[k - 1];
  const order = new Uint32Array(lengths.length);
  for (let i = 0; i < lengths.length; i++) order[starts[most - lengths[i]]++] = i;
  return order;
}

/** Sequences by what is free in them: a list for each number of free tokens, and a tree that finds lists with any. */
function free(sequence: number, most: number) {
  /** First row of each list, -1: none; next row behind each row. */
  const head = new Int32Array(sequence + 1).fill(-1);
  const next = new Int32Array(most);
  let leaves = 1;
  while (leaves <= sequence) leaves *= 2;
  const any = new Uint8Array(2 * leaves);
  let rows = 0;
  const mark = (room: number) => {
    for (let node = leaves + room; node >= 1; node >>= 1) {
      const now = node >= leaves ? (head[node - leaves] >= 0 ? 1 : 0) : any[2 * node] | any[2 * node + 1];
      if (any[node] === now) return;
      any[node] = now;
    }
  };
  /** The least room of at least `length` that a row has, or -1. */
  const leastFrom = (length: number): number => {
    let node = leaves + length;
    if (any[node]) return length;
    for (; node > 1; node >>= 1) {
      if ((node & 1) === 1 || !any[node + 1]) continue;
      node++;
      while (node < leaves) node = any[2 * node] ? 2 * node : 2 * node + 1;
      return node - leaves;
    }
    return -1;
  };
  return {
    get rows() {
      return rows;
    },
    take(length: number): number {
      let room = leastFrom(length);
      let row: number;
      if (room < 0) {
        row = rows++;
        room = sequence;
      } else {
        row = head[room];
        head[room] = next[row];
        mark(room);
      }
      const left = room - length;
      next[row] = head[left];
      head[left] = row;
      if (left > 0) mark(left);
      return row;
    },
  };
}
