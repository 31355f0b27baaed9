/** A stretch of a text on its way through a tokenizer: what normalizers and pre-tokenizers change and cut. */
export interface Piece {
  text: string;
  /** It begins with the text's first character, which `Metaspace` with "first" asks. */
  first: boolean;
  /** An added token, found in the text; -1 for text still to be encoded. */
  id: number;
}
