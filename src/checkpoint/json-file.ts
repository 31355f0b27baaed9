/** JSON files of a model's folder: their names, reading with clear refusals, and the one way that they are written. */
import { showText } from "../platform/show.ts";
import { FormatError } from "../platform/errors.ts";
import { readWhole } from "../platform/files.ts";

export const configFile = "config.json";
export const generationFile = "generation_config.json";

/** Config files have some kilobytes. */
const maxJsonBytes = 2 ** 24;

export const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** The JSON in a file. @throws FileError, FormatError */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, maxJsonBytes)));
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof TypeError)
      throw new FormatError(`${path}: is not JSON (${showText(cause.message, 120)}); is it cut short?`, { cause });
    throw cause;
  }
}
