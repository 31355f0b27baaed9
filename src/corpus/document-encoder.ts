/** What corpus/ needs of a tokenizer; src/tokenizer gives objects of this shape. */
export interface DocumentEncoder {
  readonly vocabSize: number;
  /** The token put behind every document; null, which prepareTokens refuses, where the tokenizer has none. */
  readonly endOfText: number | null;
  /** Names the tokenizer's content, 1 to 64 ASCII characters (a SHA-256): another hash, another dataset. */
  readonly hash: string;
  encode(text: string): ArrayLike<number>;
  /** Encodes several texts, perhaps over worker threads; same ids as encode, in order. */
  encodeMany?(texts: string[]): Promise<readonly ArrayLike<number>[]>;
}
