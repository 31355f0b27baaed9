/**
 * An ONNX graph under construction: nodes in order, initialisers whose data is fetched when they are written. Field
 * numbers are those of onnx.proto (https://github.com/onnx/onnx, onnx/onnx.proto). Bytes and names; what the graph
 * computes is its caller's business.
 */
import { Message } from "./wire.ts";

/** TensorProto.DataType, and bytes of an element. */
export const onnxTypes = {
  float: { code: 1, bytes: 4 },
  uint8: { code: 2, bytes: 1 },
  int8: { code: 3, bytes: 1 },
  int32: { code: 6, bytes: 4 },
  int64: { code: 7, bytes: 8 },
} as const;
export type OnnxType = keyof typeof onnxTypes;

export interface Initializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  /** Its elements, little-endian, row-major; called once, when they are written. */
  readonly data: () => Promise<ArrayBufferView> | ArrayBufferView;
}

export const initializerBytes = ({ type, dims }: Initializer): number =>
  dims.reduce((product, size) => product * size, onnxTypes[type].bytes);

/** An input or output; a dimension that is a word may be of any size. */
export interface ValueInfo {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly (number | string)[];
}

export type Attribute = number | readonly number[] | { float: number };

export class Graph {
  readonly nodes: Message[] = [];
  readonly initializers: Initializer[] = [];
  private readonly taken = new Map<string, number>();
  private readonly constants = new Map<string, string>();
  private scope = "";

  constructor(
    readonly name: string,
    readonly inputs: readonly ValueInfo[],
    readonly outputs: readonly ValueInfo[],
  ) {}

  /** What is made inside has names that begin with `name`. */
  within<T>(name: string, body: () => T): T {
    const outer = this.scope;
    this.scope = `${outer}${name}/`;
    try {
      return body();
    } finally {
      this.scope = outer;
    }
  }

  /** Adds a node; its first output's name, or the names of all `outputs`. */
  node(op: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, output?: string): string {
    return this.nodeOf(op, inputs, attributes, [output ?? this.fresh(op)])[0];
  }

  /** Adds a node with two outputs. */
  split(op: string, inputs: readonly string[], attributes: Record<string, Attribute>): string[] {
    const name = this.fresh(op);
    return this.nodeOf(op, inputs, attributes, [`${name}_first`, `${name}_second`]);
  }

  private nodeOf(
    op: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute>,
    outputs: string[],
  ): string[] {
    const node = new Message();
    for (const input of inputs) node.string(1, input);
    for (const output of outputs) node.string(2, output);
    node.string(3, `${outputs[0]}_node`).string(4, op);
    for (const [name, value] of Object.entries(attributes)) node.message(5, attributeMessage(name, value));
    this.nodes.push(node);
    return outputs;
  }

  /** Adds an initialiser, whose name is taken as it is. */
  initializer(initializer: Initializer): string {
    this.initializers.push(initializer);
    return initializer.name;
  }

  /** A small constant; the same values are one initialiser. */
  constant(type: "float" | "int64", values: readonly number[], dims: readonly number[] = [values.length]): string {
    const key = `${type}[${dims}]${values}`;
    const known = this.constants.get(key);
    if (known) return known;
    const name = `constant_${this.constants.size}`;
    this.constants.set(key, name);
    const data = type === "float" ? Float32Array.from(values) : BigInt64Array.from(values, BigInt);
    return this.initializer({ name, type, dims, data: () => data });
  }

  private fresh(op: string): string {
    const stem = `${this.scope}${op}`;
    const count = this.taken.get(stem) ?? 0;
    this.taken.set(stem, count + 1);
    return count === 0 ? stem : `${stem}_${count}`;
  }
}

function attributeMessage(name: string, value: Attribute): Message {
  const attribute = new Message().string(1, name);
  if (typeof value === "number") return attribute.integer(3, value).integer(20, 2);
  if ("float" in value) return attribute.float(2, value.float).integer(20, 1);
  for (const one of value) attribute.integer(8, one);
  return attribute.integer(20, 7);
}

export function valueInfoMessage({ name, type, dims }: ValueInfo): Message {
  const shape = new Message();
  for (const dim of dims)
    shape.message(1, typeof dim === "number" ? new Message().integer(1, dim) : new Message().string(2, dim));
  const tensor = new Message().integer(1, onnxTypes[type].code).message(2, shape);
  return new Message().string(1, name).message(2, new Message().message(1, tensor));
}
