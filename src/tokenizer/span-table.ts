/**
 * A hash table whose keys are stretches of text: each distinct stretch gets a number, 0, 1, 2, ... in order of first
 * meeting. Looking one up makes no string. The trainer counts pre-tokens with it, the encoder remembers their tokens.
 *
 * Open addressing, at most half full; the keys' UTF-16 units lie end to end in one array.
 */
export class SpanTable {
  /** Stretches held. */
  size = 0;
  private slots: Int32Array; // number + 1 of the stretch, or 0
  private hashes = new Int32Array(1024);
  private starts = new Int32Array(1025); // stretch i is units[starts[i], starts[i + 1])
  private units = new Uint16Array(16384);

  constructor() {
    this.slots = new Int32Array(4096);
  }

  /** Units held by all keys together. */
  get unitCount(): number {
    return this.starts[this.size];
  }

  /** The hash that find and add want; a lone function so that it is computed once for both. */
  static hash(text: string, start: number, end: number): number {
    let h = 0x811c9dc5 ^ (end - start);
    for (let i = start; i < end; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
    // The low bits choose the slot: fold the high ones in.
    h ^= h >>> 15;
    return Math.imul(h, 0x2c1b3c6d) ^ (h >>> 12);
  }

  /** The number of text[start, end), or -1. */
  find(text: string, start: number, end: number, hash: number): number {
    const { slots, hashes, starts, units } = this;
    const mask = slots.length - 1;
    const length = end - start;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] - 1;
      if (entry < 0) return -1;
      if (hashes[entry] !== hash) continue;
      const from = starts[entry];
      if (starts[entry + 1] - from !== length) continue;
      let i = 0;
      while (i < length && units[from + i] === text.charCodeAt(start + i)) i++;
      if (i === length) return entry;
    }
  }

  /** Adds text[start, end), which find did not find, and returns its number. */
  add(text: string, start: number, end: number, hash: number): number {
    if ((this.size + 1) * 2 > this.slots.length) this.growSlots();
    const entry = this.size++;
    if (entry >= this.hashes.length) {
      this.hashes = grown(this.hashes, entry + 1);
      this.starts = grown(this.starts, entry + 2);
    }
    const from = this.starts[entry];
    const to = from + (end - start);
    if (to > this.units.length) this.units = grown(this.units, to);
    for (let i = start; i < end; i++) this.units[from + i - start] = text.charCodeAt(i);
    this.starts[entry + 1] = to;
    this.hashes[entry] = hash;
    this.place(entry, hash);
    return entry;
  }

  /** The text of a stretch. */
  text(entry: number): string {
    let text = "";
    for (let i = this.starts[entry]; i < this.starts[entry + 1]; i++) text += String.fromCharCode(this.units[i]);
    return text;
  }

  /** Forgets all. */
  clear(): void {
    this.size = 0;
    this.slots.fill(0);
  }

  private place(entry: number, hash: number): void {
    const mask = this.slots.length - 1;
    let slot = hash & mask;
    while (this.slots[slot] !== 0) slot = (slot + 1) & mask;
    this.slots[slot] = entry + 1;
  }

  private growSlots(): void {
    this.slots = new Int32Array(this.slots.length * 2);
    for (let entry = 0; entry < this.size; entry++) this.place(entry, this.hashes[entry]);
  }
}

/** A copy with room for at least `needed`, twice as long as before. */
export function grown<T extends Int32Array | Uint16Array | Uint8Array | Float64Array>(array: T, needed: number): T {
  const larger = new (array.constructor as new (length: number) => T)(Math.max(needed, array.length * 2));
  larger.set(array);
  return larger;
}
