/**
 * Generated documents with planted duplicates, and the judging of a deduplication by them: recall and precision against
 * exact Jaccard similarity of word 5-grams as sets of strings, which shares no code with src/corpus/dedup. A document is
 * computed from its number, so a million of them take no memory. Used by tests and bench/dedup.ts.
 *
 * Of 20 documents 13 are written anew, 2 are copies of one of those (one with other case and spacing), 4 are edited copies
 * that mostly stay above 0.8, and 1 is edited so much that it falls below.
 */
import { createRandom, type Random } from "../../src/platform/random.ts";

const period = 20;
const originals = 13;
export type PlantedKind = "original" | "copy" | "edited" | "decoy";

export interface Planted {
  readonly kind: PlantedKind;
  /** The number of the original that it was made of; its own for an original. */
  readonly original: number;
  readonly text: string;
}

export interface PlantedCorpus {
  documents: number;
  at(number: number): Planted;
}

const consonants = "bcdfghjklmnprstvwz";
const vowels = "aeiou";

/** Word k of the vocabulary, 2 to 4 syllables: its digits in base 90. */
function word(k: number): string {
  let text = "";
  for (let rest = k + 90; rest > 0; rest = Math.floor(rest / 90))
    text += consonants[rest % 18] + vowels[Math.floor((rest % 90) / 18)];
  return text;
}

/** Common words often, rare ones seldom, as in language: log-uniform over 30,000. */
const drawWord = (random: Random): string => word(Math.floor(30000 ** random.uniform()) - 1);

export function plantedCorpus(documents: number, seed: number): PlantedCorpus {
  const randomOf = (purpose: number, number: number) => createRandom(seed * 2 ** 32 + purpose * 2 ** 28 + number);

  function originalWords(number: number): string[] {
    const random = randomOf(0, number);
    return Array.from({ length: 60 + random.integer(240) }, () => drawWord(random));
  }

  function edit(words: string[], random: Random, changes: number): void {
    for (let c = 0; c < changes; c++) {
      const at = random.integer(words.length);
      const kind = random.integer(3);
      if (kind === 0) words[at] = drawWord(random);
      else if (kind === 1) words.splice(at, 1);
      else words.splice(at, 0, drawWord(random));
    }
  }

  /** Sentences of some words, with full stops. */
  const sentences = (words: readonly string[]): string =>
    words
      .map((one, i) => (i % 11 === 0 ? one[0].toUpperCase() + one.slice(1) : one) + (i % 11 === 10 ? "." : ""))
      .join(" ");

  return {
    documents,
    at(number) {
      const place = number % period;
      // Texts are made when they are looked at: to know what is planted where takes no time.
      if (place < originals)
        return {
          kind: "original",
          original: number,
          get text() {
            return sentences(originalWords(number));
          },
        };
      const blocks = Math.max(1, Math.floor(documents / period));
      const source = (random: Random) => random.integer(blocks) * period + random.integer(originals);
      const kind = place < originals + 2 ? "copy" : place === period - 1 ? "decoy" : "edited";
      return {
        kind,
        original: source(randomOf(1, number)),
        get text() {
          const random = randomOf(1, number);
          const words = originalWords(source(random));
          if (kind === "copy") {
            const text = sentences(words);
            return place === originals ? text : text.toUpperCase().replaceAll(". ", ".\n\n");
          }
          // A change touches 5 of the n - 4 shingles: similarity is near (n - 5c) / (n + 5c).
          const most = Math.floor(words.length / 48);
          edit(words, random, kind === "decoy" ? Math.ceil(words.length / 30) : 1 + random.integer(Math.max(1, most)));
          return sentences(words);
        },
      };
    },
  };
}

/** Word 5-grams as strings. */
export function shingleSet(text: string, size = 5): Set<string> {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  return new Set(
    words.slice(0, Math.max(0, words.length - size + 1)).map((_, i) => words.slice(i, i + size).join(" ")),
  );
}

export function jaccardOfSets(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let shared = 0;
  for (const one of a) if (b.has(one)) shared++;
  return a.size + b.size - shared === 0 ? 0 : shared / (a.size + b.size - shared);
}

export interface DedupScore {
  /** Planted pairs (a document and its original) at or above the threshold, and how many came into one cluster. */
  pairs: number;
  found: number;
  recall: number;
  /** Dropped documents, and how many have a duplicate at or above the threshold in the cluster's planted group. */
  dropped: number;
  rightlyDropped: number;
  precision: number;
  /** Planted pairs below the threshold. */
  decoys: number;
}

/** @param kept  for each dropped document, by number, the number of the one that stays */
export function scoreDeduplication(
  corpus: PlantedCorpus,
  kept: ReadonlyMap<number, number>,
  threshold: number,
): DedupScore {
  const score: DedupScore = {
    pairs: 0,
    found: 0,
    recall: 0,
    dropped: kept.size,
    rightlyDropped: 0,
    precision: 0,
    decoys: 0,
  };
  const groups = new Map<number, number[]>();
  for (let i = 0; i < corpus.documents; i++) {
    if (i % period < originals) continue;
    const { original } = corpus.at(i);
    groups.set(original, [...(groups.get(original) ?? [original]), i]);
  }
  let inGroups = 0;
  for (const [original, members] of groups) {
    const sets = new Map(members.map((i) => [i, shingleSet(corpus.at(i).text)]));
    const clusterOf = (i: number) => kept.get(i) ?? i;
    for (const i of members) {
      if (i !== original) {
        if (jaccardOfSets(sets.get(i)!, sets.get(original)!) < threshold) score.decoys++;
        else {
          score.pairs++;
          if (clusterOf(i) === clusterOf(original)) score.found++;
        }
      }
      const stays = kept.get(i);
      if (stays === undefined) continue;
      inGroups++;
      const similar = members.some((k) => k !== i && jaccardOfSets(sets.get(i)!, sets.get(k)!) >= threshold);
      if (similar && sets.has(stays)) score.rightlyDropped++;
    }
  }
  // Dropped documents of no group have no duplicate: they stay uncounted among the right ones.
  if (inGroups > kept.size) throw new Error("a document was counted twice");
  score.recall = score.pairs > 0 ? score.found / score.pairs : 1;
  score.precision = score.dropped > 0 ? score.rightlyDropped / score.dropped : 1;
  return score;
}
