/**
 * The merges of a vocabulary that comes without: SentencePiece and tiktoken files only rank their tokens, and join any
 * two that make a token, the best-ranked first. As merges, that is every way to cut each token into two others.
 *
 * Order, as Hugging Face's converters have it: by the rank of the whole, then the left id, then the right id. Where two
 * cuts of one token could both be joined at one moment ("a" "aa" "a" into "aaa"), this order decides, and the originals'
 * leftmost-first might have chosen the other; no text is known where they differ.
 */
export function splitMerges(tokensByRank: Iterable<string>, ids: ReadonlyMap<string, number>): string[] {
  const merges: string[] = [];
  for (const token of tokensByRank) {
    const cuts: [number, number, string][] = [];
    // By code point: a token never begins amid a pair of surrogates.
    for (let i = 1; i < token.length; i++) {
      if ((token.charCodeAt(i) & 0xfc00) === 0xdc00) continue;
      const left = ids.get(token.slice(0, i));
      const right = left === undefined ? undefined : ids.get(token.slice(i));
      if (right !== undefined) cuts.push([left!, right, `${token.slice(0, i)} ${token.slice(i)}`]);
    }
    cuts.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (const [, , merge] of cuts) merges.push(merge);
  }
  return merges;
}
