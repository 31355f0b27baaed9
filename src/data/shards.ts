/**
 * Token shards: writer and reader. shard-header.ts gives the header byte by byte, shard-stream.ts reads many as one.
 *
 * A shard is little-endian: a header of 256 bytes, the tokens (uint16 where the vocabulary allows, else uint32), zeros up
 * to a multiple of 8, and an index of its documents.
 *
 * Version 1, documents as they are: the index is one uint64 a document, the position in this shard of its first token. A
 * document is never split over two shards, and ends with its end-of-text token.
 *
 * Version 2, sequences of T tokens: the index has 16 bytes a piece (tokens of one document without a gap): position in
 * this shard (uint64), number in this shard of its document (uint32), tokens of the document before the piece (uint32).
 * Behind it, where documents were fitted into sequences: how many tokens of each sequence are documents' (uint32, zeros up
 * to a multiple of 8), the rest being end-of-text tokens that fill it up; and, where sources have scores, the score of
 * each piece's document (float32, NaN where it has none, zeros up to a multiple of 8).
 */
import { DataError, FormatError } from "../platform/errors.ts";
import { createAtomicFile, createHasher, openFile } from "../platform/files.ts";
import {
  bytesPerTokenFor,
  decodeHeader,
  encodeHeader,
  hashedPart,
  headerBytes,
  layoutOf,
  packedShardVersion,
  padding,
  type ShardHeader,
  shardVersion,
} from "./shard-header.ts";

/** Tokens converted at once: keeps the buffers of a writer and a reader at some hundred KiB. */
const pieceTokens = 1 << 16;
/** Entries of the index converted at once. */
const entriesAtOnce = 1 << 13;

export interface ShardWriter {
  readonly tokenCount: number;
  readonly documentCount: number;
  /** Appends one document and the end-of-text token. `textBytes` is the length of its text in UTF-8. */
  add(tokens: ArrayLike<number>, textBytes: number): void;
  /** Appends a piece of a document as it is, to a packed shard. */
  addPiece(tokens: ArrayLike<number>, about: PieceAbout): void;
  /** Fills the sequence up with end-of-text tokens; best-fit alone. */
  endSequence(): void;
  /** Completes the file under its final name. */
  finish(): ShardHeader;
  abort(): void;
}

export interface PieceAbout {
  /** Tokens of the document before this piece; 0: it begins here. */
  at: number;
  /** Number of the document in this shard, from 0; one that began in the shard before has 0. */
  document: number;
  /** UTF-8 bytes of the document's text; counted where it begins. */
  textBytes: number;
  score?: number;
}

export interface ShardAbout {
  vocabSize: number;
  endOfText: number;
  tokenizerHash: string;
  /** Absent: documents as they are (version 1). */
  packing?: { sequence: number; bestFit: boolean; scores: boolean };
}

/**
 * Starts a shard. The file appears under `path` only when finished.
 *
 * @throws DataError from add() for a token outside the vocabulary; FileError when the disk refuses
 */
export function createShard(path: string, about: ShardAbout): ShardWriter {
  const { vocabSize, endOfText, tokenizerHash, packing } = about;
  if (!/^[\x21-\x7e]{1,64}$/.test(tokenizerHash))
    throw new Error(`tokenizer hash "${tokenizerHash}" is not 1 to 64 printable ASCII characters`);
  const bytesPerToken = bytesPerTokenFor(vocabSize);
  const file = createAtomicFile(path);
  const hasher = createHasher();
  const buffer = new DataView(new ArrayBuffer(pieceTokens * bytesPerToken));
  const starts = growing(Float64Array);
  const documents = growing(Uint32Array);
  const ats = growing(Uint32Array);
  const scores = growing(Float32Array);
  const used = growing(Uint32Array);
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
  const putAll = (tokens: ArrayLike<number>) => {
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if (!(Number.isInteger(token) && token >= 0 && token < vocabSize))
        throw new DataError(
          `the tokenizer gave token ${token} at position ${i} of a document; expected 0 to ${vocabSize - 1} (its vocabulary)`,
        );
      put(token);
    }
    tokenCount += tokens.length;
  };
  /** Entries of so many bytes, in parts, then zeros up to a multiple of 8. */
  const appendTable = (count: number, entryBytes: number, write: (view: DataView, at: number, i: number) => void) => {
    for (let first = 0; first < count; first += entriesAtOnce) {
      const part = new DataView(new ArrayBuffer(Math.min(entriesAtOnce, count - first) * entryBytes));
      for (let i = 0; i * entryBytes < part.byteLength; i++) write(part, i * entryBytes, first + i);
      append(new Uint8Array(part.buffer));
    }
    append(new Uint8Array(padding(count * entryBytes)));
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
      if (packing) throw new Error("add: this shard is packed; use addPiece");
      starts.push(tokenCount);
      documentCount++;
      putAll(tokens);
      put(endOfText);
      tokenCount++;
      textBytesInAll += textBytes;
    },
    addPiece(tokens, { at, document, textBytes, score }) {
      if (!packing) throw new Error("addPiece: this shard is not packed; use add");
      if (packing.bestFit && (tokenCount % packing.sequence) + tokens.length > packing.sequence)
        throw new Error(`addPiece: ${tokens.length} tokens do not fit into what is left of the sequence`);
      starts.push(tokenCount);
      documents.push(document);
      ats.push(at);
      scores.push(score ?? Number.NaN);
      putAll(tokens);
      if (at > 0) return;
      documentCount++;
      textBytesInAll += textBytes;
    },
    endSequence() {
      if (!packing?.bestFit) throw new Error("endSequence: sequences of this shard are not filled up");
      const over = tokenCount % packing.sequence;
      used.push(over === 0 ? packing.sequence : over);
      if (over === 0) return;
      for (let i = over; i < packing.sequence; i++) put(endOfText);
      tokenCount += packing.sequence - over;
    },
    finish() {
      flush();
      append(new Uint8Array(padding(tokenCount * bytesPerToken)));
      if (!packing) appendTable(documentCount, 8, (view, at, i) => view.setBigUint64(at, BigInt(starts.at(i)), true));
      else {
        appendTable(starts.length, 16, (view, at, i) => {
          view.setBigUint64(at, BigInt(starts.at(i)), true);
          view.setUint32(at + 8, documents.at(i), true);
          view.setUint32(at + 12, ats.at(i), true);
        });
        if (packing.bestFit) {
          if (used.length * packing.sequence !== tokenCount)
            throw new Error(`${path}: ${used.length} sequences were ended, of ${tokenCount} tokens`);
          appendTable(used.length, 4, (view, at, i) => view.setUint32(at, used.at(i), true));
        }
        if (packing.scores) appendTable(scores.length, 4, (view, at, i) => view.setFloat32(at, scores.at(i), true));
      }
      const header: ShardHeader = {
        version: packing ? packedShardVersion : shardVersion,
        bytesPerToken,
        tokenCount,
        documentCount,
        textBytes: textBytesInAll,
        vocabSize,
        endOfText,
        tokenizerHash,
        contentHash: "",
        packing: packing ? { ...packing, pieces: starts.length } : null,
      };
      header.contentHash = hasher.update(hashedPart(encodeHeader(header), header.version)).hex();
      file.overwrite(0, encodeHeader(header));
      file.commit();
      return header;
    },
    abort: () => file.abort(),
  };
}

/** A list of numbers in a typed array that grows: 4 or 8 bytes an entry. */
function growing(type: Float64ArrayConstructor | Uint32ArrayConstructor | Float32ArrayConstructor) {
  let array: Float64Array | Uint32Array | Float32Array = new type(1024);
  let length = 0;
  return {
    get length() {
      return length;
    },
    push(value: number) {
      if (length === array.length) {
        const larger = new type(array.length * 2);
        larger.set(array);
        array = larger;
      }
      array[length++] = value;
    },
    at: (i: number) => array[i],
  };
}

/** Tokens of one document that stand in a shard without a gap. */
export interface ShardPiece {
  /** Of its first token in the shard. */
  start: number;
  /** In tokens; an end-of-text token that ends the document included. */
  length: number;
  /** Number of its document in this shard. */
  document: number;
  /** Tokens of the document before it; above 0 it goes on with one that began before. */
  at: number;
  /** NaN where the document has none. */
  score: number;
}

export interface Shard {
  readonly path: string;
  readonly header: ShardHeader;
  read(position: number, target: Int32Array): void;
  /** Tokens of document i, its end-of-text token included; in a packed shard, what this shard holds of it. */
  document(i: number): Int32Array;
  /**
   * Tokens of each document that begins here, its end-of-text token included. Reads the index alone. Of a document that
   * goes on in the next shard, it is what stands here.
   */
  documentLengths(): Iterable<number>;
  /** The index, in order of position. */
  pieces(): Iterable<ShardPiece>;
  /** Tokens of sequence `row` that are documents', the rest filling it up: T where sequences are not filled up. */
  usedOf(row: number): number;
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
  const { bytesPerToken, tokenCount, documentCount, vocabSize, packing } = header;
  const { indexAt, entryBytes, entries, usedAt, rows, scoresAt } = layoutOf(header);
  const buffer = new Uint8Array(pieceTokens * bytesPerToken);
  const view = new DataView(buffer.buffer);
  const damaged = (what: string) => new FormatError(`${path}: ${what}; the file is damaged, prepare the data again`);
  /** A table's entries from `first`, so many at once. */
  function part(at: number, width: number, first: number, count: number): DataView {
    const bytes = new Uint8Array(count * width);
    file.read(at + first * width, bytes);
    return new DataView(bytes.buffer);
  }
  function read(position: number, target: Int32Array): void {
    if (position < 0 || position + target.length > tokenCount)
      throw new Error(`${path}: tokens ${position} to ${position + target.length} asked of ${tokenCount}`);
    for (let done = 0; done < target.length; ) {
      const n = Math.min(pieceTokens, target.length - done);
      file.read(headerBytes + (position + done) * bytesPerToken, buffer.subarray(0, n * bytesPerToken));
      for (let i = 0; i < n; i++) {
        const token = bytesPerToken === 2 ? view.getUint16(i * 2, true) : view.getUint32(i * 4, true);
        if (token >= vocabSize)
          throw damaged(`token ${position + done + i} is ${token}, outside the vocabulary of ${vocabSize}`);
        target[done + i] = token;
      }
      done += n;
    }
  }
  /** The used part of each sequence: all of it is some hundred KiB, read once. */
  let usedTokens: Uint32Array | undefined;
  function usedOf(row: number): number {
    if (!packing?.bestFit) return packing?.sequence ?? 0;
    if (!usedTokens) {
      usedTokens = new Uint32Array(rows);
      const table = part(usedAt, 4, 0, rows);
      for (let i = 0; i < rows; i++) {
        usedTokens[i] = table.getUint32(4 * i, true);
        if (usedTokens[i] < 1 || usedTokens[i] > packing.sequence)
          throw damaged(`sequence ${i} has ${usedTokens[i]} tokens of ${packing.sequence}`);
      }
    }
    if (!(row >= 0 && row < rows)) throw new Error(`${path}: sequence ${row} asked of ${rows}`);
    return usedTokens[row];
  }
  function startOf(i: number): number {
    return i === entries ? tokenCount : Number(part(indexAt, entryBytes, i, 1).getBigUint64(0, true));
  }
  /** Where a piece ends: where the next begins, or where its sequence's documents end. */
  function endOf(start: number, next: number): number {
    if (!packing?.bestFit) return next;
    const row = Math.min(Math.floor(start / packing.sequence), rows - 1);
    return Math.min(next, row * packing.sequence + usedOf(row));
  }
  const checked = (i: number, start: number, end: number) => {
    if (!(start < end && end <= tokenCount))
      throw damaged(`document ${i} goes from token ${start} to ${end} of ${tokenCount}`);
  };
  function* pieces(): Generator<ShardPiece> {
    for (let first = 0; first < entries; first += entriesAtOnce) {
      const n = Math.min(entriesAtOnce, entries - first);
      const index = part(indexAt, entryBytes, first, n);
      const after = startOf(first + n);
      const scored = packing?.scores ? part(scoresAt, 4, first, n) : null;
      for (let k = 0; k < n; k++) {
        const start = Number(index.getBigUint64(k * entryBytes, true));
        const next = k + 1 < n ? Number(index.getBigUint64((k + 1) * entryBytes, true)) : after;
        const end = endOf(start, next);
        checked(first + k, start, end);
        const [document, at] = packing
          ? [index.getUint32(k * 16 + 8, true), index.getUint32(k * 16 + 12, true)]
          : [first + k, 0];
        yield { start, length: end - start, document, at, score: scored ? scored.getFloat32(4 * k, true) : Number.NaN };
      }
    }
  }
  return {
    path,
    header,
    read,
    usedOf,
    pieces,
    document(i) {
      if (!(Number.isInteger(i) && i >= 0 && i < documentCount))
        throw new Error(`${path}: document ${i} asked of ${documentCount}`);
      if (!packing) {
        const start = startOf(i);
        const end = startOf(i + 1);
        checked(i, start, end);
        const tokens = new Int32Array(end - start);
        read(start, tokens);
        return tokens;
      }
      // A piece at the front that goes on with the document of the shard before has number 0, and does not begin here.
      const own = [...pieces()].filter(({ document }) => document === i + beginsBefore());
      own.sort((a, b) => a.at - b.at);
      const tokens = new Int32Array(own.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const { start, length } of own) {
        read(start, tokens.subarray(at, at + length));
        at += length;
      }
      return tokens;
    },
    *documentLengths() {
      if (!packing?.bestFit) {
        for (const { length, at } of pieces()) if (at === 0) yield length;
        return;
      }
      const lengths = new Float64Array(documentCount);
      for (const { document, length } of pieces()) {
        if (document >= documentCount) throw damaged(`a piece is of document ${document} of ${documentCount}`);
        lengths[document] += length;
      }
      yield* lengths;
    },
    verify() {
      const hasher = createHasher();
      for (let at = headerBytes; at < file.sizeBytes; at += buffer.length) {
        const part = buffer.subarray(0, Math.min(buffer.length, file.sizeBytes - at));
        file.read(at, part);
        hasher.update(part);
      }
      const head = new Uint8Array(headerBytes);
      file.read(0, head);
      const hash = hasher.update(hashedPart(head, header.version)).hex();
      if (hash !== header.contentHash)
        throw damaged(`its content has SHA-256 ${hash}, its header says ${header.contentHash}`);
    },
    close: () => file.close(),
  };

  function beginsBefore(): number {
    if (packing?.bestFit) return 0;
    for (const { at } of pieces()) return at > 0 ? 1 : 0;
    return 0;
  }
}
