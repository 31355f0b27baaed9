// Oracle: counting. Every token here names its source and its sequence, so what a batch holds is read off it.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DataError, FormatError, UsageError } from "../../platform/errors.ts";
import { sequencesOf } from "../sequences.ts";
import { streamOfTokens } from "../token-stream.ts";
import { joinSequences } from "./join.ts";
import {
  createMixture,
  type Mixture,
  type MixtureOptions,
  type MixturePosition,
  type MixtureSource,
} from "./mixture.ts";

const T = 2;
const vocabSize = 1 << 16;

/** S sequences of two tokens; sequence i of source k begins with token 1000 k + 2 i. */
function source(k: number, S: number, weight: number, more: Partial<MixtureSource> = {}): MixtureSource {
  const tokens = Int32Array.from({ length: S * T + 1 }, (_, i) => 1000 * k + i);
  const stream = streamOfTokens(tokens, { vocabSize, endOfText: vocabSize - 1, identity: `source ${k} of ${S}` });
  return { name: `s${k}`, weight, sequences: sequencesOf(stream, T), endOfText: vocabSize - 1, vocabSize, ...more };
}

const idOf = (token: number) => `${Math.floor(token / 1000)}:${(token % 1000) / T}`;
/** The sequences of some batches, in order, as "source:sequence". */
function drawn(mixture: Mixture, batches: number): string[] {
  return Array.from({ length: batches }, () => {
    const { tokens_BT } = mixture.next();
    return Array.from({ length: mixture.batch }, (_, b) => idOf(tokens_BT[b * T]));
  }).flat();
}

const make = (options: Partial<MixtureOptions> = {}) =>
  createMixture({ sources: [source(0, 10, 5), source(1, 4, 3), source(2, 30, 2)], batch: 4, seed: 7, ...options });

/** 1 to 5 sources of 1 to 40 sequences, weights to 20. */
const anySources = fc.array(
  fc.record({ S: fc.integer({ min: 1, max: 40 }), weight: fc.integer({ min: 1, max: 20 }) }),
  {
    minLength: 1,
    maxLength: 5,
  },
);

describe("a mixture", () => {
  test("gives rows as they stand in the sources, with the token behind each as its target", () => {
    const mixture = make();
    const { tokens_BT, targets_BT, source_B } = mixture.next();
    for (let i = 0; i < tokens_BT.length; i++) {
      expect(targets_BT[i]).toBe(tokens_BT[i] + 1);
      expect(Math.floor(tokens_BT[i] / 1000)).toBe(source_B[Math.floor(i / T)]);
    }
  });

  test("keeps each source within one sequence of its weight after every draw", () => {
    fc.assert(
      fc.property(anySources, fc.nat(1000), (given, seed) => {
        const mixture = createMixture({
          sources: given.map(({ S, weight }, k) => source(k, S, weight)),
          batch: 1,
          seed,
        });
        const sum = given.reduce((total, { weight }) => total + weight, 0);
        let worst = 0;
        for (let n = 1; n <= 150; n++) {
          mixture.next();
          for (const [k, { drawnSequences }] of mixture.use().entries())
            worst = Math.max(worst, Math.abs(drawnSequences - (n * given[k].weight) / sum));
        }
        expect(worst).toBeLessThan(1);
      }),
      { numRuns: 40, seed: 3 },
    );
  });

  test("gives each sequence of a source once in each of its epochs, in another order each time", () => {
    fc.assert(
      fc.property(anySources, fc.nat(1000), (given, seed) => {
        const mixture = createMixture({
          sources: given.map(({ S, weight }, k) => source(k, S, weight)),
          batch: 1,
          seed,
        });
        const all = drawn(mixture, 400);
        for (const [k, { S }] of given.entries()) {
          const own = all.filter((id) => id.startsWith(`${k}:`));
          for (let at = 0; at + S <= own.length; at += S) expect(new Set(own.slice(at, at + S)).size).toBe(S);
          // The epoch that was broken off repeats nothing either.
          const rest = own.slice(own.length - (own.length % S));
          expect(new Set(rest).size).toBe(rest.length);
        }
      }),
      { numRuns: 40, seed: 4 },
    );
    const own = drawn(make({ batch: 1 }), 200).filter((id) => id.startsWith("0:"));
    expect(own.slice(0, 10)).not.toEqual(own.slice(10, 20));
  });

  test("counts epochs of each source by themselves: they differ with the weights", () => {
    const mixture = make({ batch: 10 });
    for (let n = 0; n < 12; n++) mixture.next();
    expect(mixture.use()).toEqual([
      { name: "s0", share: 0.5, sequences: 10, drawnSequences: 60, drawnTokens: 120, epochs: 6 },
      { name: "s1", share: 0.3, sequences: 4, drawnSequences: 36, drawnTokens: 72, epochs: 9 },
      { name: "s2", share: 0.2, sequences: 30, drawnSequences: 24, drawnTokens: 48, epochs: 0.8 },
    ]);
  });

  test("goes on from any step with the same batches, bit for bit, through a file's JSON", () => {
    fc.assert(
      fc.property(anySources, fc.nat(60), fc.nat(2 ** 40), (given, at, seed) => {
        const sources = () => given.map(({ S, weight }, k) => source(k, S, weight));
        const whole = createMixture({ sources: sources(), batch: 3, seed });
        for (let n = 0; n < at; n++) whole.next();
        const saved: MixturePosition = JSON.parse(JSON.stringify(whole.state()));
        const resumed = createMixture({ sources: sources(), batch: 3, seed });
        resumed.restore(saved);
        expect(resumed.state()).toEqual(saved);
        for (let n = 0; n < 20; n++) expect(resumed.next()).toEqual(whole.next());
        expect(resumed.state()).toEqual(whole.state());
      }),
      { numRuns: 40, seed: 5 },
    );
  });

  test("has a position of some hundred bytes a source, however far it is", () => {
    const mixture = make();
    for (let n = 0; n < 500; n++) mixture.next();
    expect(JSON.stringify(mixture.state()).length).toBeLessThan(600);
  });

  test("splits over processes without a draw twice or left out, as one process would draw", () => {
    fc.assert(
      fc.property(
        anySources,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(99),
        (given, batch, world, seed) => {
          const sources = () => given.map(({ S, weight }, k) => source(k, S, weight));
          const alone = createMixture({ sources: sources(), batch: batch * world, seed });
          const ranks = Array.from({ length: world }, (_, rank) =>
            createMixture({ sources: sources(), batch, seed, share: { index: rank, count: world } }),
          );
          for (let n = 0; n < 12; n++) {
            const parts = ranks.map((mixture) => mixture.next());
            const { tokens_BT, targets_BT } = alone.next();
            expect(parts.flatMap((part) => [...part.tokens_BT])).toEqual([...tokens_BT]);
            expect(parts.flatMap((part) => [...part.targets_BT])).toEqual([...targets_BT]);
          }
          for (const mixture of ranks) expect(mixture.state()).toEqual(alone.state());
        },
      ),
      { numRuns: 40, seed: 6 },
    );
  });

  test("goes on with another batch or number of processes, since a position counts draws", () => {
    const first = make({ batch: 6 });
    first.next();
    const rest = drawn(first, 4);
    const start = make({ batch: 6 });
    start.next();
    const smaller = make({ batch: 2 });
    smaller.restore(start.state());
    expect(drawn(smaller, 12)).toEqual(rest);
  });

  test("is named by the seed, and a source's order by the seed and its name alone", () => {
    expect(drawn(make({ seed: 8 }), 20)).not.toEqual(drawn(make(), 20));
    const of = (ids: string[], k: number) => ids.filter((id) => id.startsWith(`${k}:`)).slice(0, 12);
    const other = make({ sources: [source(0, 10, 1), source(3, 7, 9)] });
    expect(of(drawn(other, 100), 0)).toEqual(of(drawn(make(), 100), 0));
  });

  test("calls as many draws an epoch as all sources have sequences", () => {
    const mixture = make({ batch: 4 });
    expect([mixture.batchesPerEpoch, mixture.tokensPerEpoch]).toEqual([11, 88]);
    const epochs = Array.from({ length: 23 }, () => mixture.next()).map(({ epoch, index }) => [epoch, index]);
    expect(epochs[0]).toEqual([0, 0]);
    expect(epochs[10]).toEqual([0, 10]);
    expect(epochs[11]).toEqual([1, 0]);
    expect(epochs[22]).toEqual([2, 0]);
  });

  test("takes several parts as one source", () => {
    const parts = [source(0, 3, 1), source(1, 5, 1)].map(({ sequences }) => sequences);
    const mixture = createMixture({
      sources: [{ ...source(0, 3, 1), name: "both", sequences: joinSequences(parts) }],
      batch: 8,
      seed: 1,
    });
    expect(drawn(mixture, 1).sort()).toEqual(["0:0", "0:1", "0:2", "1:0", "1:1", "1:2", "1:3", "1:4"]);
  });
});

describe("a curriculum", () => {
  /** The hardest sequence is number 0. */
  const backwards = (S: number) => ({ identity: "backwards", sequenceAt: (i: number) => S - 1 - i, close() {} });
  const S = 100;
  const curriculum = { pacing: "linear", start: 0.1, tokens: 400 } as const;
  const paced = (more: Partial<MixtureOptions> = {}) =>
    createMixture({
      sources: [source(0, S, 1, { order: backwards(S) }), source(1, S, 1)],
      batch: 1,
      seed: 3,
      curriculum,
      ...more,
    });
  const places = (ids: string[]) => ids.filter((id) => id.startsWith("0:")).map((id) => S - 1 - Number(id.slice(2)));

  test("draws from the easiest share that pacing allows, and uses all of it", () => {
    // 200 draws of 2 tokens, half of them of the scored source: at draw d the share is 0.1 + 0.9 d / 200.
    const seen = places(drawn(paced(), 200));
    for (const [c, place] of seen.entries()) expect(place).toBeLessThan(S * (0.1 + (0.9 * (2 * c + 1)) / 200) + 1e-9);
    // The bound is reached, too: in the second half more than a third lies above the middle.
    const late = seen.slice(50);
    expect(late.filter((place) => place > 50).length).toBeGreaterThan(late.length / 4);
  });

  test("ends: then every sequence comes once an epoch, counted from there", () => {
    const mixture = paced();
    drawn(mixture, 200);
    const { paced: own } = mixture.state().sources[0];
    expect(own).toBe(100);
    const later = places(drawn(mixture, 2 * S));
    expect(new Set(later).size).toBe(S);
  });

  test("leaves sources without scores in their epochs", () => {
    const ids = drawn(paced(), 200).filter((id) => id.startsWith("1:"));
    expect(new Set(ids).size).toBe(100);
  });

  test("goes on from any step with the same batches, within it and behind it", () => {
    for (const at of [0, 1, 77, 199, 200, 201, 350]) {
      const whole = paced();
      for (let n = 0; n < at; n++) whole.next();
      const resumed = paced();
      resumed.restore(JSON.parse(JSON.stringify(whole.state())));
      for (let n = 0; n < 150; n++) expect(resumed.next()).toEqual(whole.next());
    }
  });

  test("splits over processes as without one", () => {
    const [alone, ...ranks] = [
      paced({ batch: 4 }),
      paced({ batch: 2, share: { index: 0, count: 2 } }),
      paced({ batch: 2, rank: 1, world: 2 }), // as it was called before
    ];
    for (let n = 0; n < 80; n++)
      expect([...alone.next().tokens_BT]).toEqual(ranks.flatMap((rank) => [...rank.next().tokens_BT]));
  });

  test("of other scores, or another pace, is no place to go on from", () => {
    const saved = paced().state();
    expect(() => paced({ curriculum: { ...curriculum, tokens: 500 } }).restore(saved)).toThrow(
      /its curriculum is another one/,
    );
    expect(() => paced({ curriculum: undefined }).restore(saved)).toThrow(DataError);
  });
});

describe("bad input", () => {
  test.for<[string, Partial<MixtureOptions>, new (m: string) => Error, RegExp]>([
    ["no sources", { sources: [] }, UsageError, /has no sources/],
    ["a weight of 0", { sources: [source(0, 3, 0)] }, UsageError, /a weight is 0; expected a number above 0/],
    ["a negative weight", { sources: [source(0, 3, -1)] }, UsageError, /a weight is -1/],
    ["a weight that is none", { sources: [source(0, 3, Number.NaN)] }, UsageError, /a weight is NaN/],
    ["one name twice", { sources: [source(0, 3, 1), source(0, 3, 1)] }, UsageError, /two sources .* "s0"/],
    ["no batch", { batch: 0 }, UsageError, /batch is 0/],
    ["a share that is none", { share: { index: 2, count: 2 } }, UsageError, /share 2 of 2/],
    ["a rank that is none", { rank: 2, world: 2 }, UsageError, /share 2 of 2/],
    ["a share and a rank", { share: { index: 1, count: 2 }, rank: 1, world: 2 }, UsageError, /once/],
    ["a seed that is none", { seed: -1 }, UsageError, /seed is -1/],
    [
      "another length",
      {
        sources: [source(0, 3, 1), { ...source(1, 3, 1), sequences: { ...source(1, 3, 1).sequences, length: 3 } }],
      },
      FormatError,
      /"s1" has sequences of 3 tokens, "s0" of 2/,
    ],
    [
      "another vocabulary",
      { sources: [source(0, 3, 1), source(1, 3, 1, { vocabSize: 9 })] },
      FormatError,
      /"s1" was made with another tokenizer than "s0"/,
    ],
    [
      "a pace that is none",
      { curriculum: { pacing: "linear", start: 0, tokens: 1 } },
      UsageError,
      /curriculum.start is 0/,
    ],
  ])("%s is refused", ([, options, type, message]) => {
    const error = (() => {
      try {
        return make(options);
      } catch (e) {
        return e;
      }
    })();
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toMatch(message);
  });

  test.for<[string, (saved: MixturePosition) => unknown, RegExp]>([
    ["of one text", () => ({ version: 1, data: "x" }), /it is of one text/],
    ["of another seed", (saved) => ({ ...saved, seed: 1 }), /its seed is 1, this run's is 7/],
    ["of another length", (saved) => ({ ...saved, sequence: 9 }), /its sequence is 9, this run's is 2/],
    ["of other sources", (saved) => ({ ...saved, sources: saved.sources.slice(1) }), /its sources are s1, s2/],
    [
      "of other content",
      (saved) => ({ ...saved, sources: saved.sources.map((s) => ({ ...s, data: "other" })) }),
      /content of its source "s0"/,
    ],
    [
      "of other weights",
      (saved) => ({ ...saved, sources: saved.sources.map((s) => ({ ...s, part: 1 })) }),
      /share of its source "s0" was 1 parts, this run's is 5/,
    ],
    [
      "that no draws lead to",
      (saved) => ({ ...saved, sources: saved.sources.map((s, k) => ({ ...s, drawn: 10 * k })) }),
      /0, 10, 20 draws of the sources do not belong/,
    ],
  ])("a position %s is refused", ([, change, message]) => {
    const mixture = make();
    expect(() => mixture.restore(change(mixture.state()) as MixturePosition)).toThrow(DataError);
    expect(() => mixture.restore(change(mixture.state()) as MixturePosition)).toThrow(message);
  });
});
