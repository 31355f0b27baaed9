/** Loads a module by its path, such as a user's extension. Knows nothing of what is in it. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { FileError, UsageError } from "../errors.ts";

/** The path as every thread and process of this run understands it. */
export const absolutePath = (path: string): string => resolve(path);

/**
 * The exports of the module at a path.
 *
 * @throws FileError if there is none; UsageError, with the reason, if it cannot be loaded
 */
export async function importModule(path: string): Promise<Record<string, unknown>> {
  const full = resolve(path);
  if (!existsSync(full)) throw new FileError(`${path}: no such file`);
  try {
    return (await import(pathToFileURL(full).href)) as Record<string, unknown>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`${path}: cannot be loaded as a JavaScript module: ${reason}`, { cause });
  }
}
