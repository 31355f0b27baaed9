/**
 * Writes an ONNX model, whole or not at all, one initialiser in memory at a time. A protobuf file ends at 2 GiB; a model
 * over that, or on request, has its large initialisers in a file of their own beside it.
 */
import { baseName, createAtomicFile } from "../../platform/files.ts";
import { type Graph, type Initializer, initializerBytes, onnxTypes, valueInfoMessage } from "./graph.ts";
import { lengthPrefix, Message } from "./wire.ts";

export interface OnnxOptions {
  /** Of the default domain. */
  opset: number;
  irVersion: number;
  producerVersion: string;
  metadata: Readonly<Record<string, string>>;
  /** Large initialisers to `<path>.data`; default: where the model would pass 2 GiB. */
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
  const dataPath = `${path}.data`;
  const plan = external ? layOut(graph, options, baseName(dataPath)) : inside;
  if (plan.sizeBytes > maxMessageBytes)
    throw new Error(`onnx: ${path} would have ${plan.sizeBytes} bytes without its large initialisers`);
  const file = createAtomicFile(path);
  const data = external ? createAtomicFile(dataPath) : null;
  try {
    file.append(plan.head);
    for (const { initializer, head, offset } of plan.initializers) {
      options.signal?.throwIfAborted();
      file.append(head);
      const bytes = await bytesOf(initializer);
      if (offset === null) {
        file.append(bytes);
        continue;
      }
      data!.append(new Uint8Array(offset - data!.sizeBytes));
      data!.append(bytes);
    }
    if (file.sizeBytes !== plan.sizeBytes)
      throw new Error(`onnx: ${file.sizeBytes} bytes were written, ${plan.sizeBytes} announced`);
    const written = [
      { path, sizeBytes: file.sizeBytes },
      ...(data ? [{ path: dataPath, sizeBytes: data.sizeBytes }] : []),
    ];
    // The data first: a model's file of the final name has what it points to.
    data?.commit();
    file.commit();
    return written;
  } catch (error) {
    file.abort();
    data?.abort();
    throw error;
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
