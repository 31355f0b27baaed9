/**
 * What a worker thread of signatures.ts runs: a block of documents to the bytes of one Parquet file, either their
 * signatures (every document) or their distinct shingles (those asked for).
 *
 * Table `signatures`: doc INT64 (source * 2^32 + place), exact_a and exact_b INT64 (128 bits of SHA-256), words INT32,
 * characters INT32, score DOUBLE, overlap INT32 (n-grams shared with held-out text), held INT32 (which text; -1),
 * s000 .. INT32 (MinHash), b00 .. INT64 (bands). Table `shingles`: doc INT64, shingle INT32.
 */
import { sha256Of } from "../../platform/hash.ts";
import type { JobHandler } from "../../platform/workers.ts";
import { findHeldOut, type HeldOutIndex } from "./contamination.ts";
import { bandHash, distinct, drawPermutations, hashShingles, signatureOf } from "./minhash.ts";
import type { ResolvedDedup } from "./options.ts";
import { type Column, parquetBytes, wideColumn } from "./parquet.ts";
import { exactText, hashWords, IntList } from "./words.ts";

export interface SignatureSetup {
  options: ResolvedDedup;
  heldOut: HeldOutIndex | null;
}

export interface Block {
  kind: "signatures" | "shingles";
  source: number;
  /** Place of each text in its source. */
  places: number[];
  texts: string[];
  /** Empty where documents have none. */
  scores: number[];
}

export function createHandler({ options, heldOut }: SignatureSetup): JobHandler<Block, ArrayBuffer> {
  const permutations = drawPermutations(options.permutations, options.seed);
  const words = new IntList();
  const shingles = new IntList();

  function signatures({ source, places, texts, scores }: Block): Column[] {
    const n = texts.length;
    const { near, permutations: P, bands, rows } = options;
    const doc = wideColumn(n);
    const [exactA, exactB] = [wideColumn(n), wideColumn(n)];
    const [wordCounts, characters, overlaps] = [new Int32Array(n), new Int32Array(n), new Int32Array(n)];
    const held = new Int32Array(n).fill(-1);
    // Column after column, each as long as the block.
    const values = near ? new Int32Array(P * n) : new Int32Array(0);
    const bandColumns = Array.from({ length: near ? bands : 0 }, () => wideColumn(n));
    for (const [i, text] of texts.entries()) {
      doc.halves[2 * i] = places[i];
      doc.halves[2 * i + 1] = source;
      const hex = sha256Of(options.exactText === "verbatim" ? text : exactText(text));
      for (const [k, target] of [exactA, exactB].entries())
        for (let half = 0; half < 2; half++)
          target.halves[2 * i + half] = Number.parseInt(hex.slice(16 * k + 8 * half, 16 * k + 8 * half + 8), 16) | 0;
      characters[i] = text.length;
      hashWords(text, words);
      wordCounts[i] = words.length;
      if (heldOut) {
        const found = findHeldOut(words, heldOut);
        overlaps[i] = found.overlap;
        held[i] = found.text;
      }
      if (!near) continue;
      hashShingles(words, options.shingle, shingles);
      signatureOf(shingles.values, shingles.length, permutations, values, n, i);
      for (let b = 0; b < bands; b++) bandHash(values, i + b * rows * n, n, rows, bandColumns[b].halves, 2 * i);
    }
    return [
      { name: "doc", data: doc.data },
      { name: "exact_a", data: exactA.data },
      { name: "exact_b", data: exactB.data },
      { name: "words", data: wordCounts },
      { name: "characters", data: characters },
      { name: "score", data: scores.length > 0 ? Float64Array.from(scores) : new Float64Array(n) },
      { name: "overlap", data: overlaps },
      { name: "held", data: held },
      ...(near
        ? Array.from({ length: P }, (_, p) => ({ name: valueName(p), data: values.subarray(p * n, (p + 1) * n) }))
        : []),
      ...bandColumns.map(({ data }, b) => ({ name: bandName(b), data })),
    ];
  }

  function shingleRows({ source, places, texts }: Block): Column[] {
    const sets = texts.map((text) => {
      hashWords(text, words);
      hashShingles(words, options.shingle, shingles);
      return distinct(shingles.values.subarray(0, shingles.length));
    });
    const total = sets.reduce((sum, set) => sum + set.length, 0);
    const doc = wideColumn(total);
    const shingle = new Int32Array(total);
    let at = 0;
    for (const [i, set] of sets.entries()) {
      shingle.set(set, at);
      for (const end = at + set.length; at < end; at++) {
        doc.halves[2 * at] = places[i];
        doc.halves[2 * at + 1] = source;
      }
    }
    return [
      { name: "doc", data: doc.data },
      { name: "shingle", data: shingle },
    ];
  }

  return (block) => {
    const result = parquetBytes(block.kind === "signatures" ? signatures(block) : shingleRows(block));
    return { result, transfer: [result] };
  };
}

export const valueName = (p: number): string => `s${String(p).padStart(3, "0")}`;
export const bandName = (b: number): string => `b${String(b).padStart(2, "0")}`;
