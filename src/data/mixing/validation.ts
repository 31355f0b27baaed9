/**
 * Validation over a mixture: the first windows of each source's held-out text, as many as its share, each token a target
 * once. Where all of it is wanted, all of each.
 */
import type { LossMarker } from "../loss-mask.ts";
import { type Batch, type SequentialBatches, sequentialBatches } from "../batches.ts";
import type { TokenStream } from "../token-stream.ts";
import { createShares, partsOf } from "./shares.ts";

export interface HeldOutSource {
  name: string;
  weight: number;
  tokens: TokenStream;
}

/** How many windows of each source, of T tokens, are taken: by weight, until so many or until there are no more. */
export function shareWindows(
  sources: readonly Pick<HeldOutSource, "weight">[],
  available: readonly number[],
  wanted: number,
): number[] {
  const taken = sources.map(() => 0);
  let left = sources.map((_, s) => s).filter((s) => available[s] > 0);
  let missing = wanted;
  while (missing > 0 && left.length > 0) {
    const shares = createShares(partsOf(left.map((s) => sources[s].weight)));
    // Until one runs out; then the others share what is missing.
    let out = false;
    while (missing > 0 && !out) {
      const s = left[shares.next()];
      taken[s]++;
      missing--;
      out = taken[s] === available[s];
    }
    left = left.filter((s) => taken[s] < available[s]);
  }
  return taken;
}

/** @param windows sequences in all; null: everything */
export function mixedSequentialBatches(
  sources: readonly HeldOutSource[],
  options: {
    batch: number;
    sequence: number;
    windows: number | null;
    documentStarts: boolean;
    lossAfter?: LossMarker;
  },
): SequentialBatches & { parts: { source: HeldOutSource; maxTokens: number }[] } {
  const { batch, sequence, windows, documentStarts, lossAfter } = options;
  const available = sources.map(({ tokens }) => Math.ceil(tokens.tokenCount / sequence));
  const taken = windows === null ? available : shareWindows(sources, available, windows);
  const parts = sources.flatMap((source, s) =>
    taken[s] === 0 ? [] : [{ source, maxTokens: Math.min(taken[s] * sequence, source.tokens.tokenCount) }],
  );
  const inTurn = parts.map(({ source, maxTokens }) =>
    sequentialBatches({ tokens: source.tokens, batch, sequence, maxTokens, documentStarts, lossAfter }),
  );
  const sum = (of: (batches: SequentialBatches) => number) => inTurn.reduce((total, batches) => total + of(batches), 0);
  function* all(): Generator<Batch> {
    for (const batches of inTurn) yield* batches;
  }
  return {
    parts,
    batchCount: sum(({ batchCount }) => batchCount),
    tokenCount: sum(({ tokenCount }) => tokenCount),
    textBytes: inTurn.some(({ textBytes }) => textBytes === undefined) ? undefined : sum((b) => b.textBytes!),
    [Symbol.iterator]: all,
  };
}
