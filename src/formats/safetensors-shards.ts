/**
 * Tensors over several safetensors files ("shards"), as Hugging Face folders have them: model-00001-of-00003.safetensors
 * and so on, and model.safetensors.index.json, which says in which file each tensor is. Read and written as if they were
 * one file. Knows names and bytes, not models.
 */
import { FormatError } from "../platform/errors.ts";
import { show, showText } from "../platform/show.ts";
import { exists, joinPath, readWhole, sha256Of, writeAtomically } from "../platform/files.ts";
import {
  readSafetensors,
  type SafetensorsEntry,
  type SafetensorsFile,
  type SafetensorsTensor,
  writeSafetensors,
} from "./safetensors.ts";
import { safetensorsDTypes } from "./safetensors-header.ts";

const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/** An index has a line for each tensor; the largest published ones have some megabytes. */
const maxIndexBytes = 2 ** 26;
/** More files than any published model has; each is held open. */
const maxShards = 1000;

/** Is there something that `openSafetensorsFolder` reads? */
export const hasSafetensors = (folder: string): boolean =>
  exists(joinPath(folder, singleFile)) || exists(joinPath(folder, indexFile));

/**
 * Opens the tensors of a folder: its one file, or, where there is none, those that its index names.
 *
 * @throws FileError; FormatError for an index or header that is wrong, a shard that is missing, and tensors that are not
 *   where the index says, or are in no index
 */
export async function openSafetensorsFolder(folder: string): Promise<SafetensorsFile> {
  const single = joinPath(folder, singleFile);
  if (exists(single)) return readSafetensors(single);
  const path = joinPath(folder, indexFile);
  const shardOf = readIndex(path);
  const names = [...new Set(shardOf.values())].sort();
  const missing = names.find((name) => !exists(joinPath(folder, name)));
  if (missing !== undefined)
    throw new FormatError(`${path}: names ${missing}, which is not there; was the folder copied or downloaded whole?`);
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const name of names) shards.set(name, await readSafetensors(joinPath(folder, name)));
    return { path, metadata: {}, ...joined(path, shardOf, shards) };
  } catch (error) {
    for (const shard of shards.values()) shard.close();
    throw error;
  }
}

/** Which shard each tensor is in. */
function readIndex(path: string): Map<string, string> {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, maxIndexBytes)));
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof TypeError)
      throw new FormatError(`${path}: is not JSON (${showText(cause.message, 120)}); is it cut short?`, { cause });
    throw cause;
  }
  const map = (content as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map))
    throw new FormatError(
      `${path}: weight_map is ${show(map)}; expected tensors' names and the files that they are in`,
    );
  const shardOf = new Map(Object.entries(map as Record<string, unknown>)) as Map<string, string>;
  // A name alone: what an index says must not reach out of its folder.
  for (const [tensor, file] of shardOf)
    if (typeof file !== "string" || !/^[^/\\:\0]{1,200}\.safetensors$/.test(file))
      throw new FormatError(
        `${path}: weight_map: tensor ${show(tensor)} is in ${show(file)}; expected the name of a .safetensors file beside it`,
      );
  if (shardOf.size === 0) throw new FormatError(`${path}: weight_map is empty`);
  if (new Set(shardOf.values()).size > maxShards)
    throw new FormatError(`${path}: names over ${maxShards} files; no model has so many`);
  return shardOf;
}

function joined(path: string, shardOf: Map<string, string>, shards: Map<string, SafetensorsFile>) {
  const tensors = new Map<string, SafetensorsEntry>();
  for (const [name, shard] of shardOf) {
    const entry = shards.get(shard)!.tensors.get(name);
    if (!entry) throw new FormatError(`${path}: tensor ${show(name)} is not in ${shard}, where the index says it is`);
    tensors.set(name, entry);
  }
  for (const [file, shard] of shards)
    for (const name of shard.tensors.keys())
      if (shardOf.get(name) !== file)
        throw new FormatError(
          `${path}: ${file} holds tensor ${show(name)}, which the index has ${shardOf.has(name) ? `in ${shardOf.get(name)}` : "not"}`,
        );
  return {
    tensors,
    async read(name: string) {
      const shard = shardOf.get(name);
      if (shard === undefined) throw new FormatError(`${path}: has no tensor ${show(name)}`);
      return shards.get(shard)!.read(name);
    },
    close() {
      for (const shard of shards.values()) shard.close();
    },
  };
}

const bytesOf = ({ dtype, shape }: SafetensorsTensor) =>
  shape.reduce((product, size) => product * size, safetensorsDTypes[dtype]);

/**
 * Writes tensors into a folder: one file where they fit into `shardBytes`, else several and an index. A shard holds
 * whole tensors, in the order given, so one tensor larger than `shardBytes` is a shard of its own.
 *
 * @returns SHA-256 of each file written, by name; and the bytes of all tensors
 */
export async function writeSafetensorsFolder(
  folder: string,
  tensors: readonly SafetensorsTensor[],
  { shardBytes, metadata = {} }: { shardBytes: number; metadata?: Readonly<Record<string, string>> },
): Promise<{ sha256: Record<string, string>; tensorBytes: number }> {
  const shards: SafetensorsTensor[][] = [[]];
  let inShard = 0;
  let tensorBytes = 0;
  for (const tensor of tensors) {
    const bytes = bytesOf(tensor);
    if (inShard > 0 && inShard + bytes > shardBytes) {
      shards.push([]);
      inShard = 0;
    }
    shards.at(-1)!.push(tensor);
    inShard += bytes;
    tensorBytes += bytes;
  }
  const sha256: Record<string, string> = {};
  const number = (n: number) => String(n).padStart(5, "0");
  const nameOf = (i: number) =>
    shards.length === 1 ? singleFile : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const name = nameOf(i);
    sha256[name] = (await writeSafetensors(joinPath(folder, name), shard, metadata)).sha256;
    for (const tensor of shard) weightMap.push([tensor.name, name]);
  }
  if (shards.length > 1) {
    const index = { metadata: { total_size: tensorBytes }, weight_map: Object.fromEntries(weightMap.sort()) };
    const text = `${JSON.stringify(index, null, 2)}\n`;
    writeAtomically(joinPath(folder, indexFile), text);
    sha256[indexFile] = sha256Of(text);
  }
  return { sha256, tensorBytes };
}
