/**
 * The header of a safetensors file, to and from bytes: which tensor lies where. Pure functions; files are in
 * safetensors.ts. Format: https://huggingface.co/docs/safetensors
 *
 *   8 bytes: header length, little-endian | header: JSON, padded with spaces | data of the tensors, without gaps
 */
import { FormatError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";

/** Bytes of one element of every dtype that the format has. Which of them we convert is up to safetensors.ts. */
export const safetensorsDTypes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;
export type SafetensorsDType = keyof typeof safetensorsDTypes;

/** Where a tensor lies. */
export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** First byte, from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

/** The limit of the format's own library: no real header comes near, and a forged length must not be allocated. */
const maxHeaderBytes = 100_000_000;
export const lengthBytes = 8;
const metadataKey = "__metadata__";

/**
 * Reads the length in front of the header.
 *
 * @throws FormatError if the file is too short for it, or it is past the file's end or `maxHeaderBytes`
 */
export function parseHeaderLength(first: Uint8Array, fileBytes: number, where: string): number {
  if (first.length < lengthBytes)
    throw new FormatError(`${where}: has ${fileBytes} bytes; a safetensors file has at least 10`);
  const length = new DataView(first.buffer, first.byteOffset, lengthBytes).getBigUint64(0, true);
  if (length > BigInt(fileBytes - lengthBytes))
    throw new FormatError(
      `${where}: the header says that it has ${length} bytes, but the file has ${fileBytes}; is it cut short, or not safetensors?`,
    );
  if (length > BigInt(maxHeaderBytes))
    throw new FormatError(`${where}: the header has ${length} bytes; at most ${maxHeaderBytes} are allowed`);
  return Number(length);
}

/**
 * Reads and checks the header: every tensor's dtype, shape and place, no two of them overlapping, no byte unclaimed.
 *
 * @param header    its bytes, without the length in front
 * @param fileBytes size of the whole file
 * @throws FormatError naming the field
 */
export function parseHeader(header: Uint8Array, fileBytes: number, where: string): SafetensorsHeader {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    throw new FormatError(`${where}: the header is not UTF-8`);
  }
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${where}: the header is not JSON`, { cause });
  }
  // Anything before the brace is what the format forbids.
  if (!isObject(root) || text[0] !== "{") throw new FormatError(`${where}: the header is not a JSON object`);
  const twice = findDuplicateKey(text);
  if (twice !== null) throw new FormatError(`${where}: the header has ${show(twice)} twice`);

  const { [metadataKey]: metadata = {}, ...entries } = root;
  if (!isObject(metadata)) throw new FormatError(`${where}: ${metadataKey} is not an object`);
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== "string") throw new FormatError(`${where}: ${metadataKey}: ${show(key)} is not a string`);

  const start = lengthBytes + header.length;
  const tensors = new Map(
    Object.entries(entries).map(([name, entry]) => [name, parseEntry(entry, start, `${where}: tensor ${show(name)}`)]),
  );
  checkPlaces(tensors, start, fileBytes, where);
  return { metadata: metadata as Record<string, string>, tensors };
}

function parseEntry(entry: unknown, start: number, where: string): SafetensorsEntry {
  if (!isObject(entry)) throw new FormatError(`${where}: is not an object`);
  const { dtype, shape, data_offsets: offsets, ...unknown } = entry;
  for (const key of Object.keys(unknown)) throw new FormatError(`${where}: has an unknown field ${show(key)}`);
  if (typeof dtype !== "string" || !Object.hasOwn(safetensorsDTypes, dtype))
    throw new FormatError(
      `${where}: dtype is ${show(dtype)}; expected one of ${Object.keys(safetensorsDTypes).join(", ")}`,
    );
  if (!isSizes(shape)) throw new FormatError(`${where}: shape is ${show(shape)}; expected whole numbers from 0`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1])
    throw new FormatError(`${where}: data_offsets is ${show(offsets)}; expected [begin, end]`);
  const bytes = offsets[1] - offsets[0];
  const wanted = shape.reduce((product, size) => product * size, safetensorsDTypes[dtype as SafetensorsDType]);
  // Past 2^53 the product is rounded, but then it is far from any file's size too.
  if (wanted !== bytes)
    throw new FormatError(
      `${where}: ${dtype} [${shape.slice(0, 8)}] takes ${wanted} bytes, but data_offsets ${show(offsets)} span ${bytes}`,
    );
  return { dtype: dtype as SafetensorsDType, shape, offset: start + offsets[0], bytes };
}

function checkPlaces(tensors: Map<string, SafetensorsEntry>, start: number, fileBytes: number, where: string): void {
  const byPlace = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  let end = start;
  let before = "the header";
  for (const [name, { offset, bytes }] of byPlace) {
    if (offset !== end)
      throw new FormatError(
        `${where}: tensor ${show(name)} begins at byte ${offset}, but ${before} ends at byte ${end}; tensors may neither overlap nor leave gaps`,
      );
    end = offset + bytes;
    before = `tensor ${show(name)}`;
    if (end > fileBytes)
      throw new FormatError(`${where}: ${before} ends at byte ${end}, but the file has ${fileBytes}; is it cut short?`);
  }
  if (end !== fileBytes)
    throw new FormatError(
      `${where}: ${before} ends at byte ${end}, but the file has ${fileBytes}; the rest is no tensor's`,
    );
}

/**
 * Lays tensors out and writes the length and the header. The larger elements come first, then names in order, so that
 * every tensor is aligned to its element and the same tensors give the same file.
 *
 * @returns the bytes in front of the data, and the tensors in the order of their data
 */
export function buildHeader<T extends { name: string; dtype: SafetensorsDType; shape: readonly number[] }>(
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>>,
): { head: Uint8Array; order: T[] } {
  const order = [...tensors].sort(
    (a, b) =>
      safetensorsDTypes[b.dtype] - safetensorsDTypes[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const entries: [string, unknown][] = Object.keys(metadata).length > 0 ? [[metadataKey, metadata]] : [];
  const names = new Set([metadataKey]);
  let end = 0;
  for (const { name, dtype, shape } of order) {
    if (names.has(name)) throw new Error(`safetensors: the name ${show(name)} is taken`);
    names.add(name);
    const begin = end;
    end += shape.reduce((product, size) => product * size, safetensorsDTypes[dtype]);
    entries.push([name, { dtype, shape, data_offsets: [begin, end] }]);
  }
  // Members one by one: as keys of an object, names that are numbers would move to the front, and "__proto__" vanish.
  const text = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
  const json = new TextEncoder().encode(text);
  const padded = Math.ceil(json.length / lengthBytes) * lengthBytes;
  if (padded > maxHeaderBytes) throw new Error(`safetensors: the header would have ${padded} bytes`);
  const head = new Uint8Array(lengthBytes + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, lengthBytes);
  return { head, order };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/** The first key that an object of this (valid) JSON text has twice, at any depth: JSON.parse keeps the last, silently. */
function findDuplicateKey(text: string): string | null {
  const open: (Set<string> | null)[] = []; // keys of each open object; null for an array
  const token = /["{}[\]]/g;
  for (let match = token.exec(text); match; match = token.exec(text)) {
    let [found] = match;
    let colon = false;
    if (found === '"') {
      const end = endOfString(text, match.index);
      found = text.slice(match.index, end);
      colon = isColonNext(text, end);
      token.lastIndex = end;
    }
    if (found === "{") open.push(new Set());
    else if (found === "[") open.push(null);
    else if (found === "}" || found === "]") open.pop();
    else if (colon) {
      const key: string = JSON.parse(found);
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}

/** Behind a string's closing quote. By hand: a pattern over millions of escapes runs out of its stack. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text.charCodeAt(at) !== 0x22) at += text.charCodeAt(at) === 0x5c ? 2 : 1;
  return at + 1;
}

function isColonNext(text: string, from: number): boolean {
  let at = from;
  while (at < text.length && " \t\r\n".includes(text[at])) at++;
  return text[at] === ":";
}
