/**
 * The inner loop of BPE training: which pairs of tokens to join, in which order. Over ids; knows nothing of text.
 *
 * Each pair's count and places are kept up to date as tokens are joined, so a merge costs as much as the pair occurs;
 * the words are never read through again. The most frequent pair comes from a heap whose entries may be out of date:
 * one is put back with its true count when it comes up.
 */
export interface Words {
  /** The words' symbols end to end: word i is symbols[starts[i], starts[i + 1]). Changed. */
  symbols: Int32Array;
  starts: Int32Array;
  /** How often each word occurs. */
  counts: Float64Array;
}

export interface LearnOptions {
  /** Id of the first merge's token; the others follow. */
  firstId: number;
  /** Merges to make at most. */
  limit: number;
  minFrequency: number;
  onMerge?: (made: number) => void;
}

const GONE = -1;

/** @returns the ids joined, in order: merge i makes id firstId + i */
export function learnMerges(words: Words, { firstId, limit, minFrequency, onMerge }: LearnOptions) {
  const { symbols, starts, counts } = words;
  const n = symbols.length;
  const next = new Int32Array(n);
  const previous = new Int32Array(n);
  const weight = new Float64Array(n);
  for (let word = 0; word + 1 < starts.length; word++) {
    for (let i = starts[word]; i < starts[word + 1]; i++) {
      next[i] = i + 1 < starts[word + 1] ? i + 1 : -1;
      previous[i] = i > starts[word] ? i - 1 : -1;
      weight[i] = counts[word];
    }
  }

  const pairs = new PairSet(firstId + limit);
  for (let i = 0; i < n; i++) if (next[i] >= 0) pairs.addPlace(symbols[i], symbols[next[i]], i, weight[i]);
  const heap = new PairHeap(pairs);
  for (let pair = 0; pair < pairs.size; pair++) heap.push(pair);

  const left: number[] = [];
  const right: number[] = [];
  while (left.length < limit) {
    const pair = heap.pop();
    if (pair < 0) break;
    const count = pairs.counts[pair];
    if (count < minFrequency) break;
    const a = pairs.lefts[pair];
    const b = pairs.rights[pair];
    const merged = firstId + left.length;
    left.push(a);
    right.push(b);
    const firstNew = pairs.size;
    // Places come in rising order, so of overlapping pairs ("aaa") the leftmost is joined.
    for (const i of pairs.takePlaces(pair)) {
      const j = next[i];
      if (symbols[i] !== a || j < 0 || symbols[j] !== b) continue; // joined with another neighbour since
      const w = weight[i];
      const before = previous[i];
      const after = next[j];
      if (before >= 0) {
        pairs.lower(symbols[before], a, w);
        pairs.addPlace(symbols[before], merged, before, w);
      }
      if (after >= 0) {
        pairs.lower(b, symbols[after], w);
        pairs.addPlace(merged, symbols[after], i, w);
        previous[after] = i;
      }
      symbols[i] = merged;
      symbols[j] = GONE;
      next[i] = after;
    }
    pairs.counts[pair] = 0;
    // Only pairs with the new token can have grown, and they are all new.
    for (let grown = firstNew; grown < pairs.size; grown++) heap.push(grown);
    onMerge?.(left.length);
  }
  return { left, right };
}

/** Pairs by number: their ids, true counts, and the places where they (at least once) stood. */
class PairSet {
  size = 0;
  readonly lefts: number[] = [];
  readonly rights: number[] = [];
  readonly counts: number[] = [];
  private readonly places: number[][] = [];
  private readonly numbers = new Map<number, number>();
  private readonly vocabSize: number;

  constructor(vocabSize: number) {
    this.vocabSize = vocabSize;
  }

  addPlace(left: number, right: number, place: number, weight: number): void {
    const key = left * this.vocabSize + right;
    let pair = this.numbers.get(key);
    if (pair === undefined) {
      pair = this.size++;
      this.numbers.set(key, pair);
      this.lefts.push(left);
      this.rights.push(right);
      this.counts.push(0);
      this.places.push([]);
    }
    this.counts[pair] += weight;
    this.places[pair].push(place);
  }

  lower(left: number, right: number, weight: number): void {
    this.counts[this.numbers.get(left * this.vocabSize + right)!] -= weight;
  }

  takePlaces(pair: number): number[] {
    const places = this.places[pair];
    this.places[pair] = [];
    return places;
  }
}

/** Pairs, the most frequent first; of equals the smaller left id, then the smaller right id. Counts may only have sunk. */
class PairHeap {
  private readonly pairs: PairSet;
  private readonly entries: number[] = [];
  /** The count that each pair was put in with. */
  private readonly keys: number[] = [];

  constructor(pairs: PairSet) {
    this.pairs = pairs;
  }

  push(pair: number): void {
    this.keys[pair] = this.pairs.counts[pair];
    if (this.keys[pair] <= 0) return;
    const { entries } = this;
    let i = entries.length;
    entries.push(pair);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.before(pair, entries[parent])) break;
      entries[i] = entries[parent];
      i = parent;
    }
    entries[i] = pair;
  }

  /** The pair with the highest true count, taken out; -1 when there is none. */
  pop(): number {
    for (;;) {
      if (this.entries.length === 0) return -1;
      const pair = this.takeTop();
      if (this.keys[pair] === this.pairs.counts[pair]) return pair;
      this.push(pair);
    }
  }

  private before(a: number, b: number): boolean {
    const { keys, pairs } = this;
    if (keys[a] !== keys[b]) return keys[a] > keys[b];
    if (pairs.lefts[a] !== pairs.lefts[b]) return pairs.lefts[a] < pairs.lefts[b];
    return pairs.rights[a] < pairs.rights[b];
  }

  private takeTop(): number {
    const { entries } = this;
    const top = entries[0];
    const last = entries.pop()!;
    if (entries.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= entries.length) break;
      if (child + 1 < entries.length && this.before(entries[child + 1], entries[child])) child++;
      if (!this.before(entries[child], last)) break;
      entries[i] = entries[child];
      i = child;
    }
    entries[i] = last;
    return top;
  }
}
