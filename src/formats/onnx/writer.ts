/**
 * Writes an ONNX model, whole or not at all, one initialiser in memory at a time. A protobuf file ends at 2 GiB; a model
 * over that, or on request, has its large initialisers in a file of their own beside it. That one is named by the hash of
 * its content, so that a graph never points to another model's weights, whatever moment the writing ends at.
 */
import {
  baseName,
  createAtomicFile,
  createHasher,
  folderOf,
  joinPath,
  listFolder,
  removePath,
} from "../../platform/files.ts";
import { type Graph, type Initializer, initializerBytes, onnxTypes, valueInfoMessage } from "./graph.ts";
import { FileError } from "../../platform/errors.ts";
import { lengthPrefix, Message } from "./wire.ts";

export interface OnnxOptions {
  /** Of the default domain. */
  opset: number;
  irVersion: number;
  producerVersion: string;
  metadata: Readonly<Record<string, string>>;
  /** Large initialisers to `<path>.<16 digits of their SHA-256>.data`; default: where the model would pass 2 GiB. */
  externalData?: boolean;
  /** Ends the writing between two initialisers, with its reason; nothing is left. */
  signal?: AbortSignal;
}

/** Protobuf's limit on a message. */
const maxMessageBytes = 2 ** 31 - 1;
/** Initialisers from this on leave the file, where any does. */
const leastExternalBytes = 1024;
/** Of external data, so that it can be mapped (onnx.proto: "multiples of 4096"). */
const alignment = 4096;

/** Of the SHA-256 of external data, in its file's name. */
const hashDigits = 16;
const dataEnding = /^[0-9a-f]{16}\.data$/;

const field = { graph: 7, initializer: 5, rawData: 9 } as const;

/**
 * @returns the files written and their sizes
 * @throws FileError; Error for data that is not of its dims
 */
export async function writeOnnx(
  path: string,
  graph: Graph,
  options: OnnxOptions,
): Promise<{ path: string; sizeBytes: number }[]> {
  const inside = layOut(graph, options, null);
  const external = options.externalData ?? inside.sizeBytes > maxMessageBytes;
  const dataPath = (hash: string) => `${path}.${hash.slice(0, hashDigits)}.data`;
  // Until the data are known, digits of the same length stand for their hash: no other byte depends on them.
  const planWith = (hash: string) => layOut(graph, options, baseName(dataPath(hash)));
  const plan = external ? planWith("0".repeat(hashDigits)) : inside;
  if (plan.sizeBytes > maxMessageBytes)
    throw new Error(`onnx: ${path} would have ${plan.sizeBytes} bytes without its large initialisers`);
  const file = createAtomicFile(path);
  const data = external ? createAtomicFile(`${path}.data`) : null;
  const hasher = createHasher();
  const appendData = (bytes: Uint8Array) => {
    data!.append(bytes);
    hasher.update(bytes);
  };
  const offsets: number[] = [];
  try {
    file.append(plan.head);
    for (const { initializer, head, offset } of plan.initializers) {
      options.signal?.throwIfAborted();
      offsets.push(file.sizeBytes);
      file.append(head);
      const bytes = await bytesOf(initializer);
      if (offset === null) {
        file.append(bytes);
        continue;
      }
      appendData(new Uint8Array(offset - data!.sizeBytes));
      appendData(bytes);
    }
    if (file.sizeBytes !== plan.sizeBytes)
      throw new Error(`onnx: ${file.sizeBytes} bytes were written, ${plan.sizeBytes} announced`);
    const written = [{ path, sizeBytes: file.sizeBytes }];
    if (data) {
      const hash = hasher.hex();
      for (const [i, { head }] of planWith(hash).initializers.entries()) file.overwrite(offsets[i], head);
      written.push({ path: dataPath(hash), sizeBytes: data.sizeBytes });
      // The data first: a model's file of the final name has what it points to, and an earlier one keeps its own.
      data.commit(dataPath(hash));
    }
    file.commit();
    removeEarlierData(path, written.at(-1)!.path);
    return written;
  } catch (error) {
    file.abort();
    data?.abort();
    throw error;
  }
}

/**
 * Removes data files that graphs of this name pointed to before, or that a killed export left. One that cannot go (on Windows,
 * one that a program has mapped) waits for the next export: this one is whole.
 */
function removeEarlierData(path: string, current: string): void {
  const [folder, start] = [folderOf(path), `${baseName(path)}.`];
  for (const name of listFolder(folder))
    if (name.startsWith(start) && name !== baseName(current) && dataEnding.test(name.slice(start.length)))
      try {
        removePath(joinPath(folder, name));
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
      }
}

interface Plan {
  /** All before the first initialiser. */
  head: Uint8Array;
  initializers: {
    initializer: Initializer;
    /** Its fields, up to its data where that follows. */
    head: Uint8Array;
    /** Where its data lies in the data file; null for here. */
    offset: number | null;
  }[];
  sizeBytes: number;
}

/** The graph is the model's last field, and the initialisers are the graph's: all lengths are known before any data. */
function layOut(graph: Graph, options: OnnxOptions, dataFile: string | null): Plan {
  const about = new Message().string(2, graph.name);
  for (const node of graph.nodes) about.message(1, node);
  for (const input of graph.inputs) about.message(11, valueInfoMessage(input));
  for (const output of graph.outputs) about.message(12, valueInfoMessage(output));
  const graphHead = about.finish();

  let end = 0;
  let dataEnd = 0;
  const initializers = graph.initializers.map((initializer) => {
    const size = initializerBytes(initializer);
    const external = dataFile !== null && size >= leastExternalBytes;
    const offset = external ? Math.ceil(dataEnd / alignment) * alignment : null;
    if (offset !== null) dataEnd = offset + size;
    const tensor = new Message();
    for (const dim of initializer.dims) tensor.integer(1, dim);
    tensor.integer(2, onnxTypes[initializer.type].code).string(8, initializer.name);
    if (external) {
      for (const [key, value] of Object.entries({ location: dataFile, offset: String(offset), length: String(size) }))
        tensor.message(13, new Message().string(1, key).string(2, value));
      tensor.integer(14, 1);
    }
    const fields = tensor.finish();
    const rawHead = external ? new Uint8Array() : lengthPrefix(field.rawData, size);
    const body = fields.length + rawHead.length + (external ? 0 : size);
    const prefix = lengthPrefix(field.initializer, body);
    end += prefix.length + body;
    return { initializer, head: Uint8Array.from([...prefix, ...fields, ...rawHead]), offset };
  });

  const graphBytes = graphHead.length + end;
  const model = new Message()
    .integer(1, options.irVersion)
    .string(2, "bitnet.ts")
    .string(3, options.producerVersion)
    .message(8, new Message().string(1, "").integer(2, options.opset));
  for (const [key, value] of Object.entries(options.metadata))
    model.message(14, new Message().string(1, key).string(2, value));
  const head = Uint8Array.from([...model.finish(), ...lengthPrefix(field.graph, graphBytes), ...graphHead]);
  return { head, initializers, sizeBytes: head.length + end };
}

async function bytesOf(initializer: Initializer): Promise<Uint8Array> {
  const data = await initializer.data();
  if (data.byteLength !== initializerBytes(initializer))
    throw new Error(
      `onnx: ${initializer.name} is ${initializer.type} [${initializer.dims}], but ${data.byteLength} bytes came`,
    );
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
