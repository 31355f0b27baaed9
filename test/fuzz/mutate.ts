/**
 * Seeded damage to a file: what tools of this kind do (bits and bytes, numbers at the edges, pieces cut, doubled and moved),
 * and for text what its syntax lives by (tokens, numbers, deep nesting, long runs). Pure; the same random numbers give the
 * same bytes. Called by run.ts.
 */
import { createRandom, type Random } from "../../src/platform/random.ts";

const numbers = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
const texts = [
  ...["0", "-1", "1e999", "1e-320", "4294967296", "9007199254740993", "9223372036854775807", "NaN", "null", "true"],
  ...['""', "[]", "{}", '"\\u0000"', '"\\ud800"', '{"a":', "[[[[[[[[", "}}}}", ",", ":", "__proto__", "constructor"],
  ...["(a+)+$", "{%", "%}", "{{", "range(1000000000)", "| replace('', 'aaaaaaaa')", "::=", "{0,100000}", "$ref", "#/"],
];

export const randomOf = (seed: number): Random => createRandom(seed);

/** Some two or three changes to the bytes. */
export function mutate(bytes: Uint8Array, random: Random, isText: boolean): Uint8Array {
  let out = bytes;
  const changes = 1 + below(random, 4);
  for (let i = 0; i < changes; i++) out = change(out, random, isText);
  return out;
}

const below = (random: Random, n: number): number => random.integer(Math.max(1, n));

function change(bytes: Uint8Array, random: Random, isText: boolean): Uint8Array {
  const length = bytes.length;
  const at = below(random, length + 1);
  // Most of a file is data: half of the changes go to its first kilobyte, where lengths and counts are.
  const early = random.uniform() < 0.5 ? below(random, Math.min(length, 1024) + 1) : at;
  const copy = new Uint8Array(bytes); // slice() of a Buffer would share its memory
  if (isText && random.uniform() < 0.5) return changeText(bytes, random, early);
  switch (below(random, 8)) {
    case 0:
      if (early < length) copy[early] ^= 1 << below(random, 8);
      return copy;
    case 1:
      if (early < length) copy[early] = below(random, 256);
      return copy;
    case 2:
    case 3: {
      const width = [1, 2, 4, 8][below(random, 4)];
      const value = numbers[below(random, numbers.length)];
      for (let i = 0; i < width && early + i < length; i++) copy[early + i] = i < 4 ? (value >>> (8 * i)) & 255 : 0;
      return copy;
    }
    case 4:
      return copy.subarray(0, at);
    case 5: {
      const end = Math.min(length, early + 1 + below(random, 64));
      return join(bytes.subarray(0, early), bytes.subarray(end));
    }
    case 6: {
      const from = below(random, length + 1);
      const piece = bytes.subarray(from, from + 1 + below(random, 64));
      return join(bytes.subarray(0, early), piece, bytes.subarray(early));
    }
    default: {
      const from = below(random, length + 1);
      copy.set(
        bytes.subarray(from, Math.min(from + 8, length - early + from, length)).subarray(0, length - early),
        early,
      );
      return copy;
    }
  }
}

function changeText(bytes: Uint8Array, random: Random, at: number): Uint8Array {
  const put = (text: string) => join(bytes.subarray(0, at), new TextEncoder().encode(text), bytes.subarray(at));
  switch (below(random, 5)) {
    case 0:
    case 1:
      return put(texts[below(random, texts.length)]);
    case 2: {
      // A number of the text becomes another.
      const text = new TextDecoder("latin1").decode(bytes);
      const found = [...text.matchAll(/-?\d+(\.\d+)?/g)];
      if (found.length === 0) return put("-1");
      const { index, 0: old } = found[below(random, found.length)];
      const value = new TextEncoder().encode(texts[below(random, 7)]);
      return join(bytes.subarray(0, index), value, bytes.subarray(index + old.length));
    }
    case 3:
      return put(["[", '{"a":', "(", "((a)+", " ", "\n", "a"][below(random, 7)].repeat(1 + below(random, 20_000)));
    default: {
      const end = Math.min(bytes.length, at + 1 + below(random, 40));
      return join(bytes.subarray(0, at), bytes.subarray(end));
    }
  }
}

function join(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
