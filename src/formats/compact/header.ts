/**
 * The front of a compact model file (.bitnet), to and from bytes: what it holds, where, how coded. Pure functions; files
 * are in reader.ts and writer.ts. docs/compact.md describes the format. Numbers are little-endian.
 *
 *   byte 0   magic, 89 "BITNET" 0a
 *        8   u32 version, 1
 *       12   u32 length of the header
 *       16   SHA-256 of the header, 32 bytes
 *       48   header: JSON, padded with spaces
 *            the tokenizer's JSON, deflated, where there is one
 *            tensors, in the header's order, without gaps, to the end of the file
 *
 * Every byte is covered by a check: those before 16 have one legal value or are bounded, the header has its hash in front,
 * everything else has its hash in the header.
 */
import { z } from "zod";
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { sha256Of } from "../../platform/hash.ts";
import { areFrequencies, blockCodes, blockHeadBytes, type Frequencies, mostCodesPerByte } from "../../quant/entropy.ts";
import { type RowTypeName, rowTypes } from "../../quant/row-types.ts";
import { tritBytes } from "../../quant/trits.ts";

const magic = Uint8Array.of(0x89, 0x42, 0x49, 0x54, 0x4e, 0x45, 0x54, 0x0a);
/** Raised when bytes change their meaning. */
export const compactVersion = 1;
export const prefixBytes = 48;
/** A line of JSON for each tensor: thousands of tensors take less than one MB. */
const maxHeaderBytes = 2 ** 24;
/** The largest published tokenizer.json has some 35 MB. */
const maxTokenizerBytes = 2 ** 28;

/** How a ternary matrix is coded: entropy.ts, trits.ts. */
export const ternaryEncodings = ["entropy", "trits"] as const;
export type TernaryEncoding = (typeof ternaryEncodings)[number];
export type CompactEncoding = TernaryEncoding | RowTypeName;

/** One tensor in a file. */
export interface CompactEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: CompactEncoding;
  /** gamma of a ternary matrix. */
  readonly scale?: number;
  /** Of `entropy`: how frequent the codes 0, 1 and 2 count as, of 4096. */
  readonly frequencies?: Frequencies;
  /** First byte, from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly sha256: string;
}

export interface CompactTokenizerEntry {
  readonly offset: number;
  readonly bytes: number;
  /** After inflating. */
  readonly jsonBytes: number;
  readonly sha256: string;
}

export interface CompactHeader {
  /** What the writer said of the model; checked by whoever knows models. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tokenizer: CompactTokenizerEntry | null;
  readonly tensors: ReadonlyMap<string, CompactEntry>;
  /** Bytes before the first tensor or tokenizer. */
  readonly headBytes: number;
}

export const isTernary = (encoding: CompactEncoding): encoding is TernaryEncoding =>
  (ternaryEncodings as readonly string[]).includes(encoding);

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Rows and their width, as the row types see a shape: the last axis is a row. */
export function rowsOf(shape: readonly number[]): { rows: number; width: number } {
  const width = shape.at(-1)!;
  return { rows: sizeOf(shape.slice(0, -1)), width };
}

const count = z.int().min(0);
const hash = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits");
const headerSchema = z.strictObject({
  metadata: z.record(z.string(), z.unknown()),
  tokenizer: z.strictObject({ bytes: count, jsonBytes: count.max(maxTokenizerBytes), sha256: hash }).nullable(),
  tensors: z.array(
    z.strictObject({
      name: z.string().min(1),
      shape: z.array(z.int().positive()).min(1).max(4),
      encoding: z.enum([...ternaryEncodings, ...(Object.keys(rowTypes) as RowTypeName[])]),
      scale: z.number().min(0).optional(),
      frequencies: z.array(z.int()).length(3).optional(),
      bytes: count,
      sha256: hash,
    }),
  ),
});

/** True if the bytes are how a compact file begins, whatever its version. */
export const startsCompact = (bytes: Uint8Array): boolean =>
  bytes.length >= magic.length && magic.every((byte, i) => bytes[i] === byte);

/**
 * Reads the 48 bytes in front of the header.
 *
 * @throws FormatError naming field and byte; UnsupportedError for another version
 */
export function parsePrefix(
  bytes: Uint8Array,
  fileBytes: number,
  where: string,
): { headerBytes: number; headerSha256: string } {
  if (bytes.length < prefixBytes)
    throw new FormatError(`${where}: has ${fileBytes} bytes; a compact model has more than ${prefixBytes}`);
  if (!startsCompact(bytes)) throw new FormatError(`${where}: byte 0: is not a compact model (its magic is missing)`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, prefixBytes);
  const version = view.getUint32(8, true);
  if (version !== compactVersion)
    throw new UnsupportedError(
      `${where}: byte 8: was written as version ${version}, this bitnet.ts reads ${compactVersion}; update bitnet.ts`,
    );
  const headerBytes = view.getUint32(12, true);
  if (headerBytes > Math.min(maxHeaderBytes, fileBytes - prefixBytes))
    throw new FormatError(
      `${where}: byte 12: the header has ${headerBytes} bytes, but the file ${fileBytes} and at most ${maxHeaderBytes} are allowed; is it cut short?`,
    );
  const headerSha256 = [...bytes.subarray(16, prefixBytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { headerBytes, headerSha256 };
}

/**
 * Reads and checks the header: each tensor's shape against its bytes, all of them against the file's size, so that what
 * is allocated later is warranted by bytes that exist.
 *
 * @throws FormatError naming the field and where its tensor would lie
 */
export function parseHeader(bytes: Uint8Array, sha256: string, fileBytes: number, where: string): CompactHeader {
  const found = sha256Of(bytes);
  if (found !== sha256)
    throw new FormatError(
      `${where}: byte ${prefixBytes}: the header's SHA-256 is ${found.slice(0, 12)}..., but byte 16 says ${sha256.slice(0, 12)}...; the file was changed or damaged`,
    );
  const at = `${where}: byte ${prefixBytes}: header`;
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError(`${at}: is not JSON in UTF-8`, { cause });
  }
  const parsed = headerSchema.safeParse(content);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(`${at}: ${issue.path.join(".") || "content"}: ${issue.message}`);
  }
  const { metadata, tokenizer, tensors } = parsed.data;
  const headBytes = prefixBytes + bytes.length;
  let offset = headBytes;
  const fits = (size: number, what: string) => {
    if (offset + size > fileBytes)
      throw new FormatError(
        `${where}: byte ${offset}: ${what} would end at byte ${offset + size}, but the file has ${fileBytes}; is it cut short?`,
      );
  };
  let tokenizerEntry: CompactTokenizerEntry | null = null;
  if (tokenizer) {
    fits(tokenizer.bytes, "the tokenizer");
    // Deflate makes at most 1032 bytes of one.
    if (tokenizer.jsonBytes > 1032 * tokenizer.bytes)
      throw new FormatError(
        `${where}: byte ${offset}: tokenizer.jsonBytes is ${tokenizer.jsonBytes}; ${tokenizer.bytes} bytes cannot inflate to that`,
      );
    tokenizerEntry = { ...tokenizer, offset };
    offset += tokenizer.bytes;
  }
  const entries = new Map<string, CompactEntry>();
  for (const tensor of tensors) {
    const what = `tensor ${JSON.stringify(tensor.name.slice(0, 100))}`;
    if (entries.has(tensor.name)) throw new FormatError(`${at}: tensors: ${what} is there twice`);
    fits(tensor.bytes, what);
    const problem = problemOf(tensor);
    if (problem) throw new FormatError(`${where}: byte ${offset}: ${what}: ${problem}`);
    entries.set(tensor.name, { ...tensor, frequencies: tensor.frequencies as Frequencies | undefined, offset });
    offset += tensor.bytes;
  }
  if (offset !== fileBytes)
    throw new FormatError(`${where}: byte ${offset}: the last tensor ends here, but the file has ${fileBytes} bytes`);
  return { metadata, tokenizer: tokenizerEntry, tensors: entries, headBytes };
}

/** What is wrong between a tensor's shape, encoding and bytes; null for nothing. */
function problemOf({
  shape,
  encoding,
  scale,
  frequencies,
  bytes,
}: z.infer<typeof headerSchema>["tensors"][number]): string | null {
  const size = sizeOf(shape);
  if (!Number.isSafeInteger(size)) return `shape [${shape}] is of more elements than any file holds`;
  if (isTernary(encoding) !== (scale !== undefined))
    return scale === undefined ? "scale is missing" : `scale has no meaning for ${encoding}`;
  if (scale !== undefined && Math.fround(scale) !== scale) return `scale ${scale} is not a float32`;
  if ((encoding === "entropy") !== (frequencies !== undefined))
    return frequencies ? `frequencies have no meaning for ${encoding}` : "frequencies are missing";
  const wanted = (n: number) =>
    n === bytes ? null : `[${shape}] as ${encoding} takes ${n} bytes, but bytes is ${bytes}`;
  if (encoding === "trits") return wanted(tritBytes(size));
  if (encoding === "entropy") {
    if (!areFrequencies(frequencies!)) return `frequencies [${frequencies}] are not three of at least 64 with sum 4096`;
    const blocks = Math.ceil(size / blockCodes);
    if (size > bytes * mostCodesPerByte || bytes < blocks * blockHeadBytes)
      return `[${shape}] as entropy cannot be in ${bytes} bytes`;
    return null;
  }
  const { rows, width } = rowsOf(shape);
  return wanted(rows * rowTypes[encoding].rowBytes(width));
}

/** What a header says of a tensor before its bytes are known. */
export type PlannedTensor = Pick<CompactEntry, "name" | "shape">;

/**
 * Bytes that the header takes at most, whatever tensors of these names and shapes come to: the writer leaves so much room
 * and fills the rest with spaces.
 */
export function reserveHeader(
  metadata: Readonly<Record<string, unknown>>,
  tokenizer: Omit<CompactTokenizerEntry, "offset"> | null,
  planned: readonly PlannedTensor[],
): number {
  const widest = planned.map(({ name, shape }) => ({
    name,
    shape,
    encoding: "entropy" as const,
    // As long as JSON writes a number.
    scale: -2.2250738585072014e-308,
    frequencies: [1000, 1000, 1000] as Frequencies,
    bytes: Number.MAX_SAFE_INTEGER,
    sha256: "0".repeat(64),
  }));
  return headerJson(metadata, tokenizer, widest).length;
}

/** The prefix and the header, `headerBytes` long. */
export function buildHead(
  metadata: Readonly<Record<string, unknown>>,
  tokenizer: Omit<CompactTokenizerEntry, "offset"> | null,
  tensors: readonly Omit<CompactEntry, "offset">[],
  headerBytes: number,
): Uint8Array {
  const json = headerJson(metadata, tokenizer, tensors);
  if (json.length > headerBytes || headerBytes > maxHeaderBytes)
    throw new Error(`compact: a header of ${json.length} bytes, ${headerBytes} were reserved`);
  const head = new Uint8Array(prefixBytes + headerBytes).fill(0x20);
  head.set(json, prefixBytes);
  head.set(magic);
  const view = new DataView(head.buffer);
  view.setUint32(8, compactVersion, true);
  view.setUint32(12, headerBytes, true);
  const hex = sha256Of(head.subarray(prefixBytes));
  for (let i = 0; i < 32; i++) head[16 + i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return head;
}

function headerJson(
  metadata: Readonly<Record<string, unknown>>,
  tokenizer: Omit<CompactTokenizerEntry, "offset"> | null,
  tensors: readonly Omit<CompactEntry, "offset">[],
): Uint8Array {
  // Fields one by one: the same model gives the same bytes.
  const content = {
    metadata,
    tokenizer: tokenizer && { bytes: tokenizer.bytes, jsonBytes: tokenizer.jsonBytes, sha256: tokenizer.sha256 },
    tensors: tensors.map(({ name, shape, encoding, scale, frequencies, bytes, sha256 }) => ({
      name,
      shape,
      encoding,
      scale,
      frequencies,
      bytes,
      sha256,
    })),
  };
  return new TextEncoder().encode(JSON.stringify(content));
}
