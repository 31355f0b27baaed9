/**
 * Writes a teacher's targets (targets.ts): the teacher reads the text once, in the order of its sequences, and tokens are drawn
 * from each of its distributions. Killed, it goes on behind its last whole part. The draws of a sequence depend on the seed and
 * its number alone. Called by train.ts.
 */
import { documentStarts, type FeedSource } from "../../data/index.ts";
import { sampleTokens } from "../../ops/distillation/index.ts";
import { DataError } from "../../platform/errors.ts";
import {
  exists,
  joinPath,
  makeFolder,
  readWhole,
  sha256Of,
  sha256OfFile,
  writeAtomically,
} from "../../platform/files.ts";
import { takeLock } from "../../platform/lock.ts";
import { createRandom } from "../../platform/random.ts";
import { nextTurn } from "../../platform/turn.ts";
import type { Runtime } from "../../tensor/index.ts";
import {
  encodeRecord,
  hashBytes,
  hasTargets,
  openTargets,
  partName,
  recordBytes,
  type SequenceTargets,
  type TargetsIdentity,
  type TargetsManifest,
  targetsFile,
  targetsKey,
  type TeacherTargets,
} from "./targets.ts";
import type { Teacher } from "./teacher.ts";

/** Of a part: what a killed process has to do again is a fraction of it, and a text of a billion tokens has a few thousand. */
const defaultPartBytes = 1 << 24;

export interface TargetsRequest {
  /** Where folders of targets lie, each under its key. */
  root: string;
  teacher: Teacher;
  runtime: Runtime;
  source: FeedSource;
  temperature: number;
  samples: number;
  seed: number;
  maskDocuments: boolean;
  /** Sequences that the teacher reads at once. */
  microBatch: number;
  /** Of a part; absent: 16 MiB. */
  partBytes?: number;
  onNote?: (text: string) => void;
  signal?: AbortSignal;
}

/**
 * The targets of one text, made if they are not there.
 *
 * @throws UsageError while another process writes the same; FormatError for damage; the signal's reason when aborted
 */
export async function teacherTargets(request: TargetsRequest): Promise<TeacherTargets> {
  const { root, teacher, source, temperature, samples, seed, maskDocuments, onNote = () => {} } = request;
  const { sequences } = source;
  const identity: TargetsIdentity = {
    teacher: teacher.hash,
    data: sequences.identity,
    sequence: sequences.length,
    sequences: sequences.count,
    maskDocuments,
    vocabSize: teacher.model.config.vocabSize,
    temperature,
    samples,
    seed,
  };
  const folder = joinPath(root, targetsKey(identity));
  if (!hasTargets(folder)) {
    makeFolder(folder);
    const lock = takeLock(joinPath(folder, "targets.lock"), `the teacher's targets in ${folder}`, onNote);
    try {
      // Another process may have finished them until then.
      if (!hasTargets(folder)) await write(folder, identity, request);
    } finally {
      lock.release();
    }
  }
  onNote(`teacher's targets: ${folder}`);
  return openTargets(folder, identity);
}

async function write(folder: string, identity: TargetsIdentity, request: TargetsRequest): Promise<void> {
  const { teacher, partBytes = defaultPartBytes, onNote = () => {}, signal } = request;
  const perPart = Math.max(1, Math.floor(partBytes / recordBytes(identity)));
  const parts = Math.ceil(identity.sequences / perPart);
  const hashes: string[] = [];
  for (let part = 0; part < parts; part++) {
    const path = joinPath(folder, partName(part));
    const [from, to] = [part * perPart, Math.min(identity.sequences, (part + 1) * perPart)];
    if (!isWhole(path, (to - from) * recordBytes(identity))) {
      onNote(
        `drawing ${identity.samples} tokens a position from ${teacher.name}: sequences ${from} to ${to} of ${identity.sequences}`,
      );
      const bytes = new Uint8Array((to - from) * recordBytes(identity) + hashBytes);
      for (let first = from; first < to; first += request.microBatch) {
        signal?.throwIfAborted();
        const rows = Math.min(request.microBatch, to - first);
        const records = await draw(first, rows, identity, request);
        bytes.set(records, (first - from) * recordBytes(identity));
        // Kernels run synchronously: here Ctrl-C is heard.
        await nextTurn();
      }
      const content = bytes.subarray(0, bytes.length - hashBytes);
      bytes.set(new TextEncoder().encode(sha256Of(content)), content.length);
      writeAtomically(path, bytes);
    }
    hashes.push(sha256OfFile(path));
  }
  const manifest: TargetsManifest = {
    format: "bitnet.ts teacher targets",
    version: 1,
    teacherName: teacher.name,
    identity,
    perPart,
    parts: hashes,
  };
  writeAtomically(joinPath(folder, targetsFile), `${JSON.stringify(manifest, null, 1)}\n`);
}

/** A part of an earlier process, by the hash at its end. */
function isWhole(path: string, contentBytes: number): boolean {
  if (!exists(path)) return false;
  const bytes = readWhole(path);
  if (bytes.length !== contentBytes + hashBytes) return false;
  return sha256Of(bytes.subarray(0, contentBytes)) === new TextDecoder().decode(bytes.subarray(contentBytes));
}

/** The records of some sequences, one behind another. */
async function draw(
  first: number,
  rows: number,
  identity: TargetsIdentity,
  { runtime, teacher, source, temperature, samples, seed, maskDocuments }: TargetsRequest,
): Promise<Uint8Array> {
  const T = identity.sequence;
  const tokens = new Int32Array(rows * T);
  const targets = new Int32Array(rows * T);
  const uniforms = new Float32Array(rows * T * samples);
  for (let b = 0; b < rows; b++) {
    source.sequences.read(first + b, tokens.subarray(b * T, (b + 1) * T), targets.subarray(b * T, (b + 1) * T));
    const random = createRandom(first + b + (seed % 2 ** 20) * 2 ** 32);
    for (let t = 0; t < T; t++) {
      const at = (b * T + t) * samples;
      // 24 bits: exact in float32, and below 1.
      for (let i = 0; i < samples; i++) uniforms[at + i] = Math.floor(random.uniform() * 2 ** 24) / 2 ** 24;
      uniforms.subarray(at, at + samples).sort();
    }
  }
  const documentStart = maskDocuments ? documentStarts(tokens, T, source.endOfText) : undefined;
  const made = runtime.withoutGradient(() =>
    runtime.scope(() => {
      const logits = teacher.model.logits({ tokens, batch: rows, length: T, documentStart });
      const ids = runtime.empty([rows, T, samples], "i32");
      const [entropy, targetLoss] = [runtime.empty([rows, T]), runtime.empty([rows, T])];
      const arrays = {
        teacher: logits,
        targets: runtime.upload([rows, T], "i32", targets),
        uniforms: runtime.upload([rows, T, samples], "f32", uniforms),
        ids,
        entropy,
        targetLoss,
      };
      sampleTokens(runtime.plainContext(), arrays, temperature);
      return [ids, entropy, targetLoss];
    }),
  );
  try {
    const [ids, entropy, targetLoss] = (await Promise.all(made.map((tensor) => runtime.read(tensor)))) as [
      Int32Array,
      Float32Array,
      Float32Array,
    ];
    if (![...entropy, ...targetLoss].every(Number.isFinite))
      throw new DataError(`distill.teacher ${teacher.name}: its logits are not finite; take another teacher`);
    const size = recordBytes(identity);
    const bytes = new Uint8Array(rows * size);
    for (let b = 0; b < rows; b++) {
      const row = <A extends Int32Array | Float32Array>(array: A, width: number) =>
        array.subarray(b * width, (b + 1) * width) as A;
      const one: SequenceTargets = {
        ids: row(ids, T * samples),
        entropy: row(entropy, T),
        targetLoss: row(targetLoss, T),
      };
      bytes.set(encodeRecord(identity, one), b * size);
    }
    return bytes;
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}
