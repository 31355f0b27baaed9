/**
 * What lm-evaluation-harness takes from Python and JavaScript does otherwise: white space, capitals, and the draw of
 * few-shot examples by `random.Random(seed).sample`, so that the same seed draws the same examples here as there.
 */

const pythonSpace = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const white = new RegExp(`[${pythonSpace}]`, "u");

/**
 * str.rstrip(): JavaScript's trimEnd takes U+FEFF too, and leaves the separators U+001C to U+001F and U+0085. By hand: a
 * pattern for the end looks at each place of each run of white space again.
 */
export function rstrip(text: string): string {
  let to = text.length;
  while (to > 0 && white.test(text[to - 1])) to--;
  return text.slice(0, to);
}

/** str.strip() */
export function strip(text: string): string {
  const kept = rstrip(text);
  let from = 0;
  while (from < kept.length && white.test(kept[from])) from++;
  return kept.slice(from);
}

/** str.capitalize(): the first character in upper case, all others in lower case. */
export function capitalize(text: string): string {
  const [first = ""] = text;
  return first.toUpperCase() + text.slice(first.length).toLowerCase();
}

/** len(str): code points. */
export function countCodePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Python's generator: MT19937 (Matsumoto & Nishimura, 1998), seeded as CPython's `random.Random(int)` seeds it. */
export interface PythonRandom {
  /** getrandbits(32) */
  bits32(): number;
  /** Indices of `random.sample(range(n), k)`, in the order drawn. @throws RangeError for k over n */
  sample(n: number, k: number): number[];
}

const N = 624;
const M = 397;

/** @param seed a whole number from 0 below 2^32 */
export function createPythonRandom(seed: number): PythonRandom {
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
    throw new RangeError(`seed is ${seed}; expected a whole number from 0 below 2^32`);
  const state = initByArray([seed >>> 0]);
  let index = N;
  function bits32(): number {
    if (index >= N) {
      twist(state);
      index = 0;
    }
    let y = state[index++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }
  // _randbelow_with_getrandbits: as many bits as n has, drawn again until they are below n.
  function below(n: number): number {
    const bits = 32 - Math.clz32(n);
    let r = bits32() >>> (32 - bits);
    while (r >= n) r = bits32() >>> (32 - bits);
    return r;
  }
  return {
    bits32,
    sample(n, k) {
      if (!(k >= 0 && k <= n)) throw new RangeError(`cannot draw ${k} of ${n}`);
      const result: number[] = [];
      // A pool for small populations, a set for large ones: they draw different numbers, so the rule must be CPython's.
      const setSize = 21 + (k > 5 ? 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 0);
      if (n <= setSize) {
        const pool = Array.from({ length: n }, (_, i) => i);
        for (let i = 0; i < k; i++) {
          const j = below(n - i);
          result.push(pool[j]);
          pool[j] = pool[n - i - 1];
        }
        return result;
      }
      const taken = new Set<number>();
      for (let i = 0; i < k; i++) {
        let j = below(n);
        while (taken.has(j)) j = below(n);
        taken.add(j);
        result.push(j);
      }
      return result;
    },
  };
}

function initByArray(key: readonly number[]): Uint32Array {
  const mt = new Uint32Array(N);
  mt[0] = 19650218;
  for (let i = 1; i < N; i++) mt[i] = Math.imul(1812433253, mt[i - 1] ^ (mt[i - 1] >>> 30)) + i;
  let i = 1;
  let j = 0;
  const wrap = () => {
    if (i < N) return;
    mt[0] = mt[N - 1];
    i = 1;
  };
  for (let k = Math.max(N, key.length); k > 0; k--) {
    mt[i] = (mt[i] ^ Math.imul(mt[i - 1] ^ (mt[i - 1] >>> 30), 1664525)) + key[j] + j;
    i++;
    j = (j + 1) % key.length;
    wrap();
  }
  for (let k = N - 1; k > 0; k--) {
    mt[i] = (mt[i] ^ Math.imul(mt[i - 1] ^ (mt[i - 1] >>> 30), 1566083941)) - i;
    i++;
    wrap();
  }
  mt[0] = 0x80000000;
  return mt;
}

function twist(mt: Uint32Array): void {
  for (let i = 0; i < N; i++) {
    const y = (mt[i] & 0x80000000) | (mt[(i + 1) % N] & 0x7fffffff);
    mt[i] = mt[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
  }
}
