/**
 * Completion-only loss mask: targets count only after a marker, to the end of their document. In text such as
 * `25 + 17 = 42` the part before the `=` is random, and the loss on it teaches nothing. Called by batches.ts where
 * `data.lossAfter` is set.
 *
 * The marker is matched against the bytes that the tokens spell, not against tokens: a tokenizer may merge the marker's
 * characters with their neighbors, differently in each context.
 */
import { DataError, UsageError } from "../platform/errors.ts";

/** Marks a target that does not count (the convention of cross-entropy). */
export const ignoredTarget = -100;

/** A text after which targets count, and what each token spells. Plain data: it crosses to a worker. */
export interface LossMarker {
  /** UTF-8, at least one byte. */
  marker: Uint8Array;
  /** The bytes of all tokens, one behind another; token i's end before ends[i]. */
  bytes: Uint8Array;
  ends: Uint32Array;
}

interface SpelledTokens {
  readonly name: string;
  readonly vocabSize: number;
  readonly specialTokens: ReadonlyMap<string, number>;
  tokenOf(id: number): string | undefined;
  bytesOf(id: number): Uint8Array | null;
}

/**
 * @param text the marker
 * @throws UsageError for an empty text, or a tokenizer whose tokens have no bytes of their own
 */
export function createLossMarker(text: string, tokenizer: SpelledTokens): LossMarker {
  const utf8 = new TextEncoder();
  const marker = utf8.encode(text);
  if (marker.length === 0) throw new UsageError("data.lossAfter: the text is empty; give one, or null");
  const special = new Set(tokenizer.specialTokens.values());
  const spelled = Array.from({ length: tokenizer.vocabSize }, (_, id) =>
    special.has(id) ? utf8.encode(tokenizer.tokenOf(id)) : tokenizer.bytesOf(id),
  );
  if (!spelled.some((bytes, id) => bytes !== null && !special.has(id)))
    throw new UsageError(
      `data.lossAfter: the tokens of ${tokenizer.name} spell no bytes of their own, so that a text cannot be found in them; use byte-level BPE, SentencePiece or characters`,
    );
  const ends = new Uint32Array(spelled.length);
  let end = 0;
  for (const [id, bytes] of spelled.entries()) ends[id] = end += bytes?.length ?? 0;
  const bytes = new Uint8Array(end);
  for (const [id, own] of spelled.entries()) if (own) bytes.set(own, ends[id] - own.length);
  return { marker, bytes, ends };
}

/**
 * Sets the targets to -100 that hold no text after the marker in their document. A token that holds the marker's end and
 * text after it counts.
 *
 * A row that begins inside a document counts from the first marker that it holds itself: of an answer cut by the row's
 * start, nothing counts. The end-of-text token behind an answer counts.
 *
 * @param tokens_BT  [B, T]
 * @param targets_BT [B, T], changed
 */
export function ignoreBeforeMarker(
  tokens_BT: Int32Array,
  targets_BT: Int32Array,
  sequence: number,
  { marker, bytes, ends }: LossMarker,
  endOfText: number,
): void {
  const borders = bordersOf(marker);
  /** How much of the marker the text so far ends with. */
  let matched = 0;
  /** Reads a token on from `matched`. @returns how many of its bytes stand after the marker; -1: the marker has not come */
  const read = (token: number): number => {
    const end = ends[token] ?? 0;
    for (let at = token > 0 ? ends[token - 1] : 0; at < end; at++) {
      while (matched > 0 && marker[matched] !== bytes[at]) matched = borders[matched - 1];
      if (marker[matched] === bytes[at]) matched++;
      if (matched === marker.length) return end - 1 - at;
    }
    return -1;
  };
  let seen = false;
  for (let i = 0; i < tokens_BT.length; i++) {
    const token = tokens_BT[i];
    if (i % sequence === 0 || token === endOfText) {
      seen = false;
      matched = 0;
    }
    if (!seen && token !== endOfText) seen = read(token) >= 0;
    if (seen) continue;
    const before = matched;
    const target = targets_BT[i];
    const counts = target >= 0 && target !== endOfText && read(target) > 0;
    matched = before;
    if (!counts) targets_BT[i] = ignoredTarget;
  }
}

/** For each length of the marker's beginning, the longest proper beginning that it ends with (Knuth, Morris, Pratt). */
function bordersOf(marker: Uint8Array): Uint32Array {
  const borders = new Uint32Array(marker.length);
  for (let i = 1, k = 0; i < marker.length; i++) {
    while (k > 0 && marker[k] !== marker[i]) k = borders[k - 1];
    if (marker[k] === marker[i]) k++;
    borders[i] = k;
  }
  return borders;
}

/**
 * The next batch in which a target counts, with the number of those before it in which none does.
 *
 * @throws DataError where none comes in two epochs
 */
export function nextCounted<T extends { targets_BT: Int32Array; passedOver?: number }>(
  next: () => T,
  batchesPerEpoch: number,
): T {
  for (let passedOver = 0; passedOver <= 2 * batchesPerEpoch; passedOver++) {
    const batch = next();
    if (batch.targets_BT.some((target) => target !== ignoredTarget))
      return passedOver === 0 ? batch : { ...batch, passedOver };
  }
  throw new DataError(
    `no target counts in the loss in ${2 * batchesPerEpoch} batches, two epochs; does the text of data.lossAfter occur in the data?`,
  );
}
