// Oracle: the stream itself. A stream whose tokens are 0, 1, 2, ... says of every target which token it was, so "each
// exactly once" is counted, not assumed.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BatchSource, createBatches, ignoredTarget, sequentialBatches } from "./batches.ts";
import { createPermutation } from "./permutation.ts";
import { streamOfTokens } from "./token-stream.ts";

/** Tokens 0 .. n-1, each its own position; the end-of-text token is one that does not occur. */
const counting = (n: number, identity?: string) =>
  streamOfTokens(
    Array.from({ length: n }, (_, i) => i),
    { vocabSize: n + 1, endOfText: n, textBytes: n, identity },
  );

/** Documents of the given lengths over 1, 2, 3, ...; 0 is the end-of-text token. */
function documentsOf(lengths: readonly number[]) {
  let next = 1;
  const tokens = lengths.flatMap((length) => [...Array.from({ length }, () => next++), 0]);
  return { tokens, stream: streamOfTokens(tokens, { vocabSize: next, endOfText: 0, textBytes: 1 }) };
}

function epochTargets(source: BatchSource): number[] {
  const targets: number[] = [];
  for (let i = 0; i < source.batchesPerEpoch; i++) targets.push(...source.next().targets_BT);
  return targets;
}

const sizes = {
  n: fc.integer({ min: 2, max: 2000 }),
  batch: fc.integer({ min: 1, max: 9 }),
  sequence: fc.integer({ min: 1, max: 40 }),
  seed: fc.integer({ min: 0, max: 2 ** 53 - 1 }),
};

test("the permutation is one: every item once, for any size, seed and stream", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), sizes.seed, fc.integer({ min: 0, max: 99 }), (n, seed, stream) => {
      const at = createPermutation(n, seed, stream);
      expect(new Set(Array.from({ length: n }, (_, i) => at(i))).size).toBe(n);
    }),
    { numRuns: 60, seed: 3 },
  );
});

test("the permutation works for sizes past 2^32, and its places are spread evenly", () => {
  const n = 2 ** 40 + 7;
  const at = createPermutation(n, 5, 0);
  const tenths = new Array(10).fill(0);
  for (let i = 0; i < 5000; i++) tenths[Math.floor((at(i) / n) * 10)]++;
  // 500 expected in each, standard deviation 21: five of them.
  for (const count of tenths) expect(Math.abs(count - 500)).toBeLessThan(106);
});

test("each item is first about equally often over seeds, also in small permutations", () => {
  const n = 7;
  const firsts = new Array(n).fill(0);
  for (let seed = 0; seed < 7000; seed++) firsts[createPermutation(n, seed, 0)(0)]++;
  // 1000 expected, standard deviation 29.
  for (const count of firsts) expect(Math.abs(count - 1000)).toBeLessThan(147);
});

test("one epoch has every token as a target at most once, and all but the stated rest", () => {
  fc.assert(
    fc.property(sizes.n, sizes.batch, sizes.sequence, sizes.seed, fc.boolean(), (n, batch, sequence, seed, shuffle) => {
      fc.pre(Math.floor((n - 1) / sequence) >= batch);
      const source = createBatches({ tokens: counting(n), batch, sequence, seed, shuffle });
      for (let epoch = 0; epoch < 2; epoch++) {
        const targets = epochTargets(source);
        expect(targets.length).toBe(source.tokensPerEpoch);
        expect(new Set(targets).size).toBe(targets.length);
        expect(Math.min(...targets)).toBeGreaterThan(0);
        // What is left out: the first token, the end that fills no sequence, the sequences that fill no batch.
        expect(n - 1 - targets.length).toBeLessThan(batch * sequence + sequence);
        const sequences = Math.floor((n - 1) / sequence);
        if (sequences % batch === 0) expect(n - 1 - targets.length).toBe((n - 1) % sequence);
      }
    }),
    { numRuns: 150, seed: 4 },
  );
});

test("targets are the tokens that follow, and rows are runs of the stream", () => {
  const source = createBatches({ tokens: counting(500), batch: 4, sequence: 16, seed: 1 });
  for (let i = 0; i < 20; i++) {
    const { tokens_BT, targets_BT } = source.next();
    expect(tokens_BT.length).toBe(64);
    for (let k = 0; k < 64; k++) {
      expect(targets_BT[k]).toBe(tokens_BT[k] + 1);
      if (k % 16 > 0) expect(tokens_BT[k]).toBe(tokens_BT[k - 1] + 1);
      else expect(tokens_BT[k] % 16).toBe(0);
    }
  }
});

test("a seed gives one order, other seeds and epochs give others; unshuffled keeps the text's order", () => {
  const make = (seed: number, shuffle = true) =>
    createBatches({ tokens: counting(1001), batch: 5, sequence: 10, seed, shuffle });
  const one = make(1);
  const first = epochTargets(one);
  const second = epochTargets(one);
  expect(epochTargets(make(1))).toEqual(first);
  expect(second).not.toEqual(first);
  expect([...second].sort((a, b) => a - b)).toEqual([...first].sort((a, b) => a - b));
  expect(epochTargets(make(2))).not.toEqual(first);
  expect(epochTargets(make(1, false))).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
});

test("batches say their epoch and their place in it", () => {
  const source = createBatches({ tokens: counting(41), batch: 2, sequence: 10, seed: 1 });
  const places = Array.from({ length: 5 }, () => source.next()).map(({ epoch, index }) => [epoch, index]);
  expect(places).toEqual([
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
    [2, 0],
  ]);
});

test("restored from a state that went through JSON, it continues identically from any batch", () => {
  fc.assert(
    fc.property(sizes.seed, fc.integer({ min: 0, max: 30 }), fc.boolean(), (seed, steps, shuffle) => {
      const make = () =>
        createBatches({ tokens: counting(300), batch: 3, sequence: 9, seed, shuffle, documentStarts: true });
      const going = make();
      for (let i = 0; i < steps; i++) going.next();
      const resumed = make();
      resumed.next();
      resumed.restore(JSON.parse(JSON.stringify(going.state())));
      expect(resumed.state()).toEqual(going.state());
      for (let i = 0; i < 25; i++) expect(resumed.next()).toEqual(going.next());
    }),
    { numRuns: 40, seed: 5 },
  );
});

test("a state of other data or settings is refused, naming what differs", () => {
  const options = { tokens: counting(300, "A"), batch: 3, sequence: 9, seed: 1 };
  const state = createBatches(options).state();
  const refuse = (change: object) => () => createBatches({ ...options, ...change }).restore(state);
  expect(refuse({ batch: 4 })).toThrow("its batch is 3, this run's is 4");
  expect(refuse({ sequence: 8 })).toThrow("its sequence is 9");
  expect(refuse({ seed: 2 })).toThrow("its seed is 1");
  expect(refuse({ shuffle: false })).toThrow("its shuffle is true");
  expect(refuse({ tokens: counting(300, "B") })).toThrow("its data is A, this run's is B");
  expect(() => createBatches(options).restore({ ...state, index: 99 })).toThrow("batch 99 of 11 does not exist");
});

test("data too short for a sequence or a batch are refused with the numbers", () => {
  const make = (n: number, batch: number, sequence: number) => () =>
    createBatches({ tokens: counting(n), batch, sequence, seed: 0 });
  expect(make(64, 1, 64)).toThrow("a sequence of 64 tokens needs 65 tokens of text, but the data have 64");
  expect(make(640, 10, 64)).toThrow(
    "a batch of 10 sequences of 64 tokens needs 641 tokens, but the data have 640 (9 sequences)",
  );
  expect(make(641, 10, 64)().batchesPerEpoch).toBe(1);
  expect(make(10, 0, 1)).toThrow("batch is 0");
  expect(make(10, 1, 1.5)).toThrow("sequence is 1.5");
});

test("documentStart_BT lets a token see back to the end-of-text token before its document, or the row's start", () => {
  const { stream, tokens } = documentsOf([3, 2, 6]);
  // 1 2 3 0 4 5 0 6 7 8 9 10 11 0
  const source = createBatches({ tokens: stream, batch: 1, sequence: 13, seed: 0, documentStarts: true });
  expect([...source.next().documentStart_BT!]).toEqual([0, 0, 0, 3, 3, 3, 6, 6, 6, 6, 6, 6, 6]);
  const rows = createBatches({ tokens: stream, batch: 2, sequence: 5, seed: 0, shuffle: false, documentStarts: true });
  const { tokens_BT, documentStart_BT } = rows.next();
  expect([...tokens_BT]).toEqual(tokens.slice(0, 10));
  expect([...documentStart_BT!]).toEqual([0, 0, 0, 3, 3, 0, 1, 1, 1, 1]);
});

test("for evaluation every token is scored exactly once, in order, for any B, T and stride", () => {
  fc.assert(
    fc.property(
      sizes.n,
      sizes.batch,
      sizes.sequence,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (n, batch, sequence, f) => {
        const stride = 1 + Math.floor(f * (sequence - 1));
        const batches = sequentialBatches({ tokens: counting(n), batch, sequence, stride });
        const scored: number[] = [];
        const wrong: number[] = [];
        let count = 0;
        for (const { tokens_BT, targets_BT } of batches) {
          count++;
          for (let i = 0; i < targets_BT.length; i++) {
            if (targets_BT[i] === ignoredTarget) continue;
            scored.push(targets_BT[i]);
            // The token before, or end-of-text before the first.
            if (tokens_BT[i] !== (targets_BT[i] === 0 ? n : targets_BT[i] - 1)) wrong.push(i);
          }
        }
        expect(wrong).toEqual([]);
        expect(scored).toEqual(Array.from({ length: n }, (_, i) => i));
        expect(count).toBe(batches.batchCount);
        expect(batches.tokenCount).toBe(n);
        expect(batches.textBytes).toBe(n);
      },
    ),
    { numRuns: 100, seed: 6 },
  );
});

test("a stride gives every scored token at least T - stride tokens of context", () => {
  for (const { tokens_BT, targets_BT, index } of sequentialBatches({
    tokens: counting(100),
    batch: 1,
    sequence: 16,
    stride: 4,
  })) {
    const first = targets_BT.findIndex((t) => t !== ignoredTarget);
    expect(first).toBe(index === 0 ? 0 : 12);
    if (index > 0) expect(tokens_BT[0]).toBe(index * 4 - 1);
  }
});

test("end-of-text targets can be left out, and a part of the stream scored", () => {
  const { stream } = documentsOf([3, 2, 6]);
  const scored = (options: object) => {
    const batches = sequentialBatches({ tokens: stream, batch: 2, sequence: 4, ...options });
    const targets = [...batches].flatMap((b) => [...b.targets_BT]).filter((t) => t !== ignoredTarget);
    expect(targets).toHaveLength(batches.tokenCount);
    return { targets, textBytes: batches.textBytes };
  };
  expect(scored({ scoreEndOfText: false }).targets).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  expect(scored({ maxTokens: 5 })).toEqual({ targets: [1, 2, 3, 0, 4], textBytes: undefined });
  expect(scored({ maxTokens: 99 }).textBytes).toBe(1);
  expect(() => sequentialBatches({ tokens: stream, batch: 1, sequence: 4, stride: 5 })).toThrow("stride is 5");
});

test("a stream in memory refuses tokens outside its vocabulary, and no tokens", () => {
  expect(() => streamOfTokens([1, 7], { vocabSize: 7, endOfText: 0 })).toThrow(
    "token 1 is 7; expected an integer from 0 to 6",
  );
  expect(() => streamOfTokens([], { vocabSize: 7, endOfText: 0 })).toThrow("there are no tokens");
});
