/**
 * Errors that a caller would catch. Everything else is a plain Error (a bug of ours).
 *
 * The message says where, what was wanted, what came, and what to do. Only `cli/` turns one into an exit code:
 * UsageError exits 2, every other exits 1.
 */

/** The caller asked for something that cannot be: an unknown preset, a bad option, a config key that does not exist. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Arrays whose shapes or types do not fit together. */
export class ShapeError extends Error {
  override name = "ShapeError";
}

/** A file whose bytes are not what its format says: cut short, wrong magic, a hash that does not match. */
export class FormatError extends Error {
  override name = "FormatError";
}

/** The file system refused: a path that is missing, unreadable or unwritable, a disk that is full. */
export class FileError extends Error {
  override name = "FileError";
}

/** Data that cannot be trained on: empty, too short, invalid text. */
export class DataError extends Error {
  override name = "DataError";
}

/** Something that this machine or backend cannot do, named. */
export class UnsupportedError extends Error {
  override name = "UnsupportedError";
}

/** A backend that is of no more use, with its memory: a kernel trapped, or a device is gone. */
export class BackendLostError extends Error {
  override name = "BackendLostError";
}

/** Training stopped because its numbers are no longer finite. */
export class DivergenceError extends Error {
  override name = "DivergenceError";
}

/** A callback that a config names threw something that nobody foresaw: which one, and at what. */
export class CallbackError extends Error {
  override name = "CallbackError";
}
