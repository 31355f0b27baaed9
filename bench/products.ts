/**
 * The matrix products of training as jobs for a bench: float32 and bfloat16 in the three layouts (y = x · wᵀ, dx = dy · w,
 * dw = dyᵀ · x), BitLinear's exact int8 forward, and its two gradients. Each can check its answer: some values against sums in
 * float64 over what the references give. Used by kernels-openblas.ts and sweep.ts.
 */
import type { Backend, DType, NDArray, TypedArray } from "../src/backends/backend.ts";
import { viewOf } from "../src/backends/reference.ts";
import { quantizeActivations } from "../src/ops/activation-quant/reference.ts";
import { bitLinear } from "../src/ops/bit-linear/index.ts";
import { matmul } from "../src/ops/matmul/index.ts";
import { type BackwardContext, type Op, type Precision, sizeOf } from "../src/ops/op.ts";
import { quantizeWeights } from "../src/ops/weight-quant/reference.ts";
import { createRandom } from "../src/platform/random.ts";
import { watch } from "./launches.ts";

export type Layout = "NT" | "NN" | "TN";
export type Kind = "float32" | "bfloat16" | "int8" | "ternary float32" | "ternary bfloat16";

export interface Product {
  /** float32 and bfloat16: both operands are floats. int8: activations by ternary weights. ternary ...: its gradients. */
  kind: Kind;
  layout: Layout;
  /** Runs it once; milliseconds in the product's kernel. */
  run(): number;
  /** Compares values with the definition. @throws Error naming the first that is off */
  check(): Promise<void>;
}

export interface Operands {
  m: number;
  k: number;
  n: number;
  /** [M, K], [N, K], [M, N] */
  x: Float32Array;
  w: Float32Array;
  dy: Float32Array;
}

/** Uniform values in (-1, 1): quick to make, and no worse to multiply than any others. */
export function fillUniform(array: Float32Array, seed: number): Float32Array {
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < array.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    array[i] = state / 2147483648;
  }
  return array;
}

/** Operations of one product. */
export const operationsOf = ({ m, k, n }: Pick<Operands, "m" | "k" | "n">) => 2 * m * k * n;

/** Sum of products in float64, and of their magnitudes, for one value of one layout. */
export function exact({ m, k, n, x, w, dy }: Operands, layout: Layout, i: number, j: number) {
  const terms: Record<Layout, [count: number, of: (p: number) => number]> = {
    NT: [k, (p) => x[i * k + p] * w[j * k + p]],
    NN: [n, (p) => dy[i * n + p] * w[p * k + j]],
    TN: [m, (p) => dy[p * n + i] * x[p * k + j]],
  };
  const [count, of] = terms[layout];
  let [sum, magnitude] = [0, 0];
  for (let p = 0; p < count; p++) {
    const term = of(p);
    sum += term;
    magnitude += Math.abs(term);
  }
  return { sum, magnitude };
}

/** Rows and columns of a layout's result. */
export const resultShape = ({ m, k, n }: Pick<Operands, "m" | "k" | "n">, layout: Layout): [number, number] =>
  layout === "NT" ? [m, n] : layout === "NN" ? [m, k] : [n, k];

const random = createRandom(11);

/** The corners, and some values between: what a ragged edge gets wrong is at an edge. */
export function* someIndices([rows, columns]: readonly [number, number], count = 40): Generator<[number, number]> {
  yield [0, 0];
  yield [rows - 1, columns - 1];
  yield [0, columns - 1];
  yield [rows - 1, 0];
  for (let t = 4; t < count; t++) yield [random.integer(rows), random.integer(columns)];
}

/** Relative to the sum of magnitudes: float32 sums; both operands rounded to bfloat16; one of them. */
const bounds: Record<Kind, number> = {
  float32: 2 ** -20,
  bfloat16: 2 ** -7,
  int8: 1e-6,
  "ternary float32": 2 ** -20,
  "ternary bfloat16": 2 ** -8,
};

/** The jobs on a backend. Arrays are made once for each run and given back to the backend's free list. */
export function productsOf(plain: Backend, operands: Operands): { products: Product[]; free(): void } {
  const { m, k, n, x, w, dy } = operands;
  let productMs = 0;
  const backend = watch(plain, ({ kernel, ms }) => {
    if (/^(matmul|bit_linear)/.test(kernel)) productMs += ms;
  });
  const held: NDArray[] = [];
  const create = (shape: readonly number[], dtype: DType): NDArray => {
    const bytes = sizeOf(shape) * (dtype === "f32" || dtype === "i32" ? 4 : 1);
    const array = { shape, dtype, buffer: plain.allocate(bytes) };
    held.push(array);
    return array;
  };
  const put = (shape: readonly number[], dtype: DType, data: TypedArray) => {
    const array = create(shape, dtype);
    plain.upload(array.buffer, data);
    return array;
  };

  // Quantised by the references, which PyTorch's values hold.
  const [codes, scales, sums] = [new Int8Array(m * k), new Float32Array(m), new Int32Array(m)];
  quantizeActivations(x, codes, scales, sums, m, k, 1e-5);
  const [ternary, weightScale] = [new Uint8Array(n * k), new Float32Array(1)];
  quantizeWeights(w, ternary, weightScale, "add", 1e-6);
  const scale = weightScale[0];

  const [X, W, DY] = [put([m, k], "f32", x), put([n, k], "f32", w), put([m, n], "f32", dy)];
  const quantized = [put([m, k], "i8", codes), put([m], "f32", scales), put([m], "i32", sums)];
  const bitInputs = [...quantized, W, put([n, k], "u8", ternary), put([1], "f32", weightScale)];
  // What the integer products stand for, for `exact`.
  const real: Operands = { ...{ m, k, n, dy }, x: new Float32Array(m * k), w: new Float32Array(n * k) };
  for (let i = 0; i < m; i++) for (let p = i * k; p < (i + 1) * k; p++) real.x[p] = codes[p] * scales[i];
  for (let p = 0; p < n * k; p++) real.w[p] = (ternary[p] - 1) * scale;

  function product<P>(kind: Kind, layout: Layout, op: Op<P>, inputs: NDArray[], params: P, input: number): Product {
    const precision: Precision = kind.endsWith("bfloat16") ? "bf16" : "fp32";
    const cx = { backend, precision, create };
    let result: NDArray | null = null;
    let saved: readonly NDArray[] | null = null;
    const giveBack = (from: number, except: readonly NDArray[] = []) => {
      for (const array of held.splice(from))
        if (except.includes(array)) held.push(array);
        else plain.free(array.buffer);
    };
    const bcx: BackwardContext = {
      ...cx,
      gradient: (i) => {
        if (i !== input) return null;
        result = create(inputs[i].shape, "f32");
        return { array: result, accumulate: 0 };
      },
      pass() {},
      exclusive: () => true,
    };
    /** @returns milliseconds in the product's kernel; its result is held from `held.length` before */
    const work = () => {
      productMs = 0;
      if (layout === "NT") [result] = op.forward(cx, inputs, params).outputs;
      else op.backward!(bcx, saved!, [DY], params);
      return productMs;
    };
    /** Backward alone is wanted; forward says what it saves, once. */
    const prepare = () => {
      if (layout === "NT" || saved) return;
      const from = held.length;
      saved = op.forward(cx, inputs, params).saved;
      giveBack(from, saved);
    };
    return {
      kind,
      layout,
      run() {
        prepare();
        const from = held.length;
        const ms = work();
        giveBack(from);
        return ms;
      },
      async check() {
        prepare();
        const from = held.length;
        work();
        const [rows, columns] = resultShape(operands, layout);
        if (String(result!.shape) !== String([rows, columns]))
          throw new Error(`${kind} ${layout}: the result is [${result!.shape}], expected [${rows}, ${columns}]`);
        const host = viewOf("f32", new ArrayBuffer(4 * rows * columns), 0, rows * columns);
        await plain.read(result!.buffer, host);
        giveBack(from);
        const source = kind === "float32" || kind === "bfloat16" ? operands : real;
        for (const [i, j] of someIndices([rows, columns])) {
          const { sum, magnitude } = exact(source, layout, i, j);
          const bound = bounds[kind] * magnitude + 1e-30;
          const actual = host[i * columns + j];
          if (!(Math.abs(actual - sum) <= bound))
            throw new Error(
              `${plain.isa}, M = ${m}, K = ${k}, N = ${n}, ${kind} ${layout}: [${i}, ${j}] is ${actual}, expected ${sum} ± ${bound}`,
            );
        }
      },
    };
  }

  const all: Product[] = [];
  const layouts: [Layout, number][] = [
    ["NT", -1],
    ["NN", 0],
    ["TN", 1],
  ];
  for (const kind of ["float32", "bfloat16"] as const)
    if (kind === "float32" || plain.supports.bf16)
      for (const [layout, input] of layouts) all.push(product(kind, layout, matmul, [X, W], {}, input));
  all.push(product("int8", "NT", bitLinear, bitInputs, {}, -1));
  const best: Kind = plain.supports.bf16 ? "ternary bfloat16" : "ternary float32";
  all.push(product(best, "NN", bitLinear, bitInputs, {}, 0));
  all.push(product(best, "TN", bitLinear, bitInputs, {}, 3));
  return {
    products: all,
    free() {
      for (const { buffer } of held.splice(0)) plain.free(buffer);
    },
  };
}
