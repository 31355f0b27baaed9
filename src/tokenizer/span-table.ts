/**
 * A hash table whose keys are stretches of UTF-8: each distinct stretch gets a number, 0, 1, 2, ... in order of first
 * meeting, and room for two numbers of the owner's. Looking one up makes no string. The trainer counts pre-tokens with it,
 * the encoder remembers their tokens.
 *
 * Open addressing, at most half full. A slot is eight numbers, so that a look-up touches one line of the cache: a key of up
 * to 16 bytes lies in the slot itself and is compared as four numbers; of a longer one the slot holds the hash, and the
 * bytes lie with the others, end to end.
 */
import type { Utf8Buffer } from "./utf8-buffer.ts";

/** Numbers in a slot: the key's four (or hash, 0, 0, 0), its length, the stretch's number + 1 (0: empty), the owner's two. */
const SLOT = 8;
const LENGTH = 4;
const NUMBER = 5;
/** Where in a slot the owner's two numbers are. */
export const OWN = 6;

const INLINE = 16;

/** What is left of four numbers read from a text, for each length of key: masks[4 n] to masks[4 n + 3]. */
const masks = (() => {
  const bytes = new Uint8Array((INLINE + 1) * 16);
  for (let n = 0; n <= INLINE; n++) bytes.fill(0xff, n * 16, n * 16 + n);
  return new Int32Array(bytes.buffer);
})();

/** What a table is made of: plain, so that it can be handed to a thread. */
export interface SpanTables {
  size: number;
  slots: Int32Array;
  /** Stretch i is bytes[starts[i], starts[i + 1]). */
  starts: Int32Array;
  bytes: Uint8Array;
}

export class SpanTable implements SpanTables {
  /** Stretches held. */
  size = 0;
  slots = new Int32Array(4096 * SLOT);
  starts = new Int32Array(1025);
  bytes = new Uint8Array(16384);
  private mask = 4095;

  /** The table of which these are the parts. Nothing may be added where they are shared. */
  static of({ size, slots, starts, bytes }: SpanTables): SpanTable {
    const table = new SpanTable();
    Object.assign(table, { size, slots, starts, bytes, mask: slots.length / SLOT - 1 });
    return table;
  }

  /** Its parts. */
  tables(): SpanTables {
    const { size, slots, starts, bytes } = this;
    return { size, slots, starts, bytes };
  }

  /** Bytes held by all keys together. */
  get byteCount(): number {
    return this.starts[this.size];
  }

  /** Where in `slots` the slot of text[start, end) begins, or -1. The text has SLACK_AFTER bytes behind it. */
  find(text: Utf8Buffer, start: number, end: number): number {
    const { slots, mask } = this;
    const { view } = text;
    const length = end - start;
    if (length > INLINE) return this.findLong(text.bytes, start, end);
    const m = length << 2;
    const k0 = view.getInt32(start, true) & masks[m];
    const k1 = view.getInt32(start + 4, true) & masks[m + 1];
    const k2 = view.getInt32(start + 8, true) & masks[m + 2];
    const k3 = view.getInt32(start + 12, true) & masks[m + 3];
    for (let slot = hashOf(k0, k1, k2, k3, length) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * SLOT;
      if (slots[at + NUMBER] === 0) return -1;
      if (
        slots[at] === k0 &&
        slots[at + 1] === k1 &&
        slots[at + LENGTH] === length &&
        slots[at + 2] === k2 &&
        slots[at + 3] === k3
      )
        return at;
    }
  }

  private findLong(text: Uint8Array, start: number, end: number): number {
    const { slots, mask, starts, bytes } = this;
    const length = end - start;
    const hash = hashOfLong(text, start, end);
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = slot * SLOT;
      const number = slots[at + NUMBER];
      if (number === 0) return -1;
      if (slots[at] !== hash || slots[at + LENGTH] !== length) continue;
      const from = starts[number - 1];
      let i = 0;
      while (i < length && bytes[from + i] === text[start + i]) i++;
      if (i === length) return at;
    }
  }

  /** The number of the stretch whose slot begins at `at`. */
  numberAt(at: number): number {
    return this.slots[at + NUMBER] - 1;
  }

  /** Adds text[start, end), which find did not find. Returns where its slot begins; the next growth moves it. */
  add(text: Utf8Buffer, start: number, end: number): number {
    if ((this.size + 1) * 2 > this.mask + 1) this.growSlots();
    const number = this.size++;
    if (number + 1 >= this.starts.length) this.starts = grown(this.starts, number + 2);
    const from = this.starts[number];
    const to = from + (end - start);
    if (to > this.bytes.length) this.bytes = grown(this.bytes, to);
    this.bytes.set(text.bytes.subarray(start, end), from);
    this.starts[number + 1] = to;
    const length = end - start;
    let hash: number;
    const key = new Int32Array(4);
    if (length > INLINE) {
      hash = hashOfLong(text.bytes, start, end);
      key[0] = hash;
    } else {
      for (let i = 0; i < 4; i++) key[i] = text.view.getInt32(start + 4 * i, true) & masks[length * 4 + i];
      hash = hashOf(key[0], key[1], key[2], key[3], length);
    }
    const at = this.emptySlot(hash);
    this.slots.set(key, at);
    this.slots[at + LENGTH] = length;
    this.slots[at + NUMBER] = number + 1;
    return at;
  }

  /** The bytes of a stretch: a view, valid until the next is added. */
  bytesOf(number: number): Uint8Array {
    return this.bytes.subarray(this.starts[number], this.starts[number + 1]);
  }

  /** Forgets all. */
  clear(): void {
    this.size = 0;
    this.slots.fill(0);
  }

  private emptySlot(hash: number): number {
    const { slots, mask } = this;
    let slot = hash & mask;
    while (slots[slot * SLOT + NUMBER] !== 0) slot = (slot + 1) & mask;
    return slot * SLOT;
  }

  private growSlots(): void {
    const before = this.slots;
    this.slots = new Int32Array(before.length * 2);
    this.mask = this.mask * 2 + 1;
    for (let at = 0; at < before.length; at += SLOT) {
      if (before[at + NUMBER] === 0) continue;
      const length = before[at + LENGTH];
      const hash =
        length > INLINE ? before[at] : hashOf(before[at], before[at + 1], before[at + 2], before[at + 3], length);
      this.slots.set(before.subarray(at, at + SLOT), this.emptySlot(hash));
    }
  }
}

/** Of a key of up to 16 bytes. The products do not wait for each other; the high bits are folded into the low. */
function hashOf(k0: number, k1: number, k2: number, k3: number, length: number): number {
  const b = Math.imul(k1, 0x85ebca6b);
  const c = Math.imul(k2, 0xc2b2ae35);
  const d = Math.imul(k3, 0x27d4eb2f);
  let h = Math.imul(k0, 0x9e3779b1) ^ ((b << 13) | (b >>> 19)) ^ ((c << 7) | (c >>> 25)) ^ ((d << 21) | (d >>> 11));
  h ^= length;
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return h ^ (h >>> 13);
}

function hashOfLong(text: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5 ^ (end - start);
  for (let i = start; i < end; i++) h = Math.imul(h ^ text[i], 0x01000193);
  h ^= h >>> 15;
  return Math.imul(h, 0x2c1b3c6d) ^ (h >>> 12);
}

/** A copy with room for at least `needed`, twice as long as before. */
export function grown<T extends Int32Array | Uint8Array | Float64Array>(array: T, needed: number): T {
  const larger = new (array.constructor as new (length: number) => T)(Math.max(needed, array.length * 2));
  larger.set(array);
  return larger;
}
