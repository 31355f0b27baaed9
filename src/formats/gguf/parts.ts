/**
 * GGUF files in parts, as llama.cpp's gguf-split writes them: NAME-00001-of-00003.gguf and so on, each with split.no (from 0),
 * split.count and split.tensors.count, the model's metadata in the first. Opens all of them; read.ts makes one file of them.
 */
import { FormatError } from "../../platform/errors.ts";
import { exists, openFile, type ReadableFile } from "../../platform/files.ts";
import { type GgufHeader, readGgufHeader } from "./header.ts";
import { GgufMetadata } from "./values.ts";

export interface GgufPart {
  file: ReadableFile;
  header: GgufHeader;
}

/** More than any model has; a count beyond it is a damaged key. */
const maxParts = 10_000;

/** @throws FileError; FormatError where a part is missing or is of another model; UnsupportedError. The caller closes them. */
export function openParts(path: string): GgufPart[] {
  const open = (name: string): GgufPart => {
    const file = openFile(name);
    try {
      return { file, header: readGgufHeader(file) };
    } catch (error) {
      file.close();
      throw error;
    }
  };
  const named = open(path);
  const parts: GgufPart[] = [];
  try {
    const { no, count, tensors } = placeOf(named, path);
    if (count <= 1) return [named];
    for (let i = 0; i < count; i++) {
      if (i === no) {
        parts.push(named);
        continue;
      }
      const name = partPath(path, no, i, count);
      if (!exists(name))
        throw new FormatError(
          `${path}: is part ${no + 1} of ${count}, and part ${i + 1} is missing (${name}); put all parts into one folder, or merge them with llama.cpp's gguf-split --merge`,
        );
      const part = open(name);
      parts.push(part);
      const place = placeOf(part, name);
      if (place.no !== i || place.count !== count)
        throw new FormatError(
          `${name}: says that it is part ${place.no + 1} of ${place.count}; expected part ${i + 1} of ${count}, as its name says`,
        );
    }
    const held = parts.reduce((sum, { header }) => sum + header.tensors.size, 0);
    if (tensors !== null && held !== tensors)
      throw new FormatError(
        `${path}: its ${count} parts hold ${held} tensors; expected ${tensors} (split.tensors.count)`,
      );
    return parts;
  } catch (error) {
    for (const { file } of new Set([named, ...parts])) file.close();
    throw error;
  }
}

function placeOf({ header }: GgufPart, path: string): { no: number; count: number; tensors: number | null } {
  const metadata = new GgufMetadata(header.metadata, path);
  const count = metadata.findCount("split.count") ?? 1;
  const no = metadata.findCount("split.no") ?? 0;
  if (count > 1 && (count > maxParts || no >= count))
    throw new FormatError(`${path}: split.no is ${no} and split.count ${count}; expected 0 to ${count - 1}`);
  return { no, count, tensors: metadata.findCount("split.tensors.count") ?? null };
}

function partPath(path: string, no: number, wanted: number, count: number): string {
  const number = (i: number) => String(i + 1).padStart(5, "0");
  const ending = (i: number) => `-${number(i)}-of-${number(count - 1)}.gguf`;
  if (!path.endsWith(ending(no)))
    throw new FormatError(
      `${path}: is part ${no + 1} of ${count}, so its name has to end in "${ending(no)}"; give the parts their names back, or merge them with llama.cpp's gguf-split --merge`,
    );
  return path.slice(0, -ending(no).length) + ending(wanted);
}
