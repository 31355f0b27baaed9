/**
 * The Muon step of one matrix: momentum, orthogonalization by Newton-Schulz, update. Not taped. Called by train/.
 *
 *   M = mu M + g;  N = g + mu M (Nesterov) or M;  X = N / |N|
 *   A = X Xᵀ;  X = (a I + b A + c A²) X       iterated; (a, b, c) = (3.4445, -4.7750, 2.0315)
 *   w = (1 - learningRate · weightDecay) w - learningRate · factor · X
 *
 * The singular values of X go to about 1 (between 0.7 and 1.2 after five iterations, those that began very small below it),
 * its singular vectors stay. A matrix with more rows than columns takes A = Xᵀ X and X = X (a I + b A + c A²), which is the
 * same, over the smaller of the two square matrices. Products are float32.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError, UsageError } from "../../platform/errors.ts";
import { plainProducts } from "../matmul/index.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { muonMomentumReference, muonPolynomialReference, muonStepReference } from "./reference.ts";

/** Of the published iteration: the slope at zero is as steep as it can be. */
export const newtonSchulzCoefficients = { a: 3.4445, b: -4.775, c: 2.0315 };

const momentumKernel = defineKernel({
  name: "muon_momentum",
  buffers: { gradient: "f32", momentum: "f32", x: "f32" },
  params: ["n", "mu", "nesterov", "gradientScale"],
  sizes: { gradient: ["n"], momentum: ["n"], x: ["n"] },
  reference: (a, p) => muonMomentumReference(a.gradient, a.momentum, a.x, p),
});

const polynomialKernel = defineKernel({
  name: "muon_polynomial",
  buffers: { gram: "f32", square: "f32" },
  params: ["n", "a", "b", "c"],
  sizes: { gram: ["n", "n"], square: ["n", "n"] },
  reference: (a, p) => muonPolynomialReference(a.gram, a.square, p),
});

const stepKernel = defineKernel({
  name: "muon_step",
  buffers: { weight: "f32", update: "f32" },
  params: ["n", "decay", "rate", "cautious"],
  sizes: { weight: ["n"], update: ["n"] },
  reference: (a, p) => muonStepReference(a.weight, a.update, p),
});

/** Float32 matrices of one shape. The step changes all but the gradient. */
export interface MuonArrays {
  /** [N, K] */
  weight: NDArray;
  gradient: NDArray;
  /** M; zero before the first step. */
  momentum: NDArray;
}

/** How a step's length follows from the matrix's shape: `stepFactor`. */
export type MuonScale = "spectral" | "adamw";

export interface MuonSettings {
  learningRate: number;
  /** mu, in [0, 1). */
  momentum: number;
  nesterov: boolean;
  /** Newton-Schulz iterations, from 1. */
  iterations: number;
  scale: MuonScale;
  /** Decoupled: the weight shrinks by learningRate * weightDecay, whatever the scale. */
  weightDecay: number;
  /** Multiplies the gradient first (clipping by norm, averaging of micro-batches). */
  gradientScale: number;
  /** Decays a weight only where its update does not move it away from zero. Default false. */
  cautious?: boolean;
}

/**
 * What the learning rate is multiplied by for a matrix [N, K]: spectral, max(1, N / K)^0.5 (the author's); adamw, 0.2
 * max(N, K)^0.5, which gives the update the root mean square that AdamW's has (Liu et al., arXiv:2502.16982).
 */
export function stepFactor(scale: MuonScale, [rows, columns]: readonly number[]): number {
  return scale === "spectral" ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
}

/**
 * @returns an array [N, K] with x orthogonalized; x itself is scratch afterwards. Both are `cx.create`'s
 * @param x [N, K] float32 with |x| at most 1
 */
export function orthogonalize(cx: OpContext, x: NDArray, iterations: number): NDArray {
  const [rows, columns] = x.shape;
  const n = Math.min(rows, columns);
  const gram = cx.create([n, n], "f32");
  const square = cx.create([n, n], "f32");
  let from = x;
  let to = cx.create(x.shape, "f32");
  for (let i = 0; i < iterations; i++) {
    if (rows <= columns) plainProducts.timesTransposed(cx, from, from, gram);
    else plainProducts.transposedTimes(cx, from, from, gram);
    plainProducts.times(cx, gram, gram, square);
    cx.backend.launch(polynomialKernel, { gram, square }, { n, ...newtonSchulzCoefficients });
    if (rows <= columns) plainProducts.times(cx, square, from, to);
    else plainProducts.times(cx, from, square, to);
    [from, to] = [to, from];
  }
  return from;
}

/**
 * Updates weight and momentum. Scratch is made by `cx.create`: two arrays of the weight's size, and two squares of its
 * smaller side.
 *
 * @throws ShapeError for arrays that are no matrices of one shape; UsageError for a momentum outside [0, 1) or iterations
 *   that are no number from 1
 */
export function muonStep(cx: OpContext, { weight, gradient, momentum }: MuonArrays, settings: MuonSettings): void {
  const { shape } = weight;
  for (const [name, array] of Object.entries({ gradient, momentum }))
    if (shape.length !== 2 || array.shape.join() !== shape.join())
      throw new ShapeError(`muon: weight is [${shape}], ${name} is [${array.shape}]; expected matrices of one shape`);
  const { learningRate, momentum: mu, nesterov, iterations, scale, weightDecay, gradientScale, cautious } = settings;
  if (!(mu >= 0 && mu < 1)) throw new UsageError(`muon: momentum is ${mu}; expected 0 <= momentum < 1`);
  if (!(Number.isInteger(iterations) && iterations >= 1))
    throw new UsageError(`muon: iterations is ${iterations}; expected 1, 2, 3, ...`);
  const n = sizeOf(shape);
  const x = cx.create(shape, "f32");
  cx.backend.launch(momentumKernel, { gradient, momentum, x }, { n, mu, nesterov: nesterov ? 1 : 0, gradientScale });
  const update = orthogonalize(cx, x, iterations);
  cx.backend.launch(
    stepKernel,
    { weight, update },
    {
      n,
      decay: 1 - learningRate * weightDecay,
      rate: learningRate * stepFactor(scale, shape),
      cautious: cautious ? 1 : 0,
    },
  );
}
