const utf8 = new TextEncoder();
let scratch = new Uint8Array(1 << 16);

/** Bytes of a text in UTF-8. */
export function utf8Length(text: string): number {
  if (text.length * 3 > scratch.length) scratch = new Uint8Array(text.length * 3);
  return utf8.encodeInto(text, scratch).written;
}
