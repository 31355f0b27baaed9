/**
 * Token shards: the file format, its writer, its reader, and many shards as one stream.
 *
 * A shard is little-endian: a header of 256 bytes, the tokens (uint16 where the vocabulary allows, else uint32), zeros up
 * to a multiple of 8, and the document index (one uint64 a document: the position in this shard of its first token).
 * A document is never split over two shards, and ends with its end-of-text token.
 *
 *     0  magic "BNTSHARD"          24  documents, uint64           56  tokenizer hash, 64 bytes of ASCII, zero-padded
 *     8  version, uint32 (1)       32  text bytes, uint64         120  SHA-256 of the content
 *    12  bytes a token, uint32     40  vocabulary size, uint32    152  zeros
 *    16  tokens, uint64            44  end-of-text, uint32
 *
 * The hash runs over everything behind the header and then over its first 120 bytes.
 */
import { DataError, FormatError } from "../platform/errors.ts";
import { createAtomicFile, createHasher, openFile } from "../platform/files.ts";
import type { TokenStream } from "./token-stream.ts";

export const shardVersion = 1;
const magic = "BNTSHARD";
const headerBytes = 256;
const hashedHeaderBytes = 120;
/** Tokens converted at once: keeps the buffers of a writer and a reader at some hundred KiB. */
const pieceTokens = 1 << 16;

export interface ShardHeader {
  version: number;
  bytesPerToken: 2 | 4;
  tokenCount: number;
  documentCount: number;
  /** UTF-8 bytes of the documents' text. */
  textBytes: number;
  vocabSize: number;
  endOfText: number;
  tokenizerHash: string;
  /** SHA-256 of the content (see above), in hexadecimal. */
  contentHash: string;
}

/** uint16 holds ids up to 65,535. */
export const bytesPerTokenFor = (vocabSize: number): 2 | 4 => (vocabSize <= 65536 ? 2 : 4);

const padding = (bytes: number): number => (8 - (bytes % 8)) % 8;

function encodeHeader(header: ShardHeader): Uint8Array {
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
  for (let i = 0; i < 32; i++) bytes[120 + i] = Number.parseInt(header.contentHash.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Header of a shard, checked against the bytes that exist. FormatError says which field is wrong. */
function decodeHeader(path: string, bytes: Uint8Array, sizeBytes: number): ShardHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ascii = (at: number, length: number) =>
    String.fromCharCode(...bytes.subarray(at, at + length)).replace(/\0+$/, "");
  const wrong = (what: string) => new FormatError(`${path}: ${what}; prepare the data again`);
  if (ascii(0, 8) !== magic) throw wrong(`does not start with ${magic}, so it is not a token shard`);
  const version = view.getUint32(8, true);
  if (version !== shardVersion)
    throw wrong(`is a token shard of version ${version}; this program reads version ${shardVersion}`);
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
    contentHash: Array.from(bytes.subarray(120, 152), (b) => b.toString(16).padStart(2, "0")).join(""),
  };
  if (header.endOfText >= header.vocabSize)
    throw wrong(`its end-of-text token ${header.endOfText} is outside its vocabulary of ${header.vocabSize}`);
  const tokenBytes = header.tokenCount * bytesPerToken;
  const expected = headerBytes + tokenBytes + padding(tokenBytes) + header.documentCount * 8;
  if (expected !== sizeBytes)
    throw wrong(
      `${header.tokenCount} tokens and ${header.documentCount} documents need ${expected} bytes but the file has ${sizeBytes}; is it cut short?`,
    );
  return header;
}

export interface ShardWriter {
  readonly tokenCount: number;
  readonly documentCount: number;
  /** Appends one document and the end-of-text token. `textBytes` is the length of its text in UTF-8. */
  add(tokens: ArrayLike<number>, textBytes: number): void;
  /** Completes the file under its final name. */
  finish(): ShardHeader;
  abort(): void;
}

/**
 * Starts a shard. The file appears under `path` only when finished.
 *
 * @throws DataError from add() for a token outside the vocabulary; FileError when the disk refuses
 */
export function createShard(
  path: string,
  about: { vocabSize: number; endOfText: number; tokenizerHash: string },
): ShardWriter {
  if (!/^[\x21-\x7e]{1,64}$/.test(about.tokenizerHash))
    throw new Error(`tokenizer hash "${about.tokenizerHash}" is not 1 to 64 printable ASCII characters`);
  const bytesPerToken = bytesPerTokenFor(about.vocabSize);
  const file = createAtomicFile(path);
  const hasher = createHasher();
  const buffer = new DataView(new ArrayBuffer(pieceTokens * bytesPerToken));
  let starts = new Float64Array(1024);
  let filled = 0;
  let tokenCount = 0;
  let documentCount = 0;
  let textBytesInAll = 0;
  const append = (bytes: Uint8Array) => {
    hasher.update(bytes);
    file.append(bytes);
  };
  const flush = () => {
    append(new Uint8Array(buffer.buffer, 0, filled * bytesPerToken));
    filled = 0;
  };
  const put = (token: number) => {
    if (filled === pieceTokens) flush();
    if (bytesPerToken === 2) buffer.setUint16(filled * 2, token, true);
    else buffer.setUint32(filled * 4, token, true);
    filled++;
  };
  try {
    file.append(new Uint8Array(headerBytes));
  } catch (error) {
    file.abort();
    throw error;
  }
  return {
    get tokenCount() {
      return tokenCount;
    },
    get documentCount() {
      return documentCount;
    },
    add(tokens, textBytes) {
      if (documentCount === starts.length) {
        const larger = new Float64Array(starts.length * 2);
        larger.set(starts);
        starts = larger;
      }
      starts[documentCount++] = tokenCount;
      for (let i = 0; i < tokens.length; i++) {
        const token = tokens[i];
        if (!(Number.isInteger(token) && token >= 0 && token < about.vocabSize))
          throw new DataError(
            `the tokenizer gave token ${token} at position ${i} of a document; expected 0 to ${about.vocabSize - 1} (its vocabulary)`,
          );
        put(token);
      }
      put(about.endOfText);
      tokenCount += tokens.length + 1;
      textBytesInAll += textBytes;
    },
    finish() {
      flush();
      append(new Uint8Array(padding(tokenCount * bytesPerToken)));
      const perPiece = 1 << 15;
      for (let first = 0; first < documentCount; first += perPiece) {
        const piece = new DataView(new ArrayBuffer(Math.min(perPiece, documentCount - first) * 8));
        for (let i = 0; i * 8 < piece.byteLength; i++) piece.setBigUint64(i * 8, BigInt(starts[first + i]), true);
        append(new Uint8Array(piece.buffer));
      }
      const header: ShardHeader = {
        version: shardVersion,
        bytesPerToken,
        tokenCount,
        documentCount,
        textBytes: textBytesInAll,
        ...about,
        contentHash: "",
      };
      header.contentHash = hasher.update(encodeHeader(header).subarray(0, hashedHeaderBytes)).hex();
      file.overwrite(0, encodeHeader(header));
      file.commit();
      return header;
    },
    abort: () => file.abort(),
  };
}

export interface Shard {
  readonly path: string;
  readonly header: ShardHeader;
  read(position: number, target: Int32Array): void;
  /** Tokens of document i, its end-of-text token included. */
  document(i: number): Int32Array;
  /** Tokens of each document in turn, its end-of-text token included. Reads the index alone. */
  documentLengths(): Iterable<number>;
  /** Reads everything and compares it with the hash in the header; FormatError if a byte has changed. */
  verify(): void;
  close(): void;
}

/** Opens a shard for reading by position. FormatError if its bytes are not what its header says. */
export function openShard(path: string): Shard {
  const file = openFile(path);
  let header: ShardHeader;
  try {
    if (file.sizeBytes < headerBytes)
      throw new FormatError(
        `${path}: has ${file.sizeBytes} bytes; a token shard starts with a header of ${headerBytes}; prepare the data again`,
      );
    const bytes = new Uint8Array(headerBytes);
    file.read(0, bytes);
    header = decodeHeader(path, bytes, file.sizeBytes);
  } catch (error) {
    file.close();
    throw error;
  }
  const { bytesPerToken, tokenCount, documentCount, vocabSize } = header;
  const indexAt = headerBytes + tokenCount * bytesPerToken + padding(tokenCount * bytesPerToken);
  const buffer = new Uint8Array(pieceTokens * bytesPerToken);
  const view = new DataView(buffer.buffer);
  function read(position: number, target: Int32Array): void {
    if (position < 0 || position + target.length > tokenCount)
      throw new Error(`${path}: tokens ${position} to ${position + target.length} asked of ${tokenCount}`);
    for (let done = 0; done < target.length; ) {
      const n = Math.min(pieceTokens, target.length - done);
      file.read(headerBytes + (position + done) * bytesPerToken, buffer.subarray(0, n * bytesPerToken));
      for (let i = 0; i < n; i++) {
        const token = bytesPerToken === 2 ? view.getUint16(i * 2, true) : view.getUint32(i * 4, true);
        if (token >= vocabSize)
          throw new FormatError(
            `${path}: token ${position + done + i} is ${token}, outside the vocabulary of ${vocabSize}; the file is damaged, prepare the data again`,
          );
        target[done + i] = token;
      }
      done += n;
    }
  }
  function startOf(i: number): number {
    if (i === documentCount) return tokenCount;
    const bytes = new Uint8Array(8);
    file.read(indexAt + i * 8, bytes);
    return Number(new DataView(bytes.buffer).getBigUint64(0, true));
  }
  return {
    path,
    header,
    read,
    document(i) {
      if (!(Number.isInteger(i) && i >= 0 && i < documentCount))
        throw new Error(`${path}: document ${i} asked of ${documentCount}`);
      const start = startOf(i);
      const end = startOf(i + 1);
      if (!(start < end && end <= tokenCount))
        throw new FormatError(
          `${path}: document ${i} goes from token ${start} to ${end} of ${tokenCount}; the file is damaged, prepare the data again`,
        );
      const tokens = new Int32Array(end - start);
      read(start, tokens);
      return tokens;
    },
    *documentLengths() {
      let start = documentCount > 0 ? startOf(0) : 0;
      // The index in pieces: a shard may have a million documents.
      for (let i = 1; i <= documentCount; ) {
        const n = Math.min(8192, documentCount - i);
        const bytes = new Uint8Array(8 * n);
        file.read(indexAt + 8 * i, bytes);
        const view = new DataView(bytes.buffer);
        for (let k = 0; k <= n; k++, i++) {
          if (k === n && i < documentCount) break;
          const end = i === documentCount ? tokenCount : Number(view.getBigUint64(8 * k, true));
          if (!(start < end && end <= tokenCount))
            throw new FormatError(
              `${path}: document ${i - 1} goes from token ${start} to ${end} of ${tokenCount}; the file is damaged, prepare the data again`,
            );
          yield end - start;
          start = end;
        }
      }
    },
    verify() {
      const hasher = createHasher();
      for (let at = headerBytes; at < file.sizeBytes; at += buffer.length) {
        const part = buffer.subarray(0, Math.min(buffer.length, file.sizeBytes - at));
        file.read(at, part);
        hasher.update(part);
      }
      const head = new Uint8Array(hashedHeaderBytes);
      file.read(0, head);
      const hash = hasher.update(head).hex();
      if (hash !== header.contentHash)
        throw new FormatError(
          `${path}: its content has SHA-256 ${hash}, its header says ${header.contentHash}; the file is damaged, prepare the data again`,
        );
    },
    close: () => file.close(),
  };
}

/** Shards in order as one stream. FormatError if they come from different tokenizers. Closing it closes them. */
export function streamOfShards(shards: readonly Shard[]): TokenStream {
  if (shards.length === 0) throw new DataError("there are no token shards to read");
  const [first] = shards;
  for (const shard of shards)
    if (shard.header.tokenizerHash !== first.header.tokenizerHash || shard.header.vocabSize !== first.header.vocabSize)
      throw new FormatError(
        `${shard.path}: was made with another tokenizer than ${first.path}; prepare the data again`,
      );
  const ends: number[] = [];
  let tokenCount = 0;
  let documentCount = 0;
  let textBytes = 0;
  const identity = createHasher();
  for (const { header } of shards) {
    tokenCount += header.tokenCount;
    ends.push(tokenCount);
    documentCount += header.documentCount;
    textBytes += header.textBytes;
    identity.update(header.contentHash);
  }
  return {
    tokenCount,
    documentCount,
    textBytes,
    vocabSize: first.header.vocabSize,
    endOfText: first.header.endOfText,
    identity: identity.hex(),
    read(position, target) {
      if (position < 0 || position + target.length > tokenCount)
        throw new Error(`tokens ${position} to ${position + target.length} asked of ${tokenCount}`);
      let k = ends.findIndex((end) => position < end);
      for (let done = 0; done < target.length; k++) {
        const at = position + done;
        const n = Math.min(target.length - done, ends[k] - at);
        shards[k].read(at - (k === 0 ? 0 : ends[k - 1]), target.subarray(done, done + n));
        done += n;
      }
    },
    close() {
      for (const shard of shards) shard.close();
    },
  };
}
