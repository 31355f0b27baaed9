/** A GGUF file again, with keys changed, or cut into parts: as other programs write such files. */
import { basename, dirname, join } from "node:path";
import { type GgufTensorSource, type GgufValue, readGguf, writeGguf } from "../../src/formats/gguf/index.ts";

export type GgufKeys = Map<string, GgufValue>;

function contentOf(file: string): { keys: GgufKeys; tensors: GgufTensorSource[] } {
  const gguf = readGguf(file);
  const keys: GgufKeys = new Map(gguf.metadata.keys.map((key) => [key, gguf.metadata.get(key)!]));
  const tensors = [...gguf.tensors.values()].map(({ name, shape, type }): GgufTensorSource => {
    const bytes = gguf.readBytes(name);
    return { name, shape, type: type!, data: () => bytes };
  });
  gguf.close();
  return { keys, tensors };
}

/** @returns the new file's path, beside the old one */
export async function rewriteGguf(
  file: string,
  change: (keys: GgufKeys) => void,
  name = "changed.gguf",
): Promise<string> {
  const { keys, tensors } = contentOf(file);
  change(keys);
  const changed = join(dirname(file), name);
  await writeGguf(changed, [...keys], tensors);
  return changed;
}

/** As llama.cpp's gguf-split: the metadata in the first part, split.* in each. @returns the parts' paths */
export async function splitGguf(file: string, parts: number): Promise<string[]> {
  const { keys, tensors } = contentOf(file);
  const each = Math.ceil(tensors.length / parts);
  const number = (i: number) => String(i).padStart(5, "0");
  const paths: string[] = [];
  for (let i = 0; i < parts; i++) {
    const path = join(dirname(file), `${basename(file, ".gguf")}-${number(i + 1)}-of-${number(parts)}.gguf`);
    const place: [string, GgufValue][] = [
      ["split.no", { type: "u16", value: i }],
      ["split.count", { type: "u16", value: parts }],
      ["split.tensors.count", { type: "i32", value: tensors.length }],
    ];
    const metadata = i === 0 ? [...keys, ...place] : place;
    await writeGguf(path, metadata, tensors.slice(i * each, (i + 1) * each));
    paths.push(path);
  }
  return paths;
}
