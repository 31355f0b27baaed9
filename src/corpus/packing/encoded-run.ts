/**
 * Encoded documents on their way to shards: a run is a file of some thousand documents' tokens, sorted by key, so that
 * documents of a range of keys lie together and can be read without the rest. Runs live in a preparation's work folder and
 * go with it; nobody else reads them.
 *
 *     "BNTRUN01", documents uint64, tokens uint64, bytes a token uint64; tokens, zeros up to a multiple of 8;
 *     keys float64, lengths uint32, text bytes uint32, scores float32, each one a document
 */
import { DataError, FormatError } from "../../platform/errors.ts";
import { type AtomicFile, openFile, type ReadableFile, writeAtomically } from "../../platform/files.ts";
import { bytesPerTokenFor, padding } from "../../data/shard-header.ts";

const magic = "BNTRUN01";
const runHeaderBytes = 32;

/** A document's tokens without end-of-text, and what is known of it. */
export interface EncodedDocument {
  tokens: ArrayLike<number>;
  /** In [0, 1): where it stands in the order of documents. */
  key: number;
  textBytes: number;
  score: number;
}

export interface RunIndex {
  keys: Float64Array;
  /** In tokens, with end-of-text. */
  lengths: Uint32Array;
  textBytes: Uint32Array;
  scores: Float32Array;
}

export interface RunReader {
  readonly documents: number;
  readonly tokens: number;
  /** What is known of documents [from, to). */
  index(from: number, to: number): RunIndex;
  /** Tokens [from, to). */
  read(from: number, to: number): Uint16Array | Uint32Array;
  close(): void;
}

/** Writes a run, whole or not at all: documents by key, those of one key in the order given; each with end-of-text behind. */
export function writeRun(
  path: string,
  documents: readonly EncodedDocument[],
  { vocabSize, endOfText, durable }: { vocabSize: number; endOfText: number; durable: boolean },
): { documents: number; tokens: number; textBytes: number } {
  const order = Uint32Array.from(documents.keys());
  order.sort((a, b) => documents[a].key - documents[b].key || a - b);
  const n = documents.length;
  const tokens = documents.reduce((sum, { tokens }) => sum + tokens.length + 1, 0);
  const width = bytesPerTokenFor(vocabSize);
  const packed = width === 2 ? new Uint16Array(tokens) : new Uint32Array(tokens);
  const index: RunIndex = {
    keys: new Float64Array(n),
    lengths: new Uint32Array(n),
    textBytes: new Uint32Array(n),
    scores: new Float32Array(n),
  };
  let at = 0;
  let textBytes = 0;
  for (const [i, place] of order.entries()) {
    const document = documents[place];
    checkTokens(document.tokens, vocabSize);
    packed.set(document.tokens, at);
    at += document.tokens.length;
    packed[at++] = endOfText;
    index.keys[i] = document.key;
    index.lengths[i] = document.tokens.length + 1;
    index.textBytes[i] = document.textBytes;
    index.scores[i] = document.score;
    textBytes += document.textBytes;
  }
  const head = new Uint8Array(runHeaderBytes);
  head.set(new TextEncoder().encode(magic));
  const view = new DataView(head.buffer);
  for (const [i, value] of [n, tokens, width].entries()) view.setBigUint64(8 + 8 * i, BigInt(value), true);
  const write = (file: AtomicFile) => {
    file.append(head);
    for (const array of [packed, index.keys, index.lengths, index.textBytes, index.scores]) {
      file.append(new Uint8Array(array.buffer, 0, array.byteLength));
      if (array === packed) file.append(new Uint8Array(padding(array.byteLength)));
    }
  };
  writeAtomically(path, write, { durable });
  return { documents: n, tokens, textBytes };
}

function checkTokens(tokens: ArrayLike<number>, vocabSize: number): void {
  for (let i = 0; i < tokens.length; i++)
    if (!(Number.isInteger(tokens[i]) && tokens[i] >= 0 && tokens[i] < vocabSize))
      throw new DataError(
        `the tokenizer gave token ${tokens[i]} at position ${i} of a document; expected 0 to ${vocabSize - 1} (its vocabulary)`,
      );
}

/** Opens a run. FormatError for one that is damaged. The caller closes it. */
export function openRun(path: string): RunReader {
  const file = openFile(path);
  try {
    return readerOf(path, file);
  } catch (error) {
    file.close();
    throw error;
  }
}

function readerOf(path: string, file: ReadableFile): RunReader {
  const damaged = (what: string) =>
    new FormatError(`${path}: ${what}; remove this file and its marker, or prepare anew with --restart`);
  if (file.sizeBytes < runHeaderBytes) throw damaged(`has ${file.sizeBytes} bytes`);
  const head = new Uint8Array(runHeaderBytes);
  file.read(0, head);
  if (new TextDecoder("latin1").decode(head.subarray(0, 8)) !== magic) throw damaged("is no run of encoded documents");
  const view = new DataView(head.buffer);
  const [n, tokens, width] = [0, 1, 2].map((i) => Number(view.getBigUint64(8 + 8 * i, true)));
  const tokenBytes = tokens * width;
  const keysAt = runHeaderBytes + tokenBytes + padding(tokenBytes);
  const lengthsAt = keysAt + 8 * n;
  const expected = lengthsAt + 12 * n;
  if ((width !== 2 && width !== 4) || expected !== file.sizeBytes)
    throw damaged(`${n} documents of ${tokens} tokens need ${expected} bytes, but it has ${file.sizeBytes}`);
  const table = <T extends Float64Array | Uint32Array | Float32Array | Uint16Array>(array: T, at: number): T => {
    file.read(at, new Uint8Array(array.buffer));
    return array;
  };
  return {
    documents: n,
    tokens,
    index(from, to) {
      const count = to - from;
      return {
        keys: table(new Float64Array(count), keysAt + 8 * from),
        lengths: table(new Uint32Array(count), lengthsAt + 4 * from),
        textBytes: table(new Uint32Array(count), lengthsAt + 4 * (n + from)),
        scores: table(new Float32Array(count), lengthsAt + 4 * (2 * n + from)),
      };
    },
    read(from, to) {
      const array = width === 2 ? new Uint16Array(to - from) : new Uint32Array(to - from);
      return table(array, runHeaderBytes + from * width);
    },
    close: () => file.close(),
  };
}
