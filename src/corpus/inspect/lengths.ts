/** Lengths of documents as a histogram, counted one by one. */
import type { LengthHistogram } from "../prepare-report.ts";

export interface InspectedLengths extends LengthHistogram {
  unit: "tokens" | "characters";
}

/** Bin i holds 2^i to 2^(i+1) - 1; bin 0 also the empty ones. */
export function createLengths(unit: InspectedLengths["unit"]) {
  const bins: number[] = [];
  let [shortest, longest, total, documents] = [Number.POSITIVE_INFINITY, 0, 0, 0];
  return {
    add(length: number): void {
      const bin = length < 1 ? 0 : Math.floor(Math.log2(length));
      while (bins.length <= bin) bins.push(0);
      bins[bin]++;
      shortest = Math.min(shortest, length);
      longest = Math.max(longest, length);
      total += length;
      documents++;
    },
    histogram(): InspectedLengths {
      return documents === 0
        ? { unit, bins, shortest: 0, longest: 0, mean: 0 }
        : { unit, bins, shortest, longest, mean: total / documents };
    },
  };
}
