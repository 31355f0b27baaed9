/** Documents through a tokenizer in groups, several under way at once. */
import type { DocumentEncoder } from "./document-encoder.ts";

/** Handed to the tokenizer at once: enough to share over threads, little enough to hold. */
const groupCharacters = 1 << 20;
const groupDocuments = 1 << 14;
/** Groups under way at once, so that encoding goes on while one is taken. */
const groupsInFlight = 3;

export interface EncodedGroup<T> {
  items: readonly T[];
  /** Of each item. */
  tokens: readonly ArrayLike<number>[];
}

/**
 * The groups of what has a text, in order.
 *
 * @throws what the tokenizer throws; the signal's reason
 */
export async function* encodeGroups<T extends { text: string }>(
  items: AsyncIterable<T> | Iterable<T>,
  encoder: DocumentEncoder,
  signal?: AbortSignal,
): AsyncGenerator<EncodedGroup<T>> {
  const encodeMany = (texts: string[]) =>
    encoder.encodeMany ? encoder.encodeMany(texts) : Promise.resolve(texts.map((text) => encoder.encode(text)));
  const underway: { items: T[]; tokens: Promise<readonly ArrayLike<number>[]> }[] = [];
  let group: T[] = [];
  let characters = 0;
  const send = () => {
    if (group.length === 0) return;
    signal?.throwIfAborted();
    const tokens = encodeMany(group.map(({ text }) => text));
    tokens.catch(() => {}); // awaited when its turn comes; meanwhile a failure is not unhandled
    underway.push({ items: group, tokens });
    [group, characters] = [[], 0];
  };
  const take = async (): Promise<EncodedGroup<T>> => {
    const { items, tokens: promise } = underway.shift()!;
    const tokens = await promise;
    if (tokens.length !== items.length)
      throw new Error(`the tokenizer gave ${tokens.length} results for ${items.length} documents`);
    return { items, tokens };
  };
  for await (const item of items) {
    group.push(item);
    characters += item.text.length;
    if (characters < groupCharacters && group.length < groupDocuments) continue;
    send();
    if (underway.length >= groupsInFlight) yield await take();
  }
  send();
  while (underway.length > 0) yield await take();
}
