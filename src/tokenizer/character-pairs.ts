/**
 * Which characters merges ever join: a pair of characters stands here if some merge puts a token that ends in the one
 * before a token that begins with the other. Between two characters of no such pair no token can lie, in any text, so a
 * text may be cut there and its parts merged by themselves: the merges on one side do not see the other. That is how the
 * words of a tokenizer without pre-tokenizer (LLaMA-2's) are found, exactly.
 */

/** For threads to share: of ASCII a table of bits, one byte each, at (first << 7) | second; of the rest a hash table. */
export interface PairTables {
  ascii: Uint8Array;
  /** Two numbers a slot; -1 where empty. */
  slots: Int32Array;
}

export class CharacterPairs {
  readonly ascii: Uint8Array;
  private readonly slots: Int32Array;
  private readonly mask: number;

  constructor({ ascii, slots }: PairTables) {
    this.ascii = ascii;
    this.slots = slots;
    this.mask = slots.length / 2 - 1;
  }

  has(first: number, second: number): boolean {
    if ((first | second) < 0x80) return this.ascii[(first << 7) | second] !== 0;
    return this.slots[locate(this.slots, this.mask, first, second)] >= 0;
  }
}

/** Of `count` pairs of code points; the same pair may come often. */
export function pairTables(count: number, first: (i: number) => number, second: (i: number) => number): PairTables {
  const ascii = new Uint8Array(128 * 128);
  let slots = new Int32Array(2 * 1024).fill(-1);
  let size = 0;
  const add = (first: number, second: number) => {
    const at = locate(slots, slots.length / 2 - 1, first, second);
    if (slots[at] >= 0) return;
    slots[at] = first;
    slots[at + 1] = second;
    if (++size * 4 < slots.length) return;
    const before = slots;
    slots = new Int32Array(before.length * 2).fill(-1);
    size = 0;
    for (let i = 0; i < before.length; i += 2) if (before[i] >= 0) add(before[i], before[i + 1]);
  };
  for (let i = 0; i < count; i++) {
    const [a, b] = [first(i), second(i)];
    if ((a | b) < 0x80) ascii[(a << 7) | b] = 1;
    else add(a, b);
  }
  return { ascii, slots };
}

/** Where the pair is, or would be. */
function locate(slots: Int32Array, mask: number, first: number, second: number): number {
  let h = Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca6b);
  h ^= h >>> 15;
  for (let slot = h & mask; ; slot = (slot + 1) & mask) {
    const at = slot * 2;
    if (slots[at] < 0 || (slots[at] === first && slots[at + 1] === second)) return at;
  }
}
