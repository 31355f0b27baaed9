/**
 * SHA-256 (FIPS 180-4) in plain TypeScript: the twin of node/hash.ts for browsers, whose own hashes are asynchronous. Slower
 * than Node's by some five times; a tokenizer's few megabytes do not notice.
 */

/** SHA-256 as 64 hexadecimal digits, fed piece by piece. */
export interface Hasher {
  update(data: Uint8Array | string): Hasher;
  hex(): string;
}

/** Fractions of the cube roots of the first 64 primes, and of the square roots of the first 8. */
const roundConstants = Uint32Array.of(
  0x428a2f98,
  0x71374491,
  0xb5c0fbcf,
  0xe9b5dba5,
  0x3956c25b,
  0x59f111f1,
  0x923f82a4,
  0xab1c5ed5,
  0xd807aa98,
  0x12835b01,
  0x243185be,
  0x550c7dc3,
  0x72be5d74,
  0x80deb1fe,
  0x9bdc06a7,
  0xc19bf174,
  0xe49b69c1,
  0xefbe4786,
  0x0fc19dc6,
  0x240ca1cc,
  0x2de92c6f,
  0x4a7484aa,
  0x5cb0a9dc,
  0x76f988da,
  0x983e5152,
  0xa831c66d,
  0xb00327c8,
  0xbf597fc7,
  0xc6e00bf3,
  0xd5a79147,
  0x06ca6351,
  0x14292967,
  0x27b70a85,
  0x2e1b2138,
  0x4d2c6dfc,
  0x53380d13,
  0x650a7354,
  0x766a0abb,
  0x81c2c92e,
  0x92722c85,
  0xa2bfe8a1,
  0xa81a664b,
  0xc24b8b70,
  0xc76c51a3,
  0xd192e819,
  0xd6990624,
  0xf40e3585,
  0x106aa070,
  0x19a4c116,
  0x1e376c08,
  0x2748774c,
  0x34b0bcb5,
  0x391c0cb3,
  0x4ed8aa4a,
  0x5b9cca4f,
  0x682e6ff3,
  0x748f82ee,
  0x78a5636f,
  0x84c87814,
  0x8cc70208,
  0x90befffa,
  0xa4506ceb,
  0xbef9a3f7,
  0xc67178f2,
);
const initial = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

const blockBytes = 64;

export function createHasher(): Hasher {
  const state = Uint32Array.from(initial);
  const words = new Uint32Array(64);
  /** What has not filled a block yet. */
  const block = new Uint8Array(blockBytes);
  let filled = 0;
  let totalBytes = 0;
  let ended = false;

  function compress(bytes: Uint8Array, at: number): void {
    for (let i = 0; i < 16; i++, at += 4)
      words[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    for (let i = 16; i < 64; i++) {
      const [x, y] = [words[i - 15], words[i - 2]];
      const small0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const small1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      words[i] = words[i - 16] + small0 + words[i - 7] + small1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const big1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const first = (h + big1 + ((e & f) ^ (~e & g)) + roundConstants[i] + words[i]) | 0;
      const big0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const second = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + first) | 0;
      d = c;
      c = b;
      b = a;
      a = (first + second) | 0;
    }
    for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i] += value;
  }

  function feed(bytes: Uint8Array): void {
    totalBytes += bytes.length;
    let at = 0;
    if (filled > 0) {
      at = Math.min(blockBytes - filled, bytes.length);
      block.set(bytes.subarray(0, at), filled);
      filled += at;
      if (filled < blockBytes) return;
      compress(block, 0);
    }
    for (; at + blockBytes <= bytes.length; at += blockBytes) compress(bytes, at);
    block.set(bytes.subarray(at));
    filled = bytes.length - at;
  }

  const self: Hasher = {
    update(data) {
      if (ended) throw new Error("hash: update after hex()");
      feed(typeof data === "string" ? new TextEncoder().encode(data) : data);
      return self;
    },
    hex() {
      if (ended) throw new Error("hash: hex() twice");
      ended = true;
      // A one bit, zeros, and the length in bits at the end of a block.
      const tail = new Uint8Array(filled < 56 ? blockBytes : 2 * blockBytes);
      tail.set(block.subarray(0, filled));
      tail[filled] = 0x80;
      const view = new DataView(tail.buffer);
      view.setUint32(tail.length - 8, Math.floor((totalBytes * 8) / 2 ** 32));
      view.setUint32(tail.length - 4, (totalBytes * 8) % 2 ** 32);
      for (let at = 0; at < tail.length; at += blockBytes) compress(tail, at);
      return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
    },
  };
  return self;
}

/** SHA-256 of bytes, or of a string's UTF-8, in hexadecimal. */
export const sha256Of = (data: Uint8Array | string): string => createHasher().update(data).hex();
