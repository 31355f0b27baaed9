/**
 * Text as UTF-8 in memory that is used again and again. Tokenizing works on bytes: looking at a unit of a JavaScript
 * string costs a look at how the string is held, each time, and a string cannot be handed to a thread without copying it.
 */

/** Bytes that must lie before a text: the mark that SentencePiece puts there is written into them. */
export const SLACK_BEFORE = 1;
/** Bytes that must lie behind a text: words are read sixteen bytes at a time. */
export const SLACK_AFTER = 16;

const encoder = new TextEncoder();

export class Utf8Buffer {
  bytes: Uint8Array<ArrayBuffer>;
  /** Of the same bytes. */
  view: DataView;

  /** @param bytes  taken over, with slack at both ends */
  constructor(bytes: Uint8Array<ArrayBuffer> = new Uint8Array(4096)) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Makes room for so many bytes and the slack behind them. What was there is lost where it must grow. */
  reserve(length: number): void {
    if (length + SLACK_AFTER <= this.bytes.length) return;
    this.bytes = new Uint8Array(Math.max(length + SLACK_AFTER, this.bytes.length * 2));
    this.view = new DataView(this.bytes.buffer);
  }

  /** Writes a text behind the first slack, a lone surrogate as U+FFFD. Returns where it ends. */
  write(text: string): number {
    this.reserve(SLACK_BEFORE + text.length * 3);
    return SLACK_BEFORE + encoder.encodeInto(text, this.bytes.subarray(SLACK_BEFORE)).written;
  }
}

/** The code point that begins at `at`, in UTF-8 that is valid. */
export function codePointAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  if (first < 0x80) return first;
  if (first < 0xe0) return ((first & 0x1f) << 6) | (bytes[at + 1] & 0x3f);
  if (first < 0xf0) return ((first & 0xf) << 12) | ((bytes[at + 1] & 0x3f) << 6) | (bytes[at + 2] & 0x3f);
  return ((first & 7) << 18) | ((bytes[at + 1] & 0x3f) << 12) | ((bytes[at + 2] & 0x3f) << 6) | (bytes[at + 3] & 0x3f);
}

/** How many bytes a character has, by its first. */
export const widthOf = (first: number): number => (first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4);
