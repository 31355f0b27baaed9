/**
 * Protocol buffers' wire format, as far as ONNX needs it, written only. https://protobuf.dev/programming-guides/encoding
 * A field is a tag (number · 8 + wire type) and a value: a varint (0), four bytes (5), or a length and bytes (2).
 */
const encoder = new TextEncoder();

/** A whole number from 0 to 2^53, seven bits a byte, lowest first; a negative one as its 64-bit two's complement. */
export function varint(n: number): number[] {
  if (n < 0) {
    let rest = BigInt.asUintN(64, BigInt(n));
    const bytes: number[] = [];
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    return [...bytes, Number(rest)];
  }
  const bytes: number[] = [];
  // Divided, not shifted: 32-bit operators wrap at 2 GiB.
  for (; n > 127; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  return [...bytes, n];
}

/** The tag and length in front of a field of `length` bytes. */
export const lengthPrefix = (field: number, length: number): Uint8Array =>
  Uint8Array.from([...varint(field * 8 + 2), ...varint(length)]);

/** One message, built up field by field. */
export class Message {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  integer(field: number, value: number): this {
    return this.put(Uint8Array.from([...varint(field * 8), ...varint(value)]));
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.put(Uint8Array.from([...varint(field * 8 + 5), ...bytes]));
  }

  bytes(field: number, value: Uint8Array): this {
    return this.put(lengthPrefix(field, value.length)).put(value);
  }

  string(field: number, value: string): this {
    return this.bytes(field, encoder.encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  /** Bytes so far. */
  finish(): Uint8Array {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  private put(bytes: Uint8Array): this {
    this.parts.push(bytes);
    this.length += bytes.length;
    return this;
  }
}
