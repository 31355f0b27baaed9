/**
 * The first 256 bytes of a token shard: written, read, and checked against the bytes that exist. shards.ts writes and
 * reads what follows.
 *
 *     0  magic "BNTSHARD"          24  documents, uint64           56  tokenizer hash, 64 bytes of ASCII, zero-padded
 *     8  version, uint32 (1 or 2)  32  text bytes, uint64         120  SHA-256 of the content
 *    12  bytes a token, uint32     40  vocabulary size, uint32    152  version 2: tokens a sequence (T), uint32
 *    16  tokens, uint64            44  end-of-text, uint32        156  version 2: flags, uint32: 1 best-fit, 2 scores
 *                                                                 160  version 2: pieces, uint64; then zeros
 *
 * Version 1 holds documents as they are; the hash runs over everything behind the header and then over its first 120
 * bytes. Version 2 is packed into sequences of T tokens; the hash runs over everything behind the header and then over
 * the header with zeros in place of the hash.
 */
import { FormatError } from "../platform/errors.ts";

export const shardVersion = 1;
export const packedShardVersion = 2;
const magic = "BNTSHARD";
export const headerBytes = 256;
const hashAt = 120;
const hashBytes = 32;
const flagBestFit = 1;
const flagScores = 2;
/** Sequences longer than this no model here takes; a header that claims more is damaged. */
const maxSequence = 2 ** 24;

/** How a shard's tokens are cut into sequences. */
export interface ShardPacking {
  /** T: the shard's tokens are sequences of so many, one behind another. */
  sequence: number;
  /**
   * True: documents were fitted into sequences, the rest of each filled up; false: documents follow one another, over the
   * borders of sequences and shards.
   */
  bestFit: boolean;
  /** Each piece has its document's score. */
  scores: boolean;
  /** Runs of tokens of one document: entries of the index. */
  pieces: number;
}

export interface ShardHeader {
  version: number;
  bytesPerToken: 2 | 4;
  tokenCount: number;
  /** Documents that begin here. */
  documentCount: number;
  /** UTF-8 bytes of their text. */
  textBytes: number;
  vocabSize: number;
  endOfText: number;
  tokenizerHash: string;
  /** SHA-256 of the content (see above), in hexadecimal. */
  contentHash: string;
  /** Null where documents are whole, and sequences are cut when they are read. */
  packing: ShardPacking | null;
}

/** uint16 holds ids up to 65,535. */
export const bytesPerTokenFor = (vocabSize: number): 2 | 4 => (vocabSize <= 65536 ? 2 : 4);

/** Zeros up to a multiple of 8. */
export const padding = (bytes: number): number => (8 - (bytes % 8)) % 8;

/** Where the parts of a shard lie. Version 1: tokens, starts. Version 2: tokens, pieces, used, scores. */
export interface ShardLayout {
  indexAt: number;
  /** Bytes of an entry of the index: 8 (start), or 16 (start, document, offset in it). */
  entryBytes: 8 | 16;
  entries: number;
  /** Tokens of documents in each sequence, uint32; best-fit alone. */
  usedAt: number;
  rows: number;
  /** float32 a piece. */
  scoresAt: number;
  sizeBytes: number;
}

export function layoutOf({ tokenCount, bytesPerToken, documentCount, packing }: ShardHeader): ShardLayout {
  const tokenBytes = tokenCount * bytesPerToken;
  const indexAt = headerBytes + tokenBytes + padding(tokenBytes);
  const entryBytes = packing ? 16 : 8;
  const entries = packing ? packing.pieces : documentCount;
  const usedAt = indexAt + entries * entryBytes;
  const rows = packing ? Math.floor(tokenCount / packing.sequence) : 0;
  const usedBytes = packing?.bestFit ? rows * 4 + padding(rows * 4) : 0;
  const scoresAt = usedAt + usedBytes;
  const scoreBytes = packing?.scores ? entries * 4 + padding(entries * 4) : 0;
  return { indexAt, entryBytes, entries, usedAt, rows, scoresAt, sizeBytes: scoresAt + scoreBytes };
}

export function encodeHeader(header: ShardHeader): Uint8Array {
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  const ascii = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at);
  ascii(0, magic);
  view.setUint32(8, header.version, true);
  view.setUint32(12, header.bytesPerToken, true);
  view.setBigUint64(16, BigInt(header.tokenCount), true);
  view.setBigUint64(24, BigInt(header.documentCount), true);
  view.setBigUint64(32, BigInt(header.textBytes), true);
  view.setUint32(40, header.vocabSize, true);
  view.setUint32(44, header.endOfText, true);
  ascii(56, header.tokenizerHash);
  for (let i = 0; i < hashBytes; i++)
    bytes[hashAt + i] = Number.parseInt(header.contentHash.slice(2 * i, 2 * i + 2), 16);
  const { packing } = header;
  if (packing) {
    view.setUint32(152, packing.sequence, true);
    view.setUint32(156, (packing.bestFit ? flagBestFit : 0) | (packing.scores ? flagScores : 0), true);
    view.setBigUint64(160, BigInt(packing.pieces), true);
  }
  return bytes;
}

/** The part of an encoded header that the content's hash runs over. */
export function hashedPart(bytes: Uint8Array, version: number): Uint8Array {
  if (version === shardVersion) return bytes.subarray(0, hashAt);
  const zeroed = bytes.slice(0, headerBytes);
  zeroed.fill(0, hashAt, hashAt + hashBytes);
  return zeroed;
}

/** Header of a shard, checked against the bytes that exist. FormatError says which field is wrong. */
export function decodeHeader(path: string, bytes: Uint8Array, sizeBytes: number): ShardHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ascii = (at: number, length: number) =>
    String.fromCharCode(...bytes.subarray(at, at + length)).replace(/\0+$/, "");
  const wrong = (what: string) => new FormatError(`${path}: ${what}; prepare the data again`);
  if (ascii(0, 8) !== magic) throw wrong(`does not start with ${magic}, so it is not a token shard`);
  const version = view.getUint32(8, true);
  if (version !== shardVersion && version !== packedShardVersion)
    throw wrong(
      `is a token shard of version ${version}; this program reads versions ${shardVersion} and ${packedShardVersion}`,
    );
  const size = (at: number, name: string): number => {
    const value = view.getBigUint64(at, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw wrong(`its header claims ${value} ${name}`);
    return Number(value);
  };
  const bytesPerToken = view.getUint32(12, true);
  if (bytesPerToken !== 2 && bytesPerToken !== 4)
    throw wrong(`its header claims ${bytesPerToken} bytes a token; expected 2 or 4`);
  const header: ShardHeader = {
    version,
    bytesPerToken,
    tokenCount: size(16, "tokens"),
    documentCount: size(24, "documents"),
    textBytes: size(32, "bytes of text"),
    vocabSize: view.getUint32(40, true),
    endOfText: view.getUint32(44, true),
    tokenizerHash: ascii(56, 64),
    contentHash: Array.from(bytes.subarray(hashAt, hashAt + hashBytes), (b) => b.toString(16).padStart(2, "0")).join(
      "",
    ),
    packing: null,
  };
  if (header.endOfText >= header.vocabSize)
    throw wrong(`its end-of-text token ${header.endOfText} is outside its vocabulary of ${header.vocabSize}`);
  if (version === packedShardVersion) {
    const sequence = view.getUint32(152, true);
    const flags = view.getUint32(156, true);
    if (sequence < 1 || sequence > maxSequence) throw wrong(`its header claims sequences of ${sequence} tokens`);
    if (flags > (flagBestFit | flagScores))
      throw wrong(`its header has flags ${flags} that this program does not know`);
    const bestFit = (flags & flagBestFit) !== 0;
    if (bestFit && header.tokenCount % sequence !== 0)
      throw wrong(`its ${header.tokenCount} tokens are no whole sequences of ${sequence}`);
    const pieces = size(160, "pieces");
    // A document begins with a piece.
    if (header.documentCount > pieces)
      throw wrong(`its header claims ${header.documentCount} documents in ${pieces} pieces`);
    header.packing = { sequence, bestFit, scores: (flags & flagScores) !== 0, pieces };
  }
  const expected = layoutOf(header).sizeBytes;
  if (expected !== sizeBytes) {
    const holds = header.packing ? `${header.packing.pieces} pieces` : `${header.documentCount} documents`;
    throw wrong(
      `${header.tokenCount} tokens and ${holds} need ${expected} bytes but the file has ${sizeBytes}; is it cut short?`,
    );
  }
  return header;
}
