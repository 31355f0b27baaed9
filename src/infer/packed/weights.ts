/**
 * A model's weights as the packed engine keeps them on a device: ternary matrices in 2 or 1.6 bits, q, k and v as one, gate
 * and up as one (in turns of 16 rows), the output head and float matrices in a format of choice. They come from a
 * WeightSource: a loaded model here, or a file that gives codes without ever making floats of them.
 */
import type { Backend, DType, MappableFile, NDArray } from "../../backends/backend.ts";
import { headWidth, type LayerPlan, type ModelConfig, planModel, type Transformer } from "../../model/index.ts";
import {
  embeddingName,
  finalNormName,
  headName,
  moduleName,
  type NormRole,
  normNames,
  weightName,
} from "../../model/names.ts";
import { hasTernaryWeights, integerLevels } from "../../nn/index.ts";
import { type Matrix, packMatrix } from "../../ops/matrix-linear/index.ts";
import { type LinearEnd, type PackedWeight, packTernary, weightRows } from "../../ops/packed-linear/index.ts";
import { sizeOf } from "../../ops/op.ts";
import { FormatError } from "../../platform/errors.ts";
import { type MatrixFormat, matrixBytes } from "../../quant/matrix-rows.ts";
import { packedBytes, panelRows, type TernaryFormat } from "../../quant/packed-ternary.ts";
import { type RowSource, sourceRowBytes } from "../../quant/row-sources.ts";
import { DeviceArrays } from "./device-arrays.ts";
import type { LinearProduct, LinearWeight } from "./linear.ts";

/** A tensor's rows as a file holds them. */
export interface TensorRows {
  source: RowSource;
  /** Fills `into` with whole rows from row `first` on. */
  read(first: number, into: Uint8Array): void;
  /** Where row 0 begins, if all rows lie one behind the other in a file. */
  lies?: { file: MappableFile; offset: number };
}

/** A ternary matrix: codes q + 1 (0, 1, 2), row-major [N, K], and the scale that q is multiplied by. */
export interface TernaryCodes {
  codes: Uint8Array;
  scale: number;
}

/** A ternary matrix as it lies in a file. */
export interface TernaryRows {
  rows: TensorRows;
  /** Multiplies the scale in the rows; all of the scale where they have none. */
  factor: number;
  /** The same by a slower way, for rows whose scales differ: finds the one scale after all, or says what is wrong. */
  whole(): TernaryCodes;
}

/** Where weights come from, by their names in a Hugging Face checkpoint. Each is asked for once, in the model's order. */
export interface WeightSource {
  ternary(name: string): Promise<TernaryCodes | TernaryRows>;
  /** Rows [first, first + rows) of a tensor that is not ternary, as it multiplies; of a vector, `rows` numbers. */
  floats(name: string, first: number, rows: number): Promise<Float32Array>;
  /** Rows of a float matrix as a file holds them; null or absent: `floats` gives them. */
  floatRows?(name: string): TensorRows | null;
  /** What holds the embeddings as exactly as the source does, in the fewest bytes; absent: f32. */
  readonly headFormat?: MatrixFormat;
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
      const quantized = model.linearLayers.find(({ weight }) => weight === parameter)?.quantizedWeight(runtime);
      const tensor = quantized && "values" in quantized ? quantized.values : parameter.tensor;
      await runtime.backend.read(tensor.buffer, values, 4 * first * width);
      return values;
    },
  };
}

export interface WeightFormats {
  /** Of ternary matrices. */
  ternary: TernaryFormat;
  /** Of the output head, and of the embeddings (a tied head's are the same memory). */
  head: MatrixFormat;
  /** Of the other matrices of the blocks. */
  linear: MatrixFormat;
}

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
  /** Bytes of the file that kernels read where they lay; 0: all were copied first. */
  mappedBytes: number;
  dispose(): void;
}

/** Weights go to the device in pieces of about so many bytes. */
const pieceBytes = 4 * 2 ** 20;
/** Where a matrix may begin in the stretch of memory that all share. */
const aligned = (bytes: number) => Math.ceil(bytes / 64) * 64;

interface Part {
  name: string;
  n: number;
  first: number;
  step: number;
}

class Loader {
  readonly arrays: DeviceArrays;
  sizeBytes = 0;
  mappedBytes = 0;
  /**
   * All packed ternary matrices, one after the other: one large allocation has huge pages, by which memory is read at twice
   * the speed of some hundred smaller ones.
   */
  private ternaries: NDArray | null = null;
  private used = 0;
  /** Where pieces are read to, and where they lie on the device, if they cannot be read where they are. */
  private host: Uint8Array | null = null;
  private staged: NDArray | null = null;

  constructor(
    private readonly backend: Backend,
    private readonly source: WeightSource,
    private readonly formats: WeightFormats,
  ) {
    this.arrays = new DeviceArrays(backend);
  }

  private keep(shape: readonly number[], dtype: DType): NDArray {
    const array = this.arrays.create(shape, dtype);
    this.sizeBytes += array.buffer.sizeBytes;
    return array;
  }

  /** Makes room for ternary matrices of these shapes. */
  reserve(shapes: readonly (readonly [rows: number, k: number])[]): void {
    if (shapes.length === 0) return;
    const bytes = shapes.map(([rows, k]) => aligned(packedBytes(rows, k, this.formats.ternary)));
    this.ternaries = this.keep([bytes.reduce((a, b) => a + b, 0)], "u8");
  }

  async vector(name: string, n: number): Promise<NDArray> {
    const array = this.keep([n], "f32");
    const values = await this.source.floats(name, 0, n);
    if (values.length !== n) throw new FormatError(`${name}: ${values.length} numbers came; expected ${n}`);
    this.backend.upload(array.buffer, values);
    return array;
  }

  /** The weights of layers with one input: put together where they multiply alike, else each by itself. */
  async linear({ layers, parts, rows, k, alike }: Group): Promise<LinearWeight> {
    if (alike) return this.product(layers[0], parts, rows, k);
    const products: LinearProduct[] = [];
    for (const layer of layers)
      products.push(await this.product(layer, below([weightOf(layer), layer.outputs]), layer.outputs, k));
    return { parts: products };
  }

  private async product(layer: LayerPlan, parts: readonly Part[], rows: number, k: number): Promise<LinearProduct> {
    // A product of integers rounds its input inside.
    const levels = integerLevels(layer);
    const rounding = levels === null ? (layer.activations?.op ?? null) : null;
    if (hasTernaryWeights(layer)) return { ternary: await this.ternary(parts, rows, k), levels, rounding };
    const matrix = await this.matrix(parts, rows, k, this.formats.linear);
    return { matrix, rounding };
  }

  /** Ternary matrices with one input, put together. */
  private async ternary(parts: readonly Part[], rows: number, k: number): Promise<PackedWeight> {
    const format = this.formats.ternary;
    const whole = Math.ceil(rows / panelRows) * panelRows;
    const packed = this.ternaries as NDArray;
    const offset = this.used;
    this.used += aligned(packedBytes(rows, k, format));
    const scales = this.keep([whole], "f32");
    const weight = { packed, offset, scales, rows, k, format };
    const rowScales = new Float32Array(whole);
    for (const part of parts) {
      const given = await this.source.ternary(part.name);
      const scale = "rows" in given ? await this.packRows(part, given, weight) : this.packCodes(part, given, weight);
      for (let row = 0; row < part.n; row++)
        rowScales[part.first + Math.floor(row / panelRows) * part.step + (row % panelRows)] = scale;
    }
    this.backend.upload(scales.buffer, rowScales);
    return weight;
  }

  /** @returns the scale */
  private packCodes({ name, n, first, step }: Part, { codes, scale }: TernaryCodes, to: PackedWeight): number {
    if (codes.length !== n * to.k)
      throw new FormatError(`${name}: ${codes.length} codes came; expected [${n}, ${to.k}], ${n * to.k}`);
    const scales = this.arrays.create([n], "f32");
    this.inPieces(n, to.k, (row, count) => {
      const rows = this.place(codes.subarray(row * to.k, (row + count) * to.k));
      packTernary(
        this.backend,
        { rows, source: "codes", n: count },
        to,
        { first: placeOf(row, first, step), step },
        scales,
      );
    });
    this.arrays.free(scales);
    return scale;
  }

  /** @returns the scale */
  private async packRows(part: Part, { rows, factor, whole }: TernaryRows, to: PackedWeight): Promise<number> {
    const { n, first, step } = part;
    const scales = this.arrays.create([n], "f32");
    const found = new Float32Array(n);
    const reads: Promise<void>[] = [];
    this.overRows(rows, n, to.k, (placed, row, count) => {
      const placement = { first: placeOf(row, first, step), step };
      packTernary(this.backend, { rows: placed, source: rows.source, n: count }, to, placement, scales);
      reads.push(this.backend.read(scales.buffer, found.subarray(row, row + count)));
    });
    await Promise.all(reads);
    this.arrays.free(scales);
    const scale = found.find((s) => s !== 0) ?? 0;
    // NaN is not equal to itself, and so goes the other way too.
    if (!found.every((s) => s === 0 || s === scale)) return this.packCodes(part, whole(), to);
    return Math.fround(scale * factor);
  }

  async matrix(parts: readonly Part[], rows: number, k: number, format: MatrixFormat): Promise<Matrix> {
    const packed = this.keep([matrixBytes(rows, k, format)], "u8");
    const matrix = { packed, rows, k, format };
    for (const { name, n, first, step } of parts) {
      const given = this.source.floatRows?.(name) ?? null;
      const pack = (placed: NDArray, source: RowSource, row: number, count: number) =>
        packMatrix(this.backend, { rows: placed, source, n: count }, matrix, {
          first: placeOf(row, first, step),
          step,
        });
      if (given) {
        this.overRows(given, n, k, (placed, row, count) => pack(placed, given.source, row, count));
        continue;
      }
      const most = Math.max(panelRows, Math.floor(pieceBytes / (4 * k) / panelRows) * panelRows);
      for (let row = 0; row < n; row += most) {
        const count = Math.min(most, n - row);
        const values = await this.source.floats(name, row, count);
        if (values.length !== count * k)
          throw new FormatError(
            `${name}: ${values.length} numbers came for rows ${row} to ${row + count} of width ${k}`,
          );
        pack(this.place(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)), "F32", row, count);
      }
    }
    return matrix;
  }

  /** Calls body for rows [row, row + count), whole panels but for the last. */
  private inPieces(n: number, rowBytes: number, body: (row: number, count: number) => void): void {
    const most = Math.max(panelRows, Math.floor(pieceBytes / rowBytes / panelRows) * panelRows);
    for (let row = 0; row < n; row += most) body(row, Math.min(most, n - row));
  }

  /** The same for rows that a file holds, with where a kernel reads them. */
  private overRows(
    { source, read, lies }: TensorRows,
    n: number,
    k: number,
    body: (placed: NDArray, row: number, count: number) => void,
  ): void {
    const rowBytes = sourceRowBytes(source, k);
    this.inPieces(n, rowBytes, (row, count) => {
      const bytes = count * rowBytes;
      const isMapped =
        lies &&
        this.backend.withFile?.(lies.file, lies.offset + row * rowBytes, bytes, (buffer) =>
          body({ shape: [bytes], dtype: "u8", buffer }, row, count),
        );
      if (isMapped) {
        this.mappedBytes += bytes;
        return;
      }
      if (!this.host || this.host.length < bytes) this.host = new Uint8Array(Math.max(bytes, pieceBytes));
      const into = this.host.subarray(0, bytes);
      read(row, into);
      body(this.place(into), row, count);
    });
  }

  private place(bytes: Uint8Array): NDArray {
    if (!this.staged || sizeOf(this.staged.shape) < bytes.length) {
      if (this.staged) this.arrays.free(this.staged);
      this.staged = this.arrays.create([Math.max(bytes.length, pieceBytes)], "u8");
    }
    this.backend.upload(this.staged.buffer, bytes);
    return this.staged;
  }

  /** What was only needed on the way. */
  finish(): void {
    if (this.staged) this.arrays.free(this.staged);
    this.staged = null;
    this.host = null;
    this.backend.trim();
  }
}

/** Where row `row`, the first of a panel, goes. */
const placeOf = (row: number, first: number, step: number) => first + (row / panelRows) * step;

const below = (...sizes: [name: string, n: number][]): Part[] => {
  let first = 0;
  return sizes.map(([name, n]) => {
    const part = { name, n, first, step: panelRows };
    first += n;
    return part;
  });
};

/** Layers with one input. */
interface Group {
  layers: readonly LayerPlan[];
  /** Where each goes, where they are put together. */
  parts: readonly Part[];
  rows: number;
  k: number;
  /** Whether they multiply alike: weights of one form, the input read in one way. */
  alike: boolean;
}

const weightOf = ({ name }: LayerPlan): string => `${name}.weight`;

function groupOf(layers: readonly LayerPlan[], end: LinearEnd): Group {
  const [first] = layers;
  const isGated = end !== "store" && end !== "add";
  const alike = layers.every(
    (layer) => hasTernaryWeights(layer) === hasTernaryWeights(first) && layer.activations === first.activations,
  );
  const parts = isGated
    ? // Gate and up in turns of a panel.
      layers.map((layer, j) => ({
        name: weightOf(layer),
        n: layer.outputs,
        first: j * panelRows,
        step: layers.length * panelRows,
      }))
    : below(...layers.map((layer): [string, number] => [weightOf(layer), layer.outputs]));
  const rows = isGated ? weightRows(first.outputs, end) : layers.reduce((sum, { outputs }) => sum + outputs, 0);
  return { layers, parts, rows, k: first.inputs, alike };
}

/** The shapes of the ternary matrices that a group becomes. */
function ternaryShapes({ layers, rows, k, alike }: Group): [rows: number, k: number][] {
  if (alike) return hasTernaryWeights(layers[0]) ? [[rows, k]] : [];
  return layers.filter(hasTernaryWeights).map(({ outputs }) => [outputs, k]);
}

/** @throws FormatError where the source does not give what the config says */
export async function loadPackedWeights(
  backend: Backend,
  config: ModelConfig,
  source: WeightSource,
  formats: WeightFormats,
): Promise<PackedWeights> {
  const loader = new Loader(backend, source, formats);
  const { width, hiddenWidth, vocabSize, tiedHead, activation } = config;
  const { blocks, subNorms } = planModel(config);
  const attentionWidth = config.heads * headWidth(config);
  const groups = blocks.map(({ query, key, value, output, gate, up, down }) => ({
    qkv: groupOf([query, key, value], "store"),
    output: groupOf([output], "add"),
    gateUp: groupOf([gate, up], activation),
    down: groupOf([down], "add"),
  }));
  try {
    const embedding = await loader.matrix(below([embeddingName, vocabSize]), vocabSize, width, formats.head);
    const embeddingBytes = loader.sizeBytes;
    const layers: PackedLayer[] = [];
    loader.reserve(groups.flatMap((group) => Object.values(group).flatMap(ternaryShapes)));
    for (const [i, group] of groups.entries()) {
      const norm = (role: NormRole) => weightName(moduleName(i, normNames[role]));
      layers.push({
        attentionNorm: await loader.vector(norm("attention"), width),
        qkv: await loader.linear(group.qkv),
        attentionSubNorm: subNorms ? await loader.vector(norm("attentionSub"), attentionWidth) : null,
        output: await loader.linear(group.output),
        feedForwardNorm: await loader.vector(norm("feedForward"), width),
        gateUp: await loader.linear(group.gateUp),
        feedForwardSubNorm: subNorms ? await loader.vector(norm("feedForwardSub"), hiddenWidth) : null,
        down: await loader.linear(group.down),
      });
    }
    const finalNorm = await loader.vector(finalNormName, width);
    const head = tiedHead
      ? embedding
      : await loader.matrix(below([headName, vocabSize]), vocabSize, width, formats.head);
    loader.finish();
    return {
      embedding,
      layers,
      finalNorm,
      head,
      bytesForToken: loader.sizeBytes - (tiedHead ? 0 : embeddingBytes),
      sizeBytes: loader.sizeBytes,
      mappedBytes: loader.mappedBytes,
      dispose: () => loader.arrays.dispose(),
    };
  } catch (error) {
    loader.arrays.dispose();
    throw error;
  }
}
