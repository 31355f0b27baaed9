/**
 * From documents in order to shards: the one writer of both preparations. Where shards begin in the stream of all documents
 * is known before the first is written (`borders`). Shard s of a split holds the documents that begin at tokens
 * [borders[s], borders[s + 1]); or, where documents follow one another over the borders of sequences, those very tokens. So
 * each shard can be written by itself: nothing is handed from one to the next, and a run that was ended, or another machine,
 * takes up at any of them.
 */
import { joinPath } from "../../platform/files.ts";
import type { SplitName, SplitSummary } from "../../data/dataset.ts";
import { createShard, type ShardWriter } from "../../data/shards.ts";
import { fitPieces } from "./best-fit.ts";
import type { DocumentOrder } from "./document-order.ts";

export const packingKinds = ["documents", "concatenate", "best-fit"] as const;
export type PackingKind = (typeof packingKinds)[number];

/**
 * documents: whole, one after another; sequences of any length are cut when they are read, over the borders of shards.
 * concatenate: the same, but every shard holds whole sequences of T. best-fit: documents are fitted into sequences of T,
 * none is cut that is no longer than one, and what stays free is filled up.
 */
export type Packing = { kind: "documents" } | { kind: "concatenate" | "best-fit"; sequence: number };

/** What packing came to. Counts are of documents that begin in the shard, lengths with their end-of-text token. */
export interface PackingCounts {
  sequences: number;
  /** Tokens that fill sequences up. */
  padding: number;
  /** Documents whose tokens lie in more than one sequence. */
  cut: number;
  /** Of those, documents that are longer than a sequence and must be. */
  overLength: number;
}

export interface ShardPlan {
  order: DocumentOrder;
  split: SplitName;
  packing: Packing;
  /** Tokens of a shard; a multiple of T where there is one. */
  shardTokens: number;
  /** Where shards begin, and where the last one ends. */
  borders: readonly number[];
  vocabSize: number;
  endOfText: number;
  tokenizerHash: string;
  /** Keep documents' scores. */
  scores: boolean;
}

export interface WrittenShard {
  entry: SplitSummary["shards"][number];
  counts: PackingCounts;
}

export const shardsOf = ({ borders }: ShardPlan): number => borders.length - 1;

/** Shards of S tokens: a document belongs to the one that it begins in. */
export const evenBorders = ({ tokens }: DocumentOrder, shardTokens: number): number[] => [
  ...Array.from({ length: Math.ceil(tokens / shardTokens) }, (_, s) => s * shardTokens),
  tokens,
];

/** The index of a shard's documents is kept in memory while it is written: 8 MiB at this many. */
const maxShardDocuments = 1 << 20;

/** A shard ends at the first document end past S tokens, or at so many documents. */
export function bordersPast(order: DocumentOrder, shardTokens: number): number[] {
  const borders = [0];
  let [at, documents] = [0, 0];
  for (const length of order.lengths()) {
    at += length;
    if (at - borders[borders.length - 1] < shardTokens && ++documents < maxShardDocuments) continue;
    borders.push(at);
    documents = 0;
  }
  if (at > borders[borders.length - 1]) borders.push(at);
  return borders;
}

export const shardName = (split: SplitName, number: number): string =>
  `${split}-${String(number).padStart(5, "0")}.bin`;

/** Writes shard `number`, whole or not at all. Null where no document begins there, and there is nothing to write. */
export function writeShard(folder: string, number: number, plan: ShardPlan): WrittenShard | null {
  const { packing, vocabSize, endOfText, tokenizerHash, split } = plan;
  const file = shardName(split, number);
  const packed = packing.kind !== "documents" && {
    packing: { sequence: packing.sequence, bestFit: packing.kind === "best-fit", scores: plan.scores },
  };
  const writer = createShard(joinPath(folder, file), { vocabSize, endOfText, tokenizerHash, ...packed });
  try {
    const counts = { documents: addWhole, concatenate: addTokens, "best-fit": addFitted }[packing.kind](
      writer,
      number,
      plan,
    );
    if (writer.tokenCount === 0) {
      writer.abort();
      return null;
    }
    const { tokenCount, documentCount, textBytes, contentHash } = writer.finish();
    return { entry: { file, tokens: tokenCount, documents: documentCount, textBytes, contentHash }, counts };
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/** Documents that begin in the shard. */
function* beginning(number: number, { order, borders }: ShardPlan) {
  const [from, to] = [borders[number], borders[number + 1]];
  for (const document of order.from(from)) {
    if (document.start >= to) return;
    if (document.start >= from) yield document;
  }
}

const none = (): PackingCounts => ({ sequences: 0, padding: 0, cut: 0, overLength: 0 });

function addWhole(writer: ShardWriter, number: number, plan: ShardPlan): PackingCounts {
  for (const { tokens, textBytes } of beginning(number, plan)) writer.add(tokens.subarray(0, -1), textBytes);
  return none();
}

function addTokens(writer: ShardWriter, number: number, plan: ShardPlan): PackingCounts {
  const { order, borders, packing } = plan;
  const T = sequenceOf(packing);
  const [from, to] = [borders[number], borders[number + 1]];
  const counts = none();
  let document = 0;
  for (const { tokens, start, textBytes, score } of order.from(from)) {
    if (start >= to) break;
    const at = Math.max(0, from - start);
    const piece = tokens.subarray(at, Math.min(tokens.length, to - start));
    writer.addPiece(piece, { document: document++, at, textBytes, score });
    if (at === 0) count(counts, tokens.length, (start % T) + tokens.length > T, T);
  }
  counts.sequences = Math.floor(writer.tokenCount / T);
  return counts;
}

function addFitted(writer: ShardWriter, number: number, plan: ShardPlan): PackingCounts {
  const T = sequenceOf(plan.packing);
  const counts = none();
  const documents = [...beginning(number, plan)];
  const pieces: { document: number; at: number; length: number }[] = [];
  for (const [document, { tokens }] of documents.entries()) {
    for (let at = 0; at < tokens.length; at += T)
      pieces.push({ document, at, length: Math.min(T, tokens.length - at) });
    count(counts, tokens.length, tokens.length > T, T);
  }
  const { rows, rowOf } = fitPieces(
    pieces.map(({ length }) => length),
    T,
  );
  // Pieces by sequence, in the order of documents within it.
  const ends = new Uint32Array(rows + 1);
  for (const row of rowOf) ends[row + 1]++;
  for (let row = 0; row < rows; row++) ends[row + 1] += ends[row];
  const next = ends.slice(0, rows);
  const order = new Uint32Array(pieces.length);
  for (const [i, row] of rowOf.entries()) order[next[row]++] = i;
  for (let row = 0; row < rows; row++) {
    for (let k = ends[row]; k < ends[row + 1]; k++) {
      const { document, at, length } = pieces[order[k]];
      const { tokens, textBytes, score } = documents[document];
      writer.addPiece(tokens.subarray(at, at + length), { document, at, textBytes, score });
      counts.padding -= length;
    }
    counts.padding += T;
    writer.endSequence();
  }
  counts.sequences = rows;
  return counts;
}

function count(counts: PackingCounts, length: number, cut: boolean, sequence: number): void {
  if (cut) counts.cut++;
  if (length > sequence) counts.overLength++;
}

function sequenceOf(packing: Packing): number {
  if (packing.kind === "documents") throw new Error("documents as they are have no sequences");
  return packing.sequence;
}
