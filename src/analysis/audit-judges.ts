/**
 * The audit's checks as functions of what was measured: each gives pass, fail or not applicable, with its figure. They know
 * no model and no file, so a test can hand them what is wrong.
 */
import { type ModelConfig, normNames } from "../model/index.ts";
import type { SizeMeasurement } from "./size.ts";

export type Verdict = "pass" | "fail" | "not applicable";

export interface AuditCheck {
  id: string;
  /** What is claimed, in words. */
  claim: string;
  /** Where it is claimed. */
  source: string;
  verdict: Verdict;
  /** What was computed. */
  figure: string;
}

const b158 = "arXiv:2402.17764";
const b158Technical = "arXiv:2504.12285";

const claims = {
  "ternary-weights": ["every weight of a linear layer is -1, 0 or +1 times one scale, the matrix's absmean", b158],
  "mixed-weights": ["every weight of a ternary layer is -1, 0 or +1 times one scale, the matrix's absmean", b158],
  histograms: ["every ternary matrix uses all three values, zero among them", `${b158}, section 1`],
  "no-biases": ["there are no biases", `${b158}, section 2`],
  "sub-norms": ["a sub-norm stands before each attention output and each down projection", b158Technical],
  "float-parts": ["embedding, output head and norms stay in high precision", `${b158}, section 2`],
  activations: [
    "activations are int8, scaled by each token's largest: within -127 to 127, and 127 is reached",
    `${b158}, section 2`,
  ],
  "integer-float": ["the integer product is the float product of the dequantised operands", `${b158}, section 2`],
  packed: ["packed for inference, the model gives training's logits", "docs/generation.md"],
  bits: ["ternary weights take 1.58 bits, or 1.6 as five to a byte", `${b158}, section 1`],
  "rms-norm": ["RMSNorm computes what PyTorch computes", "reference-values.ts"],
  rotary: ["rotary positions turn as in PyTorch, half-split", "reference-values.ts"],
  swiglu: ["SwiGLU computes what PyTorch computes", "reference-values.ts"],
} as const satisfies Record<string, readonly [claim: string, source: string]>;

export type CheckId = keyof typeof claims;

const check = (id: CheckId, verdict: Verdict | boolean, figure: string): AuditCheck => ({
  id,
  claim: claims[id][0],
  source: claims[id][1],
  verdict: typeof verdict === "boolean" ? (verdict ? "pass" : "fail") : verdict,
  figure,
});

export const notTernary = (id: CheckId): AuditCheck => check(id, "not applicable", "this model has no ternary layers");

/** Of BitLinear: ternary weights times int8 activations. */
export const notBitLinear = (id: CheckId): AuditCheck =>
  check(id, "not applicable", "this model has no layers with ternary weights and int8 activations");

/** @param reason what the model has instead, or why it could not be measured */
export const notApplicable = (id: CheckId, reason: string): AuditCheck => check(id, "not applicable", reason);

const count = (n: number): string => n.toLocaleString("en-US");
const share = (x: number): string => `${(100 * x).toFixed(2)} %`;

export interface TernaryEvidence {
  name: string;
  /** Float weights that training keeps. */
  weights: Float32Array;
  /** As they multiply: q + 1. */
  codes: Uint8Array;
  scale: number;
}

/** A weight this near a rounding boundary, in units of the scale, may go either way: the scale is float32. */
const boundary = 1e-5;

/**
 * Codes and scale, computed again from the master weights in float64 by the paper's rule:
 * s = mean|w| + eps, or max(mean|w|, eps); q = clip(round(w / s), -1, 1).
 */
export async function judgeTernary(
  layers: AsyncIterable<TernaryEvidence> | Iterable<TernaryEvidence>,
  { weightScale, weightEps }: Pick<ModelConfig, "weightScale" | "weightEps">,
  /** Of a model of mixed precision: which of its layers these are, in words. */
  mixed: string | null = null,
): Promise<AuditCheck> {
  let [total, other, wrong, matrices, worstScale] = [0, 0, 0, 0, 0];
  let where = "";
  for await (const { name, weights, codes, scale } of layers) {
    let sum = 0;
    for (const w of weights) sum += Math.abs(w);
    const mean = sum / weights.length;
    const s = weightScale === "add" ? mean + weightEps : Math.max(mean, weightEps);
    const before = other + wrong;
    for (let i = 0; i < weights.length; i++) {
      if (codes[i] > 2) other++;
      const ratio = weights[i] / s;
      const q = Math.abs(ratio) <= 0.5 ? 0 : Math.sign(ratio);
      if (codes[i] - 1 !== q && Math.abs(Math.abs(ratio) - 0.5) > boundary) wrong++;
    }
    const error = Math.abs(scale - s) / s;
    worstScale = Math.max(worstScale, error); // stays NaN
    if (where === "" && (other + wrong > before || !(error <= scaleTolerance))) where = `; first in ${name}`;
    total += weights.length;
    matrices++;
  }
  const right = matrices > 0 && other === 0 && wrong === 0 && worstScale <= scaleTolerance;
  const judged = check(
    mixed === null ? "ternary-weights" : "mixed-weights",
    right,
    `${count(total)} weights of ${matrices} matrices: ${count(other)} are none of -1, 0, +1, ${count(wrong)} differ from the rule's; scales differ by ${worstScale.toExponential(1)} at most${where}${mixed === null ? "" : `; ${mixed}`}`,
  );
  return { ...judged, id: "ternary-weights" };
}

/** A float32 sum of a matrix, accumulated in float64, rounds once or twice. */
const scaleTolerance = 1e-5;

/** What some value's share must be at least, for a matrix to be said to use it. */
const leastShare = 0.001;

export function judgeHistograms(layers: SizeMeasurement["layers"]): AuditCheck {
  const poor = layers.filter(({ minus, zero, plus }) => Math.min(minus, zero, plus) < leastShare);
  const zeros = layers.map(({ zero }) => zero);
  const entropies = layers.map(({ entropyBits }) => entropyBits);
  const range = (values: readonly number[], show: (x: number) => string) =>
    `${show(Math.min(...values))} to ${show(Math.max(...values))}`;
  return check(
    "histograms",
    layers.length > 0 && poor.length === 0,
    layers.length === 0
      ? "there is no ternary matrix"
      : `${layers.length} matrices: zeros ${range(zeros, share)}, entropy ${range(entropies, (x) => x.toFixed(4))} bits (log2 3 = 1.5850)${
          poor.length > 0 ? `; ${poor.length} use a value in less than ${share(leastShare)}: ${poor[0].name}` : ""
        }`,
  );
}

/** By name, and by shape: a vector that is not a norm's gain would be a bias. */
export function judgeNoBiases(
  parameters: readonly { name: string; shape: readonly number[]; role: string }[],
): AuditCheck {
  const biases = parameters.filter(
    ({ name, shape, role }) => /bias/i.test(name) || (shape.length < 2 && role !== "norm" && role !== "quantizer"),
  );
  const norms = parameters.filter(({ role }) => role === "norm").length;
  const learned = parameters.filter(({ role }) => role === "quantizer").length;
  return check(
    "no-biases",
    parameters.length > 0 && biases.length === 0,
    `${parameters.length} tensors: ${norms} gains of norms, ${learned > 0 ? `${learned} parameters of quantizers, ` : ""}${parameters.length - norms - learned - biases.length} matrices, ${biases.length} biases${biases.length > 0 ? ` (${biases[0].name})` : ""}`,
  );
}

export function judgeSubNorms(
  parameters: readonly { name: string; shape: readonly number[] }[],
  { layers, width, hiddenWidth, subNorms }: Pick<ModelConfig, "layers" | "width" | "hiddenWidth" | "subNorms">,
): AuditCheck {
  if (!subNorms) return check("sub-norms", "not applicable", "this model was made without sub-norms, says its config");
  const of = (norm: string, size: number) =>
    parameters.filter(({ name, shape }) => name.includes(norm) && shape.length === 1 && shape[0] === size).length;
  const attention = of(normNames.attentionSub, width);
  const feedForward = of(normNames.feedForwardSub, hiddenWidth);
  return check(
    "sub-norms",
    attention === layers && feedForward === layers,
    `${layers} blocks: ${attention} sub-norms of width ${width} in attention, ${feedForward} of width ${hiddenWidth} in the feed-forward`,
  );
}

/** More different magnitudes than ternary, or 4-bit, numbers have. */
const leastMagnitudes = 16;

export function judgeFloatParts(parts: readonly { name: string; role: string; values: Float32Array }[]): AuditCheck {
  const matrices = parts.filter(({ role }) => role === "embedding" || role === "head");
  const coarse = matrices.flatMap(({ name, values }) => {
    const different = new Set(values.map(Math.abs)).size;
    return different < leastMagnitudes ? [{ name, different }] : [];
  });
  const broken = parts.filter(({ values }) => !values.every(Number.isFinite));
  const least = Math.min(...matrices.map(({ values }) => new Set(values.map(Math.abs)).size));
  const wrong =
    coarse.length > 0
      ? `; ${coarse[0].name} has only ${coarse[0].different}`
      : broken.length > 0
        ? `; ${broken[0].name} is not finite`
        : "";
  return check(
    "float-parts",
    matrices.length > 0 && coarse.length === 0 && broken.length === 0,
    `${parts.length} float tensors; embedding and head: at least ${count(least)} different magnitudes in the first ${count(Math.min(...matrices.map(({ values }) => values.length)))} numbers${wrong}`,
  );
}

/** What one BitLinear read and wrote on a text. */
export interface BitLinearEvidence {
  name: string;
  n: number;
  k: number;
  /** Tokens whose outputs are here. */
  rows: number;
  /** [tokens, K] of every token. */
  activations: Int8Array;
  activationScales: Float32Array;
  /** [N, K], q + 1. */
  codes: Uint8Array;
  scale: number;
  /** [rows, N]; null where none was added. */
  residual: Float32Array | null;
  y: Float32Array;
}

export function judgeActivations(layers: readonly BitLinearEvidence[], tokens: number): AuditCheck {
  let [least, most, full, rows, dead] = [0, 0, 0, 0, 0];
  for (const { activations, k } of layers)
    for (let at = 0; at < activations.length; at += k) {
      let largest = 0;
      for (let i = at; i < at + k; i++) {
        least = Math.min(least, activations[i]);
        most = Math.max(most, activations[i]);
        largest = Math.max(largest, Math.abs(activations[i]));
      }
      rows++;
      if (largest === 127) full++;
      if (largest === 0) dead++;
    }
  return check(
    "activations",
    rows > 0 && least >= -127 && most <= 127 && full === rows,
    `${count(tokens)} tokens of text, ${layers.length} inputs: codes from ${least} to ${most}; the largest is 127 in ${share(rows > 0 ? full / rows : 0)} of ${count(rows)} rows${dead > 0 ? `, ${count(dead)} rows are all zero` : ""}`,
  );
}

/** Two scales and a residual round in float32; relative to the largest output of the row. */
const productTolerance = 2e-6;

/** y again, in float64, from the dequantised operands: sum over k of (xq · eta) · (q · s). */
export function judgeAgreement(layers: readonly BitLinearEvidence[]): AuditCheck {
  let [worst, outputs] = [0, 0];
  let where = "";
  for (const { name, n, k, rows, activations, activationScales, codes, scale, residual, y } of layers)
    for (let m = 0; m < rows; m++) {
      const expected = new Float64Array(n);
      let largest = 0;
      for (let row = 0; row < n; row++) {
        let sum = 0;
        for (let i = 0; i < k; i++)
          sum += activations[m * k + i] * activationScales[m] * ((codes[row * k + i] - 1) * scale);
        const rest = residual ? residual[m * n + row] : 0;
        expected[row] = sum + rest;
        largest = Math.max(largest, Math.abs(sum), Math.abs(rest));
      }
      for (let row = 0; row < n; row++) {
        const error = Math.abs(y[m * n + row] - expected[row]) / Math.max(largest, Number.MIN_VALUE);
        if (!(error <= worst)) where = name;
        worst = Math.max(worst, error); // stays NaN
      }
      outputs += n;
    }
  return check(
    "integer-float",
    outputs > 0 && worst <= productTolerance,
    `${count(outputs)} outputs of ${layers.length} products: differ by ${worst.toExponential(1)} of the row's largest at most${where ? `, in ${where}` : ""} (allowed: ${productTolerance})`,
  );
}

/** Sums of float32 in another order; relative to the largest logit. */
const logitTolerance = 1e-3;

export function judgePackedLogits(trained: Float32Array, packed: Float32Array, vocabSize: number): AuditCheck {
  const rows = trained.length / vocabSize;
  let [worst, largest, same] = [0, 0, 0];
  for (let i = 0; i < trained.length; i++) {
    largest = Math.max(largest, Math.abs(trained[i]));
    const error = Math.abs(trained[i] - packed[i]);
    worst = Math.max(worst, error); // stays NaN
  }
  const likeliest = (logits: Float32Array, row: number) => {
    let best = row * vocabSize;
    for (let i = best; i < (row + 1) * vocabSize; i++) if (logits[i] > logits[best]) best = i;
    return best;
  };
  for (let row = 0; row < rows; row++) if (likeliest(trained, row) === likeliest(packed, row)) same++;
  return check(
    "packed",
    rows > 0 && packed.length === trained.length && worst <= logitTolerance * largest,
    `${rows} tokens: logits differ by ${worst.toExponential(1)} at most, the largest is ${largest.toPrecision(4)}; the likeliest token is the same for ${same} of ${rows}`,
  );
}

/** Five trits to a byte, and 2 % for tables, padding and scales. */
const mostBits = 1.6 * 1.02;

export function judgeBits({
  ternaryBitsPerWeight: bits,
  ternaryEntropyBits: entropy,
  fileBytes,
  bitsPerParameter,
}: Pick<
  SizeMeasurement,
  "ternaryBitsPerWeight" | "ternaryEntropyBits" | "fileBytes" | "bitsPerParameter"
>): AuditCheck {
  return check(
    "bits",
    bits !== null && bits <= mostBits,
    `${bits?.toFixed(4) ?? "no"} bits a ternary weight in a compact file, scales counted; ${entropy?.toFixed(4) ?? "no"} is the entropy of the histograms; the whole file has ${count(fileBytes)} bytes, ${bitsPerParameter.toFixed(2)} bits a parameter`,
  );
}

/**
 * @param float32Error how far PyTorch's own float32 was from the values: four times that is allowed, or the bare rounding
 * @param insteadOf    what the model has instead, where it does not use this part
 */
export function judgeReference(
  id: "rms-norm" | "rotary" | "swiglu",
  y: ArrayLike<number>,
  expected: readonly number[],
  float32Error: number,
  insteadOf: string | null,
): AuditCheck {
  if (insteadOf !== null) return check(id, "not applicable", `this model has ${insteadOf}`);
  const largest = Math.max(...expected.map(Math.abs));
  const allowed = Math.max(4 * float32Error, largest * 2 ** -23);
  let worst = y.length === expected.length ? 0 : Number.NaN;
  for (const [i, value] of expected.entries()) {
    const error = Math.abs(y[i] - value);
    worst = Math.max(worst, error); // stays NaN
  }
  return check(
    id,
    worst <= allowed,
    `${expected.length} values: differ by ${worst.toExponential(1)} at most (allowed: ${allowed.toExponential(1)})`,
  );
}
