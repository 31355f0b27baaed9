/**
 * A teacher's targets, kept: for every position of every sequence of a text, tokens drawn from the teacher's distribution at a
 * temperature (counts / S are an unbiased estimate of it, arXiv:2503.16870), its entropy, and its loss of the next token. Keyed
 * by the number of the sequence in its text, so that any order of batches finds them. This file reads; write-targets.ts writes.
 *
 * A folder: parts of `perPart` sequences each, and targets.json, written last, with the SHA-256 of each: a folder without it is
 * unfinished. A sequence's record: ids T·S (u16, or u32 for vocabularies over 65536), entropies T and losses T (f32), all
 * little-endian. A part ends with the SHA-256 of what stands before it, by which an unfinished folder's parts are known whole.
 */
import { z } from "zod";
import { FormatError } from "../../platform/errors.ts";
import {
  exists,
  joinPath,
  openFile,
  type ReadableFile,
  readWhole,
  sha256Of,
  sha256OfFile,
} from "../../platform/files.ts";
import { issueWords } from "../../platform/issue.ts";

export const targetsFile = "targets.json";
export const hashBytes = 64;
export const partName = (index: number): string => `part-${String(index).padStart(5, "0")}.bin`;

/** What decides every number in the folder. */
export interface TargetsIdentity {
  /** Hash of the teacher's weights and config. */
  teacher: string;
  /** SequenceReader.identity */
  data: string;
  /** T */
  sequence: number;
  sequences: number;
  /** Attention stops at a document's start. */
  maskDocuments: boolean;
  vocabSize: number;
  temperature: number;
  /** S */
  samples: number;
  seed: number;
}

/** Names the folder. */
export const targetsKey = (identity: TargetsIdentity): string =>
  sha256Of(`bitnet.ts teacher targets 1\n${JSON.stringify(identity, Object.keys(identity).sort())}`).slice(0, 32);

const count = z.int().min(0);
export const manifestSchema = z.strictObject({
  format: z.literal("bitnet.ts teacher targets"),
  version: z.literal(1),
  /** For people. */
  teacherName: z.string(),
  identity: z.strictObject({
    teacher: z.string(),
    data: z.string(),
    sequence: count,
    sequences: count,
    maskDocuments: z.boolean(),
    vocabSize: count,
    temperature: z.number(),
    samples: count,
    seed: count,
  }),
  perPart: z.int().min(1),
  /** SHA-256 of each part. */
  parts: z.array(z.string()),
});
export type TargetsManifest = z.infer<typeof manifestSchema>;

const idBytes = ({ vocabSize }: TargetsIdentity) => (vocabSize > 65536 ? 4 : 2);
/** Bytes of one sequence. */
export const recordBytes = (identity: TargetsIdentity): number =>
  identity.sequence * (identity.samples * idBytes(identity) + 8);

/** One or more sequences' targets: ids [.., T, S], entropies and losses [.., T]. */
export interface SequenceTargets {
  ids: Int32Array;
  entropy: Float32Array;
  targetLoss: Float32Array;
}

export function encodeRecord(identity: TargetsIdentity, { ids, entropy, targetLoss }: SequenceTargets): Uint8Array {
  const bytes = new Uint8Array(recordBytes(identity));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const id of ids) {
    if (idBytes(identity) === 2) view.setUint16(at, id, true);
    else view.setUint32(at, id, true);
    at += idBytes(identity);
  }
  for (const value of [...entropy, ...targetLoss]) {
    view.setFloat32(at, value, true);
    at += 4;
  }
  return bytes;
}

function decodeRecord(bytes: Uint8Array, identity: TargetsIdentity, into: SequenceTargets): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  for (let i = 0; i < into.ids.length; i++, at += idBytes(identity))
    into.ids[i] = idBytes(identity) === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
  for (const values of [into.entropy, into.targetLoss])
    for (let t = 0; t < values.length; t++, at += 4) values[t] = view.getFloat32(at, true);
}

export interface TeacherTargets {
  readonly identity: TargetsIdentity;
  /** Fills a sequence's targets: [T, S], [T] and [T]. */
  read(sequence: number, into: SequenceTargets): void;
  close(): void;
}

/** Whether a folder is finished (it may still turn out damaged). */
export const hasTargets = (folder: string): boolean => exists(joinPath(folder, targetsFile));

/**
 * Opens a finished folder, every part compared with its hash.
 *
 * @throws FormatError, FileError naming what is wrong
 */
export function openTargets(folder: string, identity: TargetsIdentity): TeacherTargets {
  const path = joinPath(folder, targetsFile);
  const again = `remove ${folder}, and it is made again`;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(readWhole(path, 2 ** 26)));
  } catch (cause) {
    throw new FormatError(`${path}: is not JSON; ${again}`, { cause });
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) throw new FormatError(`${path}: ${issueWords(parsed.error.issues[0], "it")}; ${again}`);
  const manifest = parsed.data;
  if (targetsKey(manifest.identity) !== targetsKey(identity))
    throw new FormatError(`${path}: is of another teacher, text or temperature than its folder's name says; ${again}`);
  const { perPart, parts } = manifest;
  if (parts.length !== Math.ceil(identity.sequences / perPart))
    throw new FormatError(
      `${path}: names ${parts.length} parts for ${identity.sequences} sequences of ${perPart} a part; ${again}`,
    );
  for (const [i, hash] of parts.entries()) {
    const part = joinPath(folder, partName(i));
    if (!exists(part)) throw new FormatError(`${part}: is missing; ${again}`);
    if (sha256OfFile(part) !== hash)
      throw new FormatError(
        `${part}: does not match its SHA-256 in ${targetsFile}; it was changed or damaged; ${again}`,
      );
  }
  const open: (ReadableFile | undefined)[] = [];
  const size = recordBytes(identity);
  const bytes = new Uint8Array(size);
  return {
    identity,
    read(sequence, into) {
      if (!(sequence >= 0 && sequence < identity.sequences))
        throw new Error(`${folder}: sequence ${sequence} asked of ${identity.sequences}`);
      const part = Math.floor(sequence / perPart);
      open[part] ??= openFile(joinPath(folder, partName(part)));
      open[part].read((sequence % perPart) * size, bytes);
      decodeRecord(bytes, identity, into);
    },
    close() {
      for (const file of open) file?.close();
      open.length = 0;
    },
  };
}
