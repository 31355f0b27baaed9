/** What a mixture comes to before it is trained on: tokens and passes of each source. */
import type { SourceUse } from "./mixture.ts";
import { createShares, partsOf } from "./shares.ts";

export interface PlannedSource extends SourceUse {
  /** Tokens that the source has, as far as sequences hold them. */
  tokens: number;
}

/**
 * What each source gives in so many draws of T tokens.
 *
 * @param draws sequences in all; the counts are those that training will have, not rounded shares
 */
export function planMixture(
  sources: readonly { name: string; weight: number; sequences: { count: number; length: number } }[],
  draws: number,
): PlannedSource[] {
  const parts = partsOf(sources.map(({ weight }) => weight));
  const whole = parts.reduce((a, b) => a + b, 0);
  const shares = createShares(parts);
  // The pattern repeats after P draws: whole rounds are known, the rest is drawn.
  const rounds = Math.floor(draws / whole);
  shares.restore(parts.map((part) => part * rounds));
  for (let n = rounds * whole; n < draws; n++) shares.next();
  return sources.map(({ name, sequences: { count, length } }, s) => ({
    name,
    share: parts[s] / whole,
    tokens: count * length,
    sequences: count,
    drawnSequences: shares.counts[s],
    drawnTokens: shares.counts[s] * length,
    epochs: shares.counts[s] / count,
  }));
}

/**
 * Passes over a source beyond which another adds little: up to four are worth nearly as much as new text (Muennighoff et
 * al., "Scaling Data-Constrained Language Models", NeurIPS 2023).
 */
export const manyEpochs = 4;
