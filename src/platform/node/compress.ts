/** Deflate (RFC 1951, without zlib's frame), for the text inside files of ours; gzip, for files that others read. */
import { deflateRawSync, gzipSync, inflateRawSync } from "node:zlib";
import { FormatError } from "../errors.ts";

export const deflate = (bytes: Uint8Array): Uint8Array => deflateRawSync(bytes, { level: 9 });

/**
 * One gzip member (RFC 1952); several behind one another are a gzip file too.
 *
 * @param level  1: quick, for what is read again soon; 6 (the default) to 9: small
 */
export const gzip = (bytes: Uint8Array, level = 6): Uint8Array => gzipSync(bytes, { level });

/** Inflates to `size` bytes exactly, and never more, whatever the bytes say. @throws FormatError beginning with `where` */
export function inflateExactly(bytes: Uint8Array, size: number, where: string): Uint8Array {
  let out: Uint8Array;
  try {
    out = inflateRawSync(bytes, { maxOutputLength: Math.max(1, size) });
  } catch (cause) {
    throw new FormatError(`${where}: cannot be inflated to ${size} bytes (${(cause as Error).message})`, { cause });
  }
  if (out.length !== size) throw new FormatError(`${where}: inflates to ${out.length} bytes; expected ${size}`);
  return out;
}
