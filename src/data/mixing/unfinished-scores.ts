/**
 * Scores that are being made, so that a scoring that was ended goes on: a folder beside them with what is scored, and a file
 * for each finished part (SHA-256 of what follows, then the scores, float32 each, little-endian). Knows not what they mean.
 *
 *   scores/train-T256-loss.bin.work/run.json  000000.part  000001.part ...
 */
import { FormatError, UsageError } from "../../platform/errors.ts";
import {
  exists,
  joinPath,
  listFolder,
  makeFolder,
  readWhole,
  removePath,
  sha256Of,
  sweepFolder,
  writeAtomically,
} from "../../platform/files.ts";
import type { SequenceReader } from "../sequences.ts";
import { type ScoresName, scoresPath } from "./scores.ts";

const version = 1;
const hashBytes = 32;

export interface UnfinishedScores {
  readonly path: string;
  /** Sequences of a part; the last has what is left. */
  readonly partSequences: number;
  /** Null for a part that is not finished, or was damaged. */
  read(part: number): Float32Array | null;
  write(part: number, scores: Float32Array): void;
  /** When all of them are kept elsewhere. */
  remove(): void;
  /** Removes the folder if no part in it is finished; whether it did. */
  removeIfEmpty(): boolean;
}

/**
 * Opens an unfinished scoring, or begins one.
 *
 * @param about    what else decides the scores, by name, for people too: the model's hash
 * @param restart  throw away one of other data or settings
 * @throws UsageError for such a one, saying what differs
 */
export function openUnfinishedScores(
  where: ScoresName,
  sequences: Pick<SequenceReader, "identity" | "count">,
  about: Readonly<Record<string, string | number | boolean>>,
  { partSequences, restart = false }: { partSequences: number; restart?: boolean },
): UnfinishedScores {
  const path = `${scoresPath(where)}.work`;
  const file = joinPath(path, "run.json");
  const now = { version, data: sha256Of(sequences.identity), sequences: sequences.count, partSequences, ...about };
  if (restart) removePath(path);
  if (exists(file)) {
    const before = readRun(file);
    const names = Object.keys({ ...before, ...now });
    const differ = names.filter((name) => before[name] !== (now as Record<string, unknown>)[name]);
    if (differ.length > 0)
      throw new UsageError(
        `${path}: holds an unfinished scoring that differs in: ${differ.join(", ")}; go on with what it was begun with, or start anew with --restart`,
      );
  }
  makeFolder(path);
  sweepFolder(path);
  if (!exists(file)) writeAtomically(file, `${JSON.stringify(now, null, 2)}\n`);
  const nameOf = (part: number) => joinPath(path, `${String(part).padStart(6, "0")}.part`);
  return {
    path,
    partSequences,
    read(part) {
      if (!exists(nameOf(part))) return null;
      const bytes = readWhole(nameOf(part));
      const scores = Math.min(partSequences, sequences.count - part * partSequences);
      const content = bytes.subarray(hashBytes);
      const hash = Array.from(bytes.subarray(0, hashBytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (content.length !== 4 * scores || sha256Of(content) !== hash) return null;
      const view = new DataView(content.buffer, content.byteOffset, content.length);
      return Float32Array.from({ length: scores }, (_, i) => view.getFloat32(4 * i, true));
    },
    write(part, scores) {
      const bytes = new Uint8Array(hashBytes + 4 * scores.length);
      const view = new DataView(bytes.buffer);
      for (const [i, score] of scores.entries()) view.setFloat32(hashBytes + 4 * i, score, true);
      const hash = sha256Of(bytes.subarray(hashBytes));
      for (let i = 0; i < hashBytes; i++) bytes[i] = Number.parseInt(hash.slice(2 * i, 2 * i + 2), 16);
      writeAtomically(nameOf(part), bytes);
    },
    remove: () => removePath(path),
    removeIfEmpty() {
      const empty = !listFolder(path).some((name) => name.endsWith(".part"));
      if (empty) removePath(path);
      return empty;
    },
  };
}

function readRun(file: string): Record<string, unknown> {
  try {
    return JSON.parse(new TextDecoder().decode(readWhole(file, 2 ** 20))) as Record<string, unknown>;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new FormatError(`${file}: is not JSON; start anew with --restart`, { cause });
  }
}
