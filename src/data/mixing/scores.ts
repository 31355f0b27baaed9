/**
 * How hard each sequence is, kept beside the shards: `scores/<split>-T<T>-<name>.bin` in a dataset's folder. Written by
 * `bitnet data score`, read by place when a curriculum draws, so that neither scores nor their order are ever in memory
 * while training. Knows not what the numbers mean: the lower, the easier, unless the curriculum says otherwise.
 *
 * Little-endian: a header of 256 bytes, the scores (float32 each), the order (uint32 each: the sequence of the lowest score,
 * of the next, ...; equal scores in the order of the sequences).
 *
 *     0  magic "BNTSCORE"                 24  SHA-256 of the sequences' identity    88  name, 32 bytes of ASCII
 *     8  version, uint32 (1)              56  SHA-256 of everything behind the     120  detail, 128 bytes of UTF-8: what the
 *    12  tokens a sequence (T), uint32        header, then of the header with          scores were made with
 *    16  sequences (S), uint64                zeros here                           248  zeros
 */
import { DataError, FormatError, UsageError } from "../../platform/errors.ts";
import {
  createAtomicFile,
  createHasher,
  exists,
  joinPath,
  listFolder,
  makeFolder,
  openFile,
  sha256Of,
} from "../../platform/files.ts";
import type { SplitName } from "../dataset.ts";
import type { SequenceReader } from "../sequences.ts";
import type { DifficultyOrder } from "./mixture.ts";

const magic = "BNTSCORE";
const version = 1;
const headerBytes = 256;
const hashAt = 56;
const detailBytes = 128;
const pieceBytes = 1 << 20;
/** Order is kept in 32 bits. */
const maxSequences = 2 ** 32 - 1;

const scoresFolder = "scores";

export interface ScoresName {
  /** The dataset's folder. */
  folder: string;
  split: SplitName;
  /** T */
  sequence: number;
  /** "length", "loss", "score", or a name of one's own: lower-case letters, digits and dashes. */
  name: string;
}

/** @throws UsageError for a name that cannot be one of a file */
export function scoresPath({ folder, split, sequence, name }: ScoresName): string {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name))
    throw new UsageError(`scores are called "${name}"; expected up to 32 lower-case letters, digits and dashes`);
  return joinPath(folder, scoresFolder, `${split}-T${sequence}-${name}.bin`);
}

/** The scores that a dataset has. */
export function listScores(folder: string): Omit<ScoresName, "folder">[] {
  const inside = joinPath(folder, scoresFolder);
  if (!exists(inside)) return [];
  return listFolder(inside).flatMap((file) => {
    const match = /^(train|valid)-T(\d+)-([a-z0-9-]+)\.bin$/.exec(file);
    return match ? [{ split: match[1] as SplitName, sequence: Number(match[2]), name: match[3] }] : [];
  });
}

/**
 * Writes the scores of all sequences, whole or not at all.
 *
 * @param sequences what was scored; scores are good for no other
 * @param detail    what they were made with, for people: "length", a checkpoint's path and hash
 * @throws DataError for a score that is no finite number; FileError when the disk refuses
 */
export function writeScores(
  where: ScoresName,
  sequences: Pick<SequenceReader, "identity" | "count">,
  scores: Float32Array,
  detail = "",
): string {
  const path = scoresPath(where);
  if (scores.length !== sequences.count) throw new Error(`${scores.length} scores for ${sequences.count} sequences`);
  if (scores.length > maxSequences) throw new DataError(`${path}: ${scores.length} sequences are too many to order`);
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad >= 0) throw new DataError(`${path}: the score of sequence ${bad} is ${scores[bad]}; expected a number`);
  const header = encodeHeader(where, scores.length, sequences.identity, detail);
  makeFolder(joinPath(where.folder, scoresFolder));
  const file = createAtomicFile(path);
  try {
    file.append(header);
    const hasher = createHasher();
    const order = sortedPlaces(scores);
    for (const values of [scores, order])
      for (let at = 0; at < values.length; at += pieceBytes / 4) {
        const part = values.subarray(at, at + pieceBytes / 4);
        const bytes = new Uint8Array(part.length * 4);
        const view = new DataView(bytes.buffer);
        for (let i = 0; i < part.length; i++)
          if (values === scores) view.setFloat32(4 * i, part[i], true);
          else view.setUint32(4 * i, part[i], true);
        hasher.update(bytes);
        file.append(bytes);
      }
    header.set(hexBytes(hasher.update(header).hex()), hashAt);
    file.overwrite(0, header);
    file.commit();
  } catch (error) {
    file.abort();
    throw error;
  }
  return path;
}

export interface Scores {
  readonly path: string;
  readonly name: string;
  /** What they were made with. */
  readonly detail: string;
  /** T and S */
  readonly sequence: number;
  readonly sequences: number;
  readonly contentHash: string;
  scoreOf(sequence: number): number;
  /** By difficulty. `highest`: the highest score counts as the easiest. */
  order(first: "lowest" | "highest"): DifficultyOrder;
  close(): void;
}

/**
 * Opens scores for reading by place, all of them read once against their hash.
 *
 * @param sequences what they must be of
 * @throws DataError where there are none, naming the command that makes them, or they are of other data; FormatError for
 *   a damaged file
 */
export function openScores(where: ScoresName, sequences: Pick<SequenceReader, "identity" | "count">): Scores {
  const { folder, split, sequence, name } = where;
  const path = scoresPath(where);
  const again = `bitnet data score ${folder} --by ${name} --sequence ${sequence}${split === "train" ? "" : ` --split ${split}`}`;
  if (!exists(path)) {
    const there = listScores(folder).map((s) => `${s.name} of the ${s.split} split at ${s.sequence} tokens`);
    throw new DataError(
      `${folder}: has no scores "${name}" for sequences of ${sequence} tokens (it has: ${there.join(", ") || "none"}); make them: ${again}`,
    );
  }
  const file = openFile(path);
  try {
    const wrong = (what: string) => new FormatError(`${path}: ${what}; make the scores again: ${again}`);
    if (file.sizeBytes < headerBytes) throw wrong(`has ${file.sizeBytes} bytes, less than its header`);
    const header = new Uint8Array(headerBytes);
    file.read(0, header);
    const view = new DataView(header.buffer);
    const text = (at: number, length: number) =>
      new TextDecoder().decode(header.subarray(at, at + length)).replace(/\0+$/, "");
    if (text(0, 8) !== magic) throw wrong(`does not start with ${magic}`);
    if (view.getUint32(8, true) !== version)
      throw wrong(`is of version ${view.getUint32(8, true)}; this program reads version ${version}`);
    const S = Number(view.getBigUint64(16, true));
    if (file.sizeBytes !== headerBytes + 8 * S)
      throw wrong(`${S} scores need ${headerBytes + 8 * S} bytes but the file has ${file.sizeBytes}; is it cut short?`);
    const contentHash = toHex(header.subarray(hashAt, hashAt + 32));
    const found = hashOf(file, header);
    if (found !== contentHash) throw wrong(`its content has SHA-256 ${found}, its header says ${contentHash}`);
    const identity = toHex(header.subarray(24, 56));
    if (S !== sequences.count || identity !== sha256Of(sequences.identity) || view.getUint32(12, true) !== sequence)
      throw new DataError(`${path}: was made of other data than are there now; make the scores again: ${again}`);
    const four = new Uint8Array(4);
    const fourView = new DataView(four.buffer);
    const at = (offset: number) => {
      file.read(headerBytes + offset, four);
      return fourView;
    };
    const check = (i: number) => {
      if (!(Number.isInteger(i) && i >= 0 && i < S)) throw new Error(`${path}: place ${i} asked of ${S}`);
      return i;
    };
    return {
      path,
      name: text(88, 32),
      detail: text(120, detailBytes),
      sequence,
      sequences: S,
      contentHash,
      scoreOf: (i) => at(4 * check(i)).getFloat32(0, true),
      order: (first) => ({
        identity: `${contentHash} ${first}`,
        sequenceAt(place) {
          const i = first === "lowest" ? check(place) : S - 1 - check(place);
          return at(4 * (S + i)).getUint32(0, true);
        },
        close: () => file.close(),
      }),
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

function encodeHeader({ sequence, name }: ScoresName, S: number, identity: string, detail: string): Uint8Array {
  const header = new Uint8Array(headerBytes);
  const view = new DataView(header.buffer);
  const utf8 = new TextEncoder();
  header.set(utf8.encode(magic), 0);
  view.setUint32(8, version, true);
  view.setUint32(12, sequence, true);
  view.setBigUint64(16, BigInt(S), true);
  header.set(hexBytes(sha256Of(identity)), 24);
  header.set(utf8.encode(name), 88);
  utf8.encodeInto(detail, header.subarray(120, 120 + detailBytes));
  return header;
}

function hashOf(file: ReturnType<typeof openFile>, header: Uint8Array): string {
  const hasher = createHasher();
  const piece = new Uint8Array(pieceBytes);
  for (let at = headerBytes; at < file.sizeBytes; at += pieceBytes) {
    const part = piece.subarray(0, Math.min(pieceBytes, file.sizeBytes - at));
    file.read(at, part);
    hasher.update(part);
  }
  const zeroed = header.slice();
  zeroed.fill(0, hashAt, hashAt + 32);
  return hasher.update(zeroed).hex();
}

const toHex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const hexBytes = (hex: string): number[] => hex.match(/../g)!.map((pair) => Number.parseInt(pair, 16));

/**
 * Places in ascending order of their scores, equal ones in order of place: a radix sort over 16 bits, twice, since a
 * comparison sort of tens of millions of places would take minutes and an array of objects for each.
 */
export function sortedPlaces(scores: Float32Array): Uint32Array {
  const n = scores.length;
  const keys = new Uint32Array(scores.buffer.slice(scores.byteOffset, scores.byteOffset + 4 * n));
  // As unsigned whole numbers, floats sort by their bits once negative ones are turned around; -0 counts as 0.
  for (let i = 0; i < n; i++)
    keys[i] = scores[i] === 0 ? 0x80000000 : keys[i] & 0x80000000 ? ~keys[i] : keys[i] | 0x80000000;
  let from: Uint32Array<ArrayBuffer> = Uint32Array.from({ length: n }, (_, i) => i);
  let to = new Uint32Array(n);
  for (const shift of [0, 16]) {
    const starts = new Float64Array((1 << 16) + 1);
    for (let i = 0; i < n; i++) starts[((keys[i] >>> shift) & 0xffff) + 1]++;
    for (let k = 1; k < starts.length; k++) starts[k] += starts[k - 1];
    for (let i = 0; i < n; i++) to[starts[(keys[from[i]] >>> shift) & 0xffff]++] = from[i];
    [from, to] = [to, from];
  }
  return from;
}
