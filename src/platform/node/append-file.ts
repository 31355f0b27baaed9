/** A file that only grows: lines of a log. What was written before stays, whatever happens to this process. */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { toFileError } from "../file-error.ts";
import { makeFolder } from "./files.ts";

export interface AppendFile {
  readonly path: string;
  /** Size when it was opened. */
  readonly sizeBytes: number;
  append(content: string | Uint8Array): void;
  /** Flushes to the disk. */
  sync(): void;
  close(): void;
}

/**
 * Opens a file for appending and makes it, and its folder, if need be.
 *
 * @param options.lines  the file holds lines: one that a killed process left unfinished is ended first, so that what
 *                       follows begins a line of its own
 * @throws FileError when the file system refuses, here and in every method
 */
export function openAppend(path: string, options: { lines: boolean }): AppendFile {
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      throw toFileError("write", path, cause);
    }
  };
  makeFolder(dirname(path));
  const fd = attempt(() => fs.openSync(path, "a+"));
  const put = (bytes: Uint8Array) =>
    attempt(() => {
      for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done);
    });
  const utf8 = new TextEncoder();
  const { size } = fs.fstatSync(fd);
  if (options.lines) {
    const last = new Uint8Array(1);
    if (size > 0) attempt(() => fs.readSync(fd, last, 0, 1, size - 1));
    if (size > 0 && last[0] !== 10) put(utf8.encode("\n"));
  }
  let open = true;
  return {
    path,
    sizeBytes: size,
    append: (content) => put(typeof content === "string" ? utf8.encode(content) : content),
    sync: () => attempt(() => fs.fsyncSync(fd)),
    close() {
      if (open) fs.closeSync(fd);
      open = false;
    },
  };
}
