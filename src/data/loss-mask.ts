/**
 * Completion-only loss mask: targets count only after a marker, to the end of their document. In text such as
 * `25 + 17 = 42` the part before the `=` is random, and the loss on it teaches nothing. Called by batches.ts where
 * `data.lossAfter` is set.
 */

/** Marks a target that does not count (the convention of cross-entropy). */
export const ignoredTarget = -100;

/**
 * Sets the targets to -100 that do not stand behind the marker in their document.
 *
 * A row that begins inside a document counts from the first marker that it holds itself: of an answer cut by the row's
 * start, nothing counts. The end-of-text token behind an answer counts.
 *
 * @param tokens_BT  [B, T]
 * @param targets_BT [B, T], changed
 * @param marker     the marker's tokens, at least one
 */
export function ignoreBeforeMarker(
  tokens_BT: Int32Array,
  targets_BT: Int32Array,
  sequence: number,
  marker: ArrayLike<number>,
  endOfText: number,
): void {
  let seen = false;
  for (let i = 0; i < tokens_BT.length; i++) {
    const t = i % sequence;
    if (t === 0 || tokens_BT[i] === endOfText) seen = false;
    if (!seen) seen = endsWithMarker(tokens_BT, i, t, marker);
    if (!seen) targets_BT[i] = ignoredTarget;
  }
}

function endsWithMarker(tokens: Int32Array, i: number, t: number, marker: ArrayLike<number>): boolean {
  const n = marker.length;
  if (t + 1 < n) return false;
  for (let k = 0; k < n; k++) if (tokens[i - n + 1 + k] !== marker[k]) return false;
  return true;
}
