/**
 * The file system's errors as ours. A file of its own, since the command line needs it before anything that reads files.
 * Called by node/ and cli/support/run.ts.
 */
import { FileError } from "./errors.ts";

const hints: Record<string, string> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full; free some space and run it again",
  EFBIG: "the file would be larger than the system allows",
  EDQUOT: "the disk quota is used up; free some space and run it again",
  EISDIR: "it is a folder, not a file",
  ENOTDIR: "a part of the path is a file, not a folder",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
};

/** Turns what Node's fs threw into a FileError; an error that is not the file system's is returned as it is. */
export function toFileError(doing: string, path: string, cause: unknown): unknown {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (cause instanceof FileError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return cause;
  return new FileError(`${path}: cannot ${doing}: ${hints[code] ?? (cause as Error).message}`, { cause });
}
