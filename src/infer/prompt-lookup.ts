/**
 * Drafts for speculative decoding without a second model: what followed when the last tokens stood in the text before
 * (prompt lookup decoding: Saxena 2023; Leviathan et al. 2023 for why the text stays the same). Good where a text repeats
 * its prompt: summaries, edits, code. Called by slot.ts, which checks each drafted token against the model's own choice.
 */

/** Last tokens that are looked for, the longest first. */
const longest = 3;

/** @returns up to `count` tokens that followed the latest earlier place of the last 3, 2 or 1 tokens; none where there is none */
export function draftTokens(tokens: readonly number[], count: number): number[] {
  const n = tokens.length;
  for (let size = Math.min(longest, n - 1); size >= 1 && count > 0; size--) {
    search: for (let at = n - size - 1; at >= 0; at--) {
      for (let i = 0; i < size; i++) if (tokens[at + i] !== tokens[n - size + i]) continue search;
      return tokens.slice(at + size, Math.min(at + size + count, n));
    }
  }
  return [];
}
