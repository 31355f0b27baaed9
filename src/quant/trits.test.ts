// Oracle: arithmetic in base 3 (Number's own toString), over all 256 bytes and all lengths of a last byte.
import { expect, test } from "vitest";
import { packTrits, tritBytes, tritTable, unpackTrits } from "./trits.ts";

const digits = (byte: number) => [...byte.toString(3).padStart(5, "0")].reverse().map(Number);

test("each of the 243 bytes is its five base-3 digits, lowest first, and packs to itself", () => {
  for (let byte = 0; byte < 243; byte++) {
    const codes = Uint8Array.from(digits(byte));
    expect([...tritTable.subarray(5 * byte, 5 * byte + 5)]).toEqual([...codes]);
    const packed = new Uint8Array(1);
    packTrits(codes, packed);
    expect(packed[0]).toBe(byte);
    const back = new Uint8Array(5);
    expect(unpackTrits(packed, back)).toBe(-1);
    expect(back).toEqual(codes);
  }
});

test("the 13 bytes that are no code are refused, wherever they stand", () => {
  for (let byte = 243; byte < 256; byte++) {
    expect(unpackTrits(Uint8Array.of(byte), new Uint8Array(5))).toBe(0);
    expect(unpackTrits(Uint8Array.of(0, 242, byte), new Uint8Array(12))).toBe(2);
  }
});

test("a last byte of one to four codes holds nothing after them", () => {
  for (let length = 1; length <= 12; length++) {
    const codes = Uint8Array.from({ length }, (_, i) => (i * i + length) % 3);
    const bytes = new Uint8Array(tritBytes(length)).fill(255);
    packTrits(codes, bytes);
    const back = new Uint8Array(length);
    expect(unpackTrits(bytes, back)).toBe(-1);
    expect(back).toEqual(codes);
    if (length % 5 === 0) continue;
    bytes[bytes.length - 1] += 3 ** (length % 5);
    expect(unpackTrits(bytes, back)).toBe(bytes.length - 1);
  }
});
