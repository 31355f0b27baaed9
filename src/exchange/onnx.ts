/**
 * The transformer as an ONNX graph: token ids [B, T] to logits [B, T, V], B and T of any size. What model/ and nn/ compute,
 * in ONNX's standard operators alone, one for one:
 *
 *   BitLinear   codes = round(x · (127 / max(max|x|, 1e-5))) int8, half to even; MatMulInteger with the ternary weights,
 *               exact; times (max|x| / 127) · gamma
 *   packed      weights five to a byte, uint8 [N, ceil(K / 5)], and a table of 256 x 5: Gather unpacks them
 *   float       weights -1, 0 and 1 as float32 [K, N] and MatMul: sums of integers below 2^24 are exact in float32 too,
 *               and only the commonest operators are needed
 *
 * Of a model of mixed precision each layer is written as it computes: float and int8 weights as float32 values and MatMul; an
 * input that is rounded for them as float32 codes times their scale.
 *
 * Up to where activations are rounded, and from there on, a runtime's floats differ from ours by rounding; docs/onnx.md
 * says what that can change.
 */
import { Graph, writeOnnx } from "../formats/onnx/index.ts";
import {
  embeddingName,
  finalNormEpsOf,
  finalNormName,
  headName,
  headWidth,
  type LayerPlan,
  type LinearRole,
  moduleName,
  normNames,
  type Transformer,
  weightName,
} from "../model/index.ts";
import { hasTernaryWeights, isBitLinear } from "../nn/index.ts";
import { activationEps } from "../ops/activation-quant/index.ts";
import { rotaryTable } from "../ops/rotary/index.ts";
import { UnsupportedError, UsageError } from "../platform/errors.ts";
import { packTrits, tritBytes, tritsPerByte, tritTable } from "../quant/trits.ts";
import type { Parameter } from "../tensor/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { onnxHoldsInput, valuesOf } from "./matrix.ts";

/** How the matrices of the blocks are stored. */
export const onnxWeights = ["packed", "float"] as const;
export type OnnxWeights = (typeof onnxWeights)[number];

export interface SaveOnnxOptions {
  /** Of ternary matrices. Default: packed; float, the only one, for a model without any. */
  weights?: OnnxWeights;
  /** Operators as of this opset, 21 to 26; default: 26. The graph is the same; older runtimes want a lower one. */
  opset?: number;
  /** Weights in `<path>.<hash>.data`; default: where one file would pass 2 GiB. */
  externalData?: boolean;
  /**
   * Keys and values of earlier tokens go in and out: inputs attention_mask [B, P + T], position_ids [B, T] and
   * past_key_values.L.key and .value [B, G, P, D], outputs present.L.key and .value [B, G, P + T, D], as Hugging Face's
   * exports have them.
   */
  cache?: boolean;
  /** Steps of training behind the model, for its metadata. */
  step?: number | null;
  /** Of bitnet.ts, for its metadata. */
  version?: string;
  /** Ends the writing between two tensors; nothing is left. */
  signal?: AbortSignal;
}

/** Opsets whose operators are as the graph uses them; 26 is the newest that onnxruntime 1.30 takes. */
const opsets = { least: 21, newest: 26 };
/** Of opset 21's time: nothing in the file is newer, so that older runtimes take it too. */
const irVersion = 10;

/** Sums of so many products of int8 codes by -1, 0 and 1 stay below 2^24, where float32 counts every integer. */
const maxExactWidth = Math.floor(2 ** 24 / 127);

/**
 * Writes a model as ONNX, whole or not at all.
 *
 * @returns the files written
 * @throws FileError when the disk refuses; UsageError for packed weights of a full-precision model
 */
export async function saveOnnx(
  path: string,
  model: Transformer,
  tokenizer: Tokenizer | null,
  options: SaveOnnxOptions = {},
): Promise<{ path: string; sizeBytes: number }[]> {
  const { config } = model;
  const { opset = opsets.newest, version: producerVersion = "", externalData, signal } = options;
  if (!(Number.isInteger(opset) && opset >= opsets.least && opset <= opsets.newest))
    throw new UsageError(`onnx: opset ${opset} is not written; opsets are ${opsets.least} to ${opsets.newest}`);
  const { plan } = model;
  const weights = options.weights ?? (plan.anyTernary ? "packed" : "float");
  if (!plan.anyTernary && weights === "packed")
    throw new UsageError("the model has no ternary weights to pack; use type float");
  const wide = plan.layers.find((layer) => isBitLinear(layer) && layer.inputs > maxExactWidth);
  if (wide)
    throw new UnsupportedError(
      `onnx: layer ${wide.name} has ${wide.inputs} inputs; up to ${maxExactWidth} its sums are exact`,
    );
  const other = plan.layers.find((layer) => !onnxHoldsInput(layer));
  if (other)
    throw new UnsupportedError(
      `onnx: layer ${other.name}: inputs quantized by "${other.activations!.name}" are not written; int8 codes are. Export it as gguf or compact`,
    );
  const metadata: Record<string, string> = {
    "bitnet.config": JSON.stringify(config),
    "bitnet.weights": weights,
    ...(options.step == null ? {} : { "bitnet.step": String(options.step) }),
    ...(tokenizer?.bos == null ? {} : { bos_token_id: String(tokenizer.bos) }),
    ...(tokenizer?.eos == null ? {} : { eos_token_id: String(tokenizer.eos) }),
  };
  const graph = new TransformerGraph(model, weights, options.cache === true).graph;
  return writeOnnx(path, graph, { opset, irVersion, producerVersion, metadata, externalData, signal });
}

/** An input of linear layers: as it is, and, once a layer asks, its codes with their scale, and what these stand for. */
interface LinearInput {
  readonly x: string;
  codes?: { rounded: string; integers?: string; scale: string };
  values?: string;
}

class TransformerGraph {
  readonly graph: Graph;
  private readonly parameters: Map<string, Parameter>;
  private table: string | null = null;

  constructor(
    private readonly model: Transformer,
    private readonly weights: OnnxWeights,
    private readonly cache: boolean,
  ) {
    const { config } = model;
    const past = (name: string, length: string) =>
      Array.from({ length: cache ? 2 * config.layers : 0 }, (_, i) => ({
        name: `${name}.${i >> 1}.${i % 2 === 0 ? "key" : "value"}`,
        type: "float" as const,
        dims: ["batch", config.kvHeads, length, headWidth(config)],
      }));
    const masks = [
      { name: "attention_mask", type: "int64" as const, dims: ["batch", "total"] },
      { name: "position_ids", type: "int64" as const, dims: ["batch", "tokens"] },
    ];
    this.parameters = new Map(model.parameters.map((parameter) => [parameter.name, parameter]));
    this.graph = new Graph(
      "bitnet",
      [
        { name: "input_ids", type: "int64", dims: ["batch", "tokens"] },
        ...(cache ? masks : []),
        ...past("past_key_values", "past"),
      ],
      [{ name: "logits", type: "float", dims: ["batch", "tokens", config.vocabSize] }, ...past("present", "total")],
    );
    const { graph } = this;
    const embedding = this.floats(embeddingName);
    const positions = cache ? this.cachedPositions() : this.positions();
    let x = graph.node("Gather", [embedding, "input_ids"], {}, "embedded");
    for (let layer = 0; layer < config.layers; layer++)
      x = graph.within(`layers.${layer}`, () => this.block(layer, x, positions));
    const normed = graph.within("norm", () => this.norm(x, finalNormName, finalNormEpsOf(config)));
    const head = config.tiedHead ? graph.node("Transpose", [embedding], { perm: [1, 0] }) : this.transposed(headName);
    graph.node("MatMul", [normed, head], {}, "logits");
  }

  /** What all blocks share: rows of the rotary table for T tokens, and which keys a query sees. */
  private positions(): { cos: string; sin: string; visible: string } {
    const { graph } = this;
    const { contextLength } = this.model.config;
    const D = headWidth(this.model.config);
    return graph.within("positions", () => {
      const tokens = graph.node("Shape", ["input_ids"], { start: 1, end: 2 });
      const rows = (name: string, half: 0 | 1) => {
        const data = () => this.rotaryHalf(half);
        // [S, 1, 1, D / 2], against [B, T, G, H / G, D / 2].
        graph.initializer({ name, type: "float", dims: [contextLength, 1, 1, D / 2], data });
        return graph.node("Slice", [name, graph.constant("int64", [0]), tokens, graph.constant("int64", [0])]);
      };
      const count = graph.node("Squeeze", [tokens]);
      const range = graph.node("Range", [graph.constant("int64", [0], []), count, graph.constant("int64", [1], [])]);
      const queries = graph.node("Unsqueeze", [range, graph.constant("int64", [1])]);
      return {
        cos: rows("rotary.cos", 0),
        sin: rows("rotary.sin", 1),
        visible: graph.node("GreaterOrEqual", [queries, range]),
      };
    });
  }

  /** The rotary table's half, cosines or sines, [S, D / 2]. */
  private rotaryHalf(half: 0 | 1): Float32Array {
    const { contextLength, ropeBase } = this.model.config;
    const D = headWidth(this.model.config);
    const table = rotaryTable(contextLength, D, ropeBase);
    const data = new Float32Array((contextLength * D) / 2);
    for (let t = 0; t < contextLength; t++)
      data.set(table.subarray(t * D + (half * D) / 2, t * D + ((half + 1) * D) / 2), (t * D) / 2);
    return data;
  }

  /** The same where tokens stand behind P earlier ones: positions are told, and padding is never seen. */
  private cachedPositions(): { cos: string; sin: string; visible: string } {
    const { graph } = this;
    const { contextLength } = this.model.config;
    const D = headWidth(this.model.config);
    const ints = (...values: number[]) => graph.constant("int64", values);
    const one = graph.constant("int64", [1], []);
    return graph.within("positions", () => {
      const rows = (name: string, half: 0 | 1) => {
        graph.initializer({
          name,
          type: "float",
          dims: [contextLength, D / 2],
          data: () => this.rotaryHalf(half),
        });
        // [B, T, 1, 1, D / 2], against [B, T, G, H / G, D / 2].
        return graph.node("Unsqueeze", [graph.node("Gather", [name, "position_ids"]), ints(2, 3)]);
      };
      const sizeOf = (name: string) => graph.node("Squeeze", [graph.node("Shape", [name], { start: 1, end: 2 })]);
      const [tokens, total] = [sizeOf("input_ids"), sizeOf("attention_mask")];
      const keys = graph.node("Range", [graph.constant("int64", [0], []), total, one]);
      const queries = graph.node("Range", [graph.node("Sub", [total, tokens]), total, one]);
      const causal = graph.node("GreaterOrEqual", [graph.node("Unsqueeze", [queries, ints(1)]), keys]);
      // [B, 1, 1, 1, S]: a key of padding is 0 in the mask.
      const present = graph.node("Unsqueeze", [graph.node("Cast", ["attention_mask"], { to: 9 }), ints(1, 2, 3)]);
      return {
        cos: rows("rotary.cos", 0),
        sin: rows("rotary.sin", 1),
        visible: graph.node("And", [causal, present]),
      };
    });
  }

  private block(block: number, x: string, positions: { cos: string; sin: string; visible: string }): string {
    const { graph } = this;
    const attended = graph.within("attention", () => this.attention(block, x, positions));
    const middle = graph.node("Add", [x, attended]);
    const fed = graph.within("feed_forward", () => this.feedForward(block, middle));
    return graph.node("Add", [middle, fed]);
  }

  private attention(
    block: number,
    x: string,
    { cos, sin, visible }: { cos: string; sin: string; visible: string },
  ): string {
    const { graph } = this;
    const { heads: H, kvHeads: G } = this.model.config;
    const D = headWidth(this.model.config);
    const input: LinearInput = { x: this.blockNorm(x, block, "attention") };
    // Query head h reads key/value head floor(h / (H / G)): as [G, H / G] they stand beside their keys.
    const headsOf = (role: LinearRole, perHead: number) => {
      const y = this.linear(input, block, role);
      return graph.node("Reshape", [y, graph.constant("int64", [0, 0, G, perHead, D])]);
    };
    const q = graph.node("Transpose", [this.rotated(headsOf("query", H / G), cos, sin)], { perm: [0, 2, 3, 1, 4] });
    const keys = this.rotated(headsOf("key", 1), cos, sin);
    const k = this.cache
      ? graph.node("Transpose", [this.withPast(block, "key", keys)], { perm: [0, 1, 2, 4, 3] })
      : graph.node("Transpose", [keys], { perm: [0, 2, 3, 4, 1] });
    const values = headsOf("value", 1);
    const v = this.cache
      ? this.withPast(block, "value", values)
      : graph.node("Transpose", [values], { perm: [0, 2, 3, 1, 4] });
    const scores = graph.node("Mul", [graph.node("MatMul", [q, k]), graph.constant("float", [1 / Math.sqrt(D)], [])]);
    // A query of padding sees nothing: with -infinity its row would be NaN, and reach the others by way of present.
    const hidden = this.cache ? -3.4028234663852886e38 : Number.NEGATIVE_INFINITY;
    const masked = graph.node("Where", [visible, scores, graph.constant("float", [hidden], [])]);
    const mixed = graph.node("MatMul", [graph.node("Softmax", [masked], { axis: -1 }), v]);
    const rows = graph.node("Transpose", [mixed], { perm: [0, 3, 1, 2, 4] });
    let y = graph.node("Reshape", [rows, graph.constant("int64", [0, 0, H * D])]);
    if (this.model.plan.subNorms) y = this.blockNorm(y, block, "attentionSub");
    return this.linear({ x: y }, block, "output");
  }

  /** Keys or values [B, T, G, 1, D] behind those of earlier tokens: present.L.part, and as [B, G, 1, P + T, D]. */
  private withPast(layer: number, part: "key" | "value", own: string): string {
    const { graph } = this;
    const { kvHeads: G } = this.model.config;
    const D = headWidth(this.model.config);
    const rows = graph.node("Reshape", [own, graph.constant("int64", [0, 0, G, D])]);
    const mine = graph.node("Transpose", [rows], { perm: [0, 2, 1, 3] });
    const all = graph.node(
      "Concat",
      [`past_key_values.${layer}.${part}`, mine],
      { axis: 2 },
      `present.${layer}.${part}`,
    );
    return graph.node("Unsqueeze", [all, graph.constant("int64", [2])]);
  }

  /** Half-split rotary positions of [B, T, G, *, D]. */
  private rotated(x: string, cos: string, sin: string): string {
    const { graph } = this;
    const [a, b] = graph.split("Split", [x], { axis: -1, num_outputs: 2 });
    const mul = (left: string, right: string) => graph.node("Mul", [left, right]);
    const first = graph.node("Sub", [mul(a, cos), mul(b, sin)]);
    const second = graph.node("Add", [mul(b, cos), mul(a, sin)]);
    return graph.node("Concat", [first, second], { axis: -1 });
  }

  private feedForward(block: number, x: string): string {
    const { graph } = this;
    const { activation } = this.model.config;
    const input: LinearInput = { x: this.blockNorm(x, block, "feedForward") };
    const gate = this.linear(input, block, "gate");
    const up = this.linear(input, block, "up");
    const positive = activation === "relu2" ? graph.node("Relu", [gate]) : gate;
    const factor = activation === "relu2" ? positive : graph.node("Sigmoid", [gate]);
    let y = graph.node("Mul", [graph.node("Mul", [positive, factor]), up]);
    if (this.model.plan.subNorms) y = this.blockNorm(y, block, "feedForwardSub");
    return this.linear({ x: y }, block, "down");
  }

  private blockNorm(x: string, block: number, norm: keyof typeof normNames): string {
    return this.norm(x, weightName(moduleName(block, normNames[norm])));
  }

  /** y = gain · (x / sqrt(mean(x²) + eps)). */
  private norm(x: string, gain: string, eps = this.model.config.normEps): string {
    const { graph } = this;
    const axis = graph.constant("int64", [-1]);
    const mean = graph.node("ReduceMean", [graph.node("Mul", [x, x]), axis], { keepdims: 1 });
    const root = graph.node("Sqrt", [graph.node("Add", [mean, graph.constant("float", [eps], [])])]);
    const inverse = graph.node("Div", [graph.constant("float", [1], []), root]);
    return graph.node("Mul", [this.floats(gain), graph.node("Mul", [x, inverse])]);
  }

  /** Quantized once for all the layers that read it (ops/activation-quant): codes as floats, and their scale. */
  private codesOf(input: LinearInput): { rounded: string; integers?: string; scale: string } {
    if (input.codes) return input.codes;
    const { graph } = this;
    const { x } = input;
    const axis = graph.constant("int64", [-1]);
    const largest = graph.node("ReduceMax", [graph.node("Abs", [x]), axis], { keepdims: 1 });
    const bounded = graph.node("Max", [largest, graph.constant("float", [activationEps], [])]);
    const most = graph.constant("float", [127], []);
    const scaled = graph.node("Mul", [x, graph.node("Div", [most, bounded])]);
    // Half to even, as ours. |x| <= bounded, so that only rounding of the factor could pass 127.5: it never does.
    const rounded = graph.node("Clip", [graph.node("Round", [scaled]), graph.constant("float", [-127], []), most]);
    // The int8 form comes first where ternary matrices are packed: all of a ternary model reads it.
    const integers = this.weights === "packed" ? graph.node("Cast", [rounded], { to: 3 }) : undefined;
    input.codes = { rounded, integers, scale: graph.node("Div", [bounded, most]) };
    return input.codes;
  }

  /** The input in float32 as a layer reads it: as it is, or what its codes stand for. */
  private valuesOf(input: LinearInput, { activations }: LayerPlan): string {
    if (!activations) return input.x;
    const { rounded, scale } = this.codesOf(input);
    input.values ??= this.graph.node("Mul", [rounded, scale]);
    return input.values;
  }

  private linear(input: LinearInput, block: number, role: LinearRole): string {
    const { graph } = this;
    const layer = this.model.plan.blocks[block][role];
    const name = weightName(layer.name);
    if (!hasTernaryWeights(layer)) return graph.node("MatMul", [this.valuesOf(input, layer), this.transposed(name)]);
    if (!isBitLinear(layer)) return graph.node("MatMul", [this.valuesOf(input, layer), this.ternaryValues(name)]);
    const { rounded, integers, scale } = this.codesOf(input);
    const times = graph.node("Mul", [scale, this.gammaOf(name)]);
    if (integers === undefined)
      return graph.node("Mul", [graph.node("MatMul", [rounded, this.ternaryFloats(name)]), times]);
    const sums = graph.node("MatMulInteger", [integers, this.unpacked(name)]);
    return graph.node("Mul", [graph.node("Cast", [sums], { to: 1 }), times]);
  }

  /** gamma · Wq in float32 [K, N], for inputs that are not rounded. */
  private ternaryValues(name: string): string {
    const { graph } = this;
    const weights =
      this.weights === "packed" ? graph.node("Cast", [this.unpacked(name)], { to: 1 }) : this.ternaryFloats(name);
    return graph.node("Mul", [weights, this.gammaOf(name)]);
  }

  private quantized(name: string) {
    const { runtime, byWeight } = this.model;
    return byWeight.get(name)!.quantized(runtime);
  }

  private async ternaryCodes(name: string): Promise<Uint8Array> {
    return (await this.model.runtime.read(this.quantized(name).codes)) as Uint8Array;
  }

  private gammaOf(name: string): string {
    return this.graph.initializer({
      name: `${name}_scale`,
      type: "float",
      dims: [],
      data: () => this.model.runtime.readFloats(this.quantized(name).scale),
    });
  }

  /** int8 [K, N] out of five weights a byte. */
  private unpacked(name: string): string {
    const { graph } = this;
    const [N, K] = this.parameters.get(name)!.shape;
    const rowBytes = tritBytes(K);
    graph.initializer({
      name,
      type: "uint8",
      dims: [N, rowBytes],
      data: async () => {
        const codes = await this.ternaryCodes(name);
        const bytes = new Uint8Array(N * rowBytes);
        for (let n = 0; n < N; n++)
          packTrits(codes.subarray(n * K, (n + 1) * K), bytes.subarray(n * rowBytes, (n + 1) * rowBytes));
        return bytes;
      },
    });
    this.table ??= graph.initializer({
      name: "five_weights_of_a_byte",
      type: "int8",
      dims: [256, tritsPerByte],
      data: () => Int8Array.from(tritTable, (code) => code - 1),
    });
    const indices = graph.node("Cast", [name], { to: 6 });
    const five = graph.node("Gather", [this.table, indices]);
    let matrix = graph.node("Reshape", [five, graph.constant("int64", [N, rowBytes * tritsPerByte])]);
    if (K % tritsPerByte !== 0)
      matrix = graph.node("Slice", [matrix, ...[0, K, 1].map((n) => graph.constant("int64", [n]))]);
    return graph.node("Transpose", [matrix], { perm: [1, 0] });
  }

  /** -1, 0 and 1 as float32 [K, N]. */
  private ternaryFloats(name: string): string {
    const [N, K] = this.parameters.get(name)!.shape;
    return this.graph.initializer({
      name,
      type: "float",
      dims: [K, N],
      data: async () => Float32Array.from(transpose(await this.ternaryCodes(name), N, K), (code) => code - 1),
    });
  }

  /** A parameter as it is. */
  private floats(name: string): string {
    const { tensor, shape } = this.parameters.get(name)!;
    return this.graph.initializer({
      name,
      type: "float",
      dims: shape,
      data: () => this.model.runtime.readFloats(tensor),
    });
  }

  /** A matrix [N, K] that is not ternary, its values [K, N]: the way that MatMul reads it. */
  private transposed(name: string): string {
    const parameter = this.parameters.get(name)!;
    const [N, K] = parameter.shape;
    return this.graph.initializer({
      name,
      type: "float",
      dims: [K, N],
      data: async () => transpose(await valuesOf(this.model, parameter), N, K),
    });
  }
}

/** [N, K] to [K, N]. */
function transpose<T extends Float32Array | Uint8Array>(values: T, N: number, K: number): T {
  const out = values.slice() as T;
  for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) out[k * N + n] = values[n * K + k];
  return out;
}
