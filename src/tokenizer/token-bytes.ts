/**
 * The bytes of each token of a vocabulary in one piece of memory: an array for each would be, of a hundred thousand tokens of a
 * few bytes, some 25 MB. Called by bpe-tokenizer.ts.
 */

export class TokenBytes {
  private bytes: Uint8Array;
  /** Of each id, where its bytes end; they begin where those of the id before end. */
  private readonly ends: Int32Array;
  private readonly present: Uint8Array;

  /** @param bytesOf the bytes of the token with this id; undefined where there is none */
  constructor(count: number, bytesOf: (id: number) => Uint8Array | undefined) {
    this.present = new Uint8Array(count);
    this.bytes = new Uint8Array(8 * count);
    this.ends = new Int32Array(count);
    let end = 0;
    for (let id = 0; id < count; id++) {
      const own = bytesOf(id);
      if (own) {
        if (end + own.length > this.bytes.length) this.resize(2 * (end + own.length));
        this.bytes.set(own, end);
        end += own.length;
        this.present[id] = 1;
      }
      this.ends[id] = end;
    }
    this.resize(end);
  }

  /** The bytes themselves, not to be changed; undefined for an id without a token. */
  get(id: number): Uint8Array | undefined {
    return this.present[id] === 1 ? this.bytes.subarray(id === 0 ? 0 : this.ends[id - 1], this.ends[id]) : undefined;
  }

  private resize(length: number): void {
    const resized = new Uint8Array(length);
    resized.set(this.bytes.subarray(0, Math.min(length, this.bytes.length)));
    this.bytes = resized;
  }
}
