/**
 * Seeded randomness whose whole state is four 32-bit integers: it is passed in, saved in checkpoints, and gives the same
 * numbers on every machine. xoshiro128** (Blackman & Vigna, 2018), seeded through splitmix32.
 */
export interface Random {
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** Uniform integer in [0, limit), without modulo bias; limit <= 2^32. */
  integer(limit: number): number;
  /** Standard normal (Box-Muller, one value a call so that the state is just the generator's). */
  normal(): number;
  /** Fills `out` with N(0, std²), two values for each pair of 32-bit draws: for weights, where `normal` would be slow. */
  fillNormal(out: Float32Array, std: number): void;
  /** The state, to save. */
  state(): [number, number, number, number];
}

function splitmix32(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x9e3779b9) | 0;
    let t = a ^ (a >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return (t ^ (t >>> 15)) >>> 0;
  };
}

/** Makes a generator from a seed (any integer up to 2^53) or from a saved state. */
export function createRandom(seedOrState: number | readonly [number, number, number, number]): Random {
  let s: [number, number, number, number];
  if (typeof seedOrState === "number") {
    const next = splitmix32((seedOrState % 4294967296) ^ Math.imul(Math.floor(seedOrState / 4294967296), 0x85ebca6b));
    s = [next(), next(), next(), next()];
  } else {
    s = [...seedOrState];
  }
  if (s.every((x) => x === 0)) throw new Error("random: the all-zero state is not a state");

  const rotl = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  function bits(): number {
    const result = Math.imul(rotl(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    return result;
  }
  const uniform = () => ((bits() >>> 5) * 67108864 + (bits() >>> 6)) / 9007199254740992;
  return {
    uniform,
    integer(limit) {
      if (!(limit >= 1 && limit <= 4294967296)) throw new Error(`random: limit ${limit} is not in 1..2^32`);
      // Rejection: values past the last whole multiple of limit would be biased.
      const end = 4294967296 - (4294967296 % limit);
      let x = bits();
      while (x >= end) x = bits();
      return x % limit;
    },
    normal() {
      const u = 1 - uniform(); // (0, 1]: the logarithm is finite
      return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * uniform());
    },
    fillNormal(out, std) {
      for (let i = 0; i < out.length; i += 2) {
        const radius = std * Math.sqrt(-2 * Math.log((bits() + 1) / 4294967296)); // of (0, 1]
        const angle = (2 * Math.PI * bits()) / 4294967296;
        out[i] = radius * Math.cos(angle);
        if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
      }
    },
    state: () => [s[0] >>> 0, s[1] >>> 0, s[2] >>> 0, s[3] >>> 0],
  };
}
