/**
 * Weights straight from model files to the packed engine: kernels make the engine's packing of rows as they lie in the file,
 * some megabytes at a time, which a backend that can (native) reads where the system has them, and others are given copies
 * of. No float copy of a ternary matrix is made.
 *
 * GGUF: TQ2_0, TQ1_0, Q2_0, I2_S and float types as they lie; the rest is decoded here, row by row. Compact files: codes and
 * floats are decoded here (their entropy coding has no kernel), a matrix at a time.
 */
import {
  ggufNameOf,
  interleaveRotary,
  type OpenedCompact,
  type OpenedGguf,
  pairedHeads,
  readGgufTernary,
  scaleFactorOf,
} from "../../exchange/index.ts";
import { embeddingName, headName } from "../../model/names.ts";
import { FormatError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";
import { type BlockTypeName, codecOf, ggmlBytes } from "../../quant/ggml-types.ts";
import type { MatrixFormat } from "../../quant/matrix-rows.ts";
import { floatSources, isRowSource, sourceRowBytes } from "../../quant/row-sources.ts";
import type { TensorRows, WeightSource } from "./weights.ts";

/** The file stays the caller's, to be closed when the engine is made. */
export function weightsOfGguf({ file, config, parameters }: OpenedGguf): WeightSource {
  const shapes = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const find = (name: string) => {
    const parameter = shapes.get(name);
    if (!parameter) throw new FormatError(`${file.path}: the model has no tensor ${name}`);
    const stored = ggufNameOf(name);
    return { parameter, stored, type: file.tensor(stored).type, k: parameter.shape.at(-1) as number };
  };
  /** Null where the type is one that no kernel reads. */
  const rowsOf = (name: string): TensorRows | null => {
    const { parameter, stored, type, k } = find(name);
    if (type === null || !isRowSource(type)) return null;
    const source = type;
    const rowBytes = sourceRowBytes(source, k);
    const heads = pairedHeads(file, name, config);
    if (heads === null) {
      const read = (first: number, into: Uint8Array) => file.readInto(stored, first * rowBytes, into);
      return { source, read, lies: file.locate(stored) };
    }
    const all = new Uint8Array(parameter.shape[0] * rowBytes);
    file.readInto(stored, 0, all);
    const ours = interleaveRotary(all, heads, rowBytes, true);
    return {
      source,
      read: (first, into) => into.set(ours.subarray(first * rowBytes, first * rowBytes + into.length)),
    };
  };
  const exact = new Map<string | null, MatrixFormat>([
    ["F16", "f16"],
    ["BF16", "bf16"],
  ]);
  const heads = [embeddingName, headName].filter((name) => shapes.has(name));
  const formats = new Set(heads.map((name) => exact.get(find(name).type)));
  return {
    headFormat: formats.size === 1 ? [...formats][0] : undefined,
    async ternary(name) {
      const { parameter, stored, type } = find(name);
      const whole = () => readGgufTernary(file, parameter, config);
      const rows = rowsOf(name);
      if (!rows) return whole();
      let factor = scaleFactorOf(file, name);
      if (type === "I2_S") {
        const own = new Uint8Array(4);
        file.readInto(stored, (parameter.shape[0] * parameter.shape[1]) / 4, own);
        const scale = new DataView(own.buffer).getFloat32(0, true);
        if (!(scale >= 0) || !Number.isFinite(scale))
          throw new FormatError(
            `${file.path}: tensor ${show(stored)}: its scale is ${scale}; expected a number above 0`,
          );
        factor = Math.fround(scale * factor);
      }
      return { rows, factor, whole };
    },
    floatRows(name) {
      const rows = rowsOf(name);
      return rows && floatSources.includes(rows.source) ? rows : null;
    },
    async floats(name, first, rows) {
      const { parameter, stored, type, k } = find(name);
      if (parameter.shape.length === 1) return file.readFloats(stored);
      const heads = pairedHeads(file, name, config);
      if (heads !== null) {
        const all = interleaveRotary(file.readFloats(stored), heads, k, true);
        return all.subarray(first * k, (first + rows) * k);
      }
      if (type === null || type === "I2_S")
        throw new FormatError(`${file.path}: tensor ${show(stored)}: is ${type}, which holds no floats`);
      const bytes = new Uint8Array(ggmlBytes(type, rows * k));
      file.readInto(stored, ggmlBytes(type, first * k), bytes);
      const values = new Float32Array(rows * k);
      codecOf(type as BlockTypeName).decode(bytes, values);
      return values;
    },
  };
}

/** The file stays the caller's, to be closed when the engine is made. */
export function weightsOfCompact({ file }: OpenedCompact): WeightSource {
  const typeOf = (name: string) => file.tensors.get(name)?.encoding;
  const heads = [embeddingName, headName].map(typeOf).filter((type) => type !== undefined);
  const [type] = heads;
  let last: { name: string; values: Float32Array } | null = null;
  return {
    headFormat: heads.every((other) => other === type) && (type === "f16" || type === "bf16") ? type : undefined,
    async ternary(name) {
      return file.readTernary(name);
    },
    async floats(name, first, rows) {
      if (last?.name !== name) last = { name, values: file.readFloats(name) };
      const { shape } = file.tensors.get(name)!;
      const width = shape.length === 1 ? 1 : shape[1];
      const values = last.values.subarray(first * width, (first + rows) * width);
      if ((first + rows) * width === last.values.length) last = null;
      return values;
    },
  };
}
