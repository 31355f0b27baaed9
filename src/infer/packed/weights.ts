/**
 * A model's weights as the packed engine keeps them on a device: ternary matrices in 2 or 1.6 bits, q, k and v as one, gate
 * and up as one (in turns of 16 rows), the output head and float matrices in a format of choice. They come from a
 * WeightSource: a loaded model here, or a file that gives codes without ever making floats of them.
 */
import type { Backend, DType, NDArray } from "../../backends/backend.ts";
import { dtypeBytes } from "../../backends/backend.ts";
import { hasSubNorms, headWidth, type ModelConfig, type Transformer } from "../../model/index.ts";
import { type Matrix, packMatrix } from "../../ops/matrix-linear/index.ts";
import { type LinearEnd, type PackedWeight, packTernary, weightRows } from "../../ops/packed-linear/index.ts";
import { FormatError } from "../../platform/errors.ts";
import { type MatrixFormat, matrixBytes } from "../../quant/matrix-rows.ts";
import { packedBytes, panelRows, type TernaryFormat } from "../../quant/packed-ternary.ts";

/** Where weights come from, by their names in a Hugging Face checkpoint. Each is asked for once. */
export interface WeightSource {
  /** A ternary matrix: codes q + 1 (0, 1, 2), row-major [N, K], and the scale that q is multiplied by. */
  ternary(name: string): Promise<{ codes: Uint8Array; scale: number }>;
  /** Rows [first, first + rows) of a float tensor; of a vector, `rows` numbers. */
  floats(name: string, first: number, rows: number): Promise<Float32Array>;
}

/** The weights of a loaded model. */
export function weightsOfModel(model: Transformer): WeightSource {
  const { runtime } = model;
  return {
    async ternary(name) {
      const layer = model.ternaryLayers.find(({ weight }) => weight.name === name);
      if (!layer) throw new FormatError(`the model has no ternary matrix ${name}`);
      const { codes, scale } = layer.quantized(runtime);
      const [values, [s]] = [await runtime.read(codes), await runtime.readFloats(scale)];
      return { codes: values as Uint8Array, scale: s };
    },
    async floats(name, first, rows) {
      const parameter = model.parameters.find((p) => p.name === name);
      if (!parameter) throw new FormatError(`the model has no tensor ${name}`);
      const width = parameter.size / parameter.shape[0];
      const values = new Float32Array(rows * width);
      await runtime.backend.read(parameter.tensor.buffer, values, 4 * first * width);
      return values;
    },
  };
}

export interface WeightFormats {
  /** Of ternary matrices. */
  ternary: TernaryFormat;
  /** Of the output head, and of the embeddings (a tied head's are the same memory). */
  head: MatrixFormat;
  /** Of a full-precision model's other matrices. */
  linear: MatrixFormat;
}

/** Memory on a device that is freed together. */
export class DeviceArrays {
  private readonly made = new Set<NDArray>();
  constructor(readonly backend: Backend) {}

  create(shape: readonly number[], dtype: DType): NDArray {
    const sizeBytes = Math.max(1, shape.reduce((a, b) => a * b, 1) * dtypeBytes[dtype]);
    const array = { shape, dtype, buffer: this.backend.allocate(sizeBytes) };
    this.made.add(array);
    return array;
  }

  free(array: NDArray): void {
    if (this.made.delete(array)) this.backend.free(array.buffer);
  }

  dispose(): void {
    for (const { buffer } of this.made) this.backend.free(buffer);
    this.made.clear();
  }
}

/** A linear layer's weights: ternary, or a float matrix. */
export type LinearWeight = { ternary: PackedWeight } | { matrix: Matrix };

export interface PackedLayer {
  attentionNorm: NDArray;
  /** q, k and v, one below the other. */
  qkv: LinearWeight;
  /** Null where the model has none. */
  attentionSubNorm: NDArray | null;
  output: LinearWeight;
  feedForwardNorm: NDArray;
  gateUp: LinearWeight;
  feedForwardSubNorm: NDArray | null;
  down: LinearWeight;
}

export interface PackedWeights {
  embedding: Matrix;
  layers: PackedLayer[];
  finalNorm: NDArray;
  head: Matrix;
  /** What is read of the weights for a token: packed matrices, norms and the head. */
  bytesForToken: number;
  sizeBytes: number;
  dispose(): void;
}

/** Float weights go to the device in pieces of about so many bytes. */
const pieceBytes = 32 * 2 ** 20;

interface Part {
  name: string;
  n: number;
  first: number;
  step: number;
}

class Loader {
  readonly arrays: DeviceArrays;
  sizeBytes = 0;

  constructor(
    private readonly backend: Backend,
    private readonly source: WeightSource,
    private readonly config: ModelConfig,
    private readonly formats: WeightFormats,
  ) {
    this.arrays = new DeviceArrays(backend);
  }

  private keep(shape: readonly number[], dtype: DType): NDArray {
    const array = this.arrays.create(shape, dtype);
    this.sizeBytes += array.buffer.sizeBytes;
    return array;
  }

  async vector(name: string, n: number): Promise<NDArray> {
    const array = this.keep([n], "f32");
    const values = await this.source.floats(name, 0, n);
    if (values.length !== n) throw new FormatError(`${name}: ${values.length} numbers came; expected ${n}`);
    this.backend.upload(array.buffer, values);
    return array;
  }

  /** Matrices with one input, put together. */
  async linear(parts: readonly Part[], rows: number, k: number): Promise<LinearWeight> {
    if (this.config.variant === "full") return { matrix: await this.matrix(parts, rows, k, this.formats.linear) };
    const format = this.formats.ternary;
    const whole = Math.ceil(rows / panelRows) * panelRows;
    const packed = this.keep([packedBytes(rows, k, format)], "u8");
    const scales = this.keep([whole], "f32");
    const weight = { packed, scales, rows, k, format };
    const rowScales = new Float32Array(whole);
    for (const { name, n, first, step } of parts) {
      const { codes, scale } = await this.source.ternary(name);
      if (codes.length !== n * k)
        throw new FormatError(`${name}: ${codes.length} codes came; expected [${n}, ${k}], ${n * k}`);
      const staged = this.stage([n, k], codes);
      packTernary(this.backend, staged, weight, { first, step });
      this.arrays.free(staged);
      for (let row = 0; row < n; row++)
        rowScales[first + Math.floor(row / panelRows) * step + (row % panelRows)] = scale;
    }
    this.backend.upload(scales.buffer, rowScales);
    return { ternary: weight };
  }

  async matrix(parts: readonly Part[], rows: number, k: number, format: MatrixFormat): Promise<Matrix> {
    const packed = this.keep([matrixBytes(rows, k, format)], "u8");
    const matrix = { packed, rows, k, format };
    for (const { name, n, first, step } of parts) {
      const most = Math.max(panelRows, Math.floor(pieceBytes / (4 * k) / panelRows) * panelRows);
      for (let row = 0; row < n; row += most) {
        const count = Math.min(most, n - row);
        const values = await this.source.floats(name, row, count);
        if (values.length !== count * k)
          throw new FormatError(
            `${name}: ${values.length} numbers came for rows ${row} to ${row + count} of width ${k}`,
          );
        const staged = this.stage([count, k], values);
        packMatrix(this.backend, staged, matrix, { first: first + (row / panelRows) * step, step });
        this.arrays.free(staged);
      }
    }
    return matrix;
  }

  private stage(shape: number[], values: Uint8Array | Float32Array): NDArray {
    const array = this.arrays.create(shape, values instanceof Float32Array ? "f32" : "u8");
    this.backend.upload(array.buffer, values);
    return array;
  }
}

const below = (...sizes: [name: string, n: number][]): Part[] => {
  let first = 0;
  return sizes.map(([name, n]) => {
    const part = { name, n, first, step: panelRows };
    first += n;
    return part;
  });
};

/** @throws FormatError where the source does not give what the config says */
export async function loadPackedWeights(
  backend: Backend,
  config: ModelConfig,
  source: WeightSource,
  formats: WeightFormats,
): Promise<PackedWeights> {
  const loader = new Loader(backend, source, config, formats);
  const { width, heads, kvHeads, hiddenWidth, vocabSize, tiedHead } = config;
  const D = headWidth(config);
  const subNorms = hasSubNorms(config);
  try {
    const embedding = await loader.matrix(
      below(["model.embed_tokens.weight", vocabSize]),
      vocabSize,
      width,
      formats.head,
    );
    const embeddingBytes = loader.sizeBytes;
    const layers: PackedLayer[] = [];
    const gated: LinearEnd = config.activation;
    for (let i = 0; i < config.layers; i++) {
      const at = (name: string) => `model.layers.${i}.${name}.weight`;
      const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) => at(`self_attn.${name}`));
      const gateAndUp = ["gate_proj", "up_proj"].map((name, j) => ({
        name: at(`mlp.${name}`),
        n: hiddenWidth,
        first: j * panelRows,
        step: 2 * panelRows,
      }));
      layers.push({
        attentionNorm: await loader.vector(at("input_layernorm"), width),
        qkv: await loader.linear(
          below([q, heads * D], [k, kvHeads * D], [v, kvHeads * D]),
          (heads + 2 * kvHeads) * D,
          width,
        ),
        attentionSubNorm: subNorms ? await loader.vector(at("self_attn.attn_sub_norm"), heads * D) : null,
        output: await loader.linear(below([at("self_attn.o_proj"), width]), width, heads * D),
        feedForwardNorm: await loader.vector(at("post_attention_layernorm"), width),
        gateUp: await loader.linear(gateAndUp, weightRows(hiddenWidth, gated), width),
        feedForwardSubNorm: subNorms ? await loader.vector(at("mlp.ffn_sub_norm"), hiddenWidth) : null,
        down: await loader.linear(below([at("mlp.down_proj"), width]), width, hiddenWidth),
      });
    }
    const finalNorm = await loader.vector("model.norm.weight", width);
    const head = tiedHead
      ? embedding
      : await loader.matrix(below(["lm_head.weight", vocabSize]), vocabSize, width, formats.head);
    backend.trim(); // what was staged
    return {
      embedding,
      layers,
      finalNorm,
      head,
      bytesForToken: loader.sizeBytes - (tiedHead ? 0 : embeddingBytes),
      sizeBytes: loader.sizeBytes,
      dispose: () => loader.arrays.dispose(),
    };
  } catch (error) {
    loader.arrays.dispose();
    throw error;
  }
}
