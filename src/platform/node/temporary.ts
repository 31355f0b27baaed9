/** A folder under the system's temporary one that is gone when its user is done, whatever happened. */
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toFileError } from "../file-error.ts";

/** @throws FileError where none can be made; what `use` throws */
export async function withTemporaryFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  let folder: string;
  try {
    folder = fs.mkdtempSync(join(tmpdir(), "bitnet-"));
  } catch (error) {
    throw toFileError("write", tmpdir(), error);
  }
  try {
    return await use(folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
