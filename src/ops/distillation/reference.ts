/**
 * Distillation losses over logits, in nats: the slow definition, forward and backward. kernel.cc must agree with it on cases.ts.
 *
 * With p = softmax(y / t) of the teacher and q = softmax(x / t) of the student, at temperature t, for each counted position m:
 *
 *   F[m] = KL(p || q) = sum of p (log p - log q);   R[m] = KL(q || p) = sum of q (log q - log p)
 *   loss = t² / N · sum over m of (f[m] F[m] + r[m] R[m])
 *
 * (Hinton et al. 2015, arXiv:1503.02531: t² keeps the gradient's size.) N is the number of counted positions, so the loss is
 * per token. f and r by direction, each times the token's weight w[m]:
 *
 *   forward: 1, 0;   reverse: 0, 1;   mixture (BitDistiller, arXiv:2402.10631): 1 - g, g, where g is the teacher's mean
 *   probability of the target, at temperature 1, over the counted positions of the sequence
 *
 * w[m] is 1, or with a token temperature u (TSLD, arXiv:2308.06744) n · softmax over the n counted positions of the sequence
 * of (teacher's cross entropy of the target, at temperature 1) / u: their mean is 1.
 *
 * Against samples in place of p (arXiv:2503.16870): F[m] = -(1 / S) sum over the S drawn tokens of log q - H(p), whose
 * expectation is KL(p || q), and whose gradient has that of the full loss as its expectation.
 *
 * A class of probability 0 contributes 0. NaN among a counted row's logits gives NaN. No position counted: NaN (0 / 0).
 */
const ignored = -100;

export const directions = ["forward", "reverse", "mixture"] as const;
export type Direction = (typeof directions)[number];

export interface DistillationSizes {
  /** B·T. */
  rows: number;
  /** T: positions of one sequence. */
  length: number;
  classes: number;
  temperature: number;
  /** Index in `directions`. */
  direction: number;
  /** u; 0: every token weighs 1. */
  tokenTemperature: number;
}

function stats(x: Float32Array, temperature: number): [max: number, sum: number] {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of x) max = Math.max(max, value);
  let sum = 0;
  for (const value of x) sum += Math.exp((value - max) / temperature);
  return [max, sum];
}

/** -log softmax(y)[target]; 0 where the target does not count. */
function targetLossOf(y: Float32Array, target: number): number {
  if (target === ignored) return 0;
  if (target < 0 || target >= y.length) return Number.NaN;
  const [max, sum] = stats(y, 1);
  return max - y[target] + Math.log(sum);
}

/**
 * @param a.student, a.teacher [M, V]
 * @param a.targets     [M]; -100 where a position does not count
 * @param a.stats       [M, 4], overwritten: largest logit and sum of exponentials, of student and teacher
 * @param a.targetLoss  [M], overwritten: the teacher's cross entropy of the target
 * @param a.divergence  [M, 2], overwritten: F and R
 * @param a.coefficient [M, 2], overwritten: f and r
 * @param a.loss        [1], overwritten; summed in float64
 */
export function distillationForward(
  a: Record<"student" | "teacher" | "stats" | "targetLoss" | "divergence" | "coefficient" | "loss", Float32Array> & {
    targets: Int32Array;
  },
  s: DistillationSizes,
): void {
  const { classes: V, temperature: t } = s;
  for (let m = 0; m < s.rows; m++) {
    const x = a.student.subarray(m * V, (m + 1) * V);
    const y = a.teacher.subarray(m * V, (m + 1) * V);
    const [maxX, sumX] = stats(x, t);
    const [maxY, sumY] = stats(y, t);
    a.stats.set([maxX, sumX, maxY, sumY], 4 * m);
    let [forward, reverse] = [0, 0];
    const shift = (maxX - maxY) / t + Math.log(sumX) - Math.log(sumY);
    for (let v = 0; v < V; v++) {
      const q = Math.exp((x[v] - maxX) / t) / sumX;
      const p = Math.exp((y[v] - maxY) / t) / sumY;
      const ratio = (y[v] - x[v]) / t + shift;
      if (p !== 0) forward += p * ratio;
      if (q !== 0) reverse -= q * ratio;
    }
    a.divergence.set([forward, reverse], 2 * m);
    const wanted = s.direction === 2 || s.tokenTemperature > 0;
    a.targetLoss[m] = wanted ? targetLossOf(y, a.targets[m]) : 0;
  }
  coefficients(a, s);
  let total = 0;
  let counted = 0;
  for (let m = 0; m < s.rows; m++) {
    if (a.targets[m] === ignored) continue;
    counted++;
    for (const k of [2 * m, 2 * m + 1]) if (a.coefficient[k] !== 0) total += a.coefficient[k] * a.divergence[k];
  }
  a.loss[0] = (t * t * total) / counted;
}

/** f and r of every row; 0 where it does not count. */
export function coefficients(
  a: { targets: Int32Array; targetLoss: Float32Array; coefficient: Float32Array },
  { rows, length, direction, tokenTemperature: u }: Omit<DistillationSizes, "classes" | "temperature">,
): void {
  for (let first = 0; first < rows; first += length) {
    let n = 0;
    let most = Number.NEGATIVE_INFINITY;
    let confidence = 0;
    for (let m = first; m < first + length; m++) {
      if (a.targets[m] === ignored) continue;
      n++;
      most = Math.max(most, a.targetLoss[m]);
      confidence += Math.exp(-a.targetLoss[m]);
    }
    let total = 0;
    for (let m = first; m < first + length; m++)
      if (u > 0 && a.targets[m] !== ignored) total += Math.exp((a.targetLoss[m] - most) / u);
    const g = direction === 2 ? confidence / n : direction;
    for (let m = first; m < first + length; m++) {
      const counts = a.targets[m] !== ignored;
      const w = !counts ? 0 : u > 0 ? (n * Math.exp((a.targetLoss[m] - most) / u)) / total : 1;
      a.coefficient[2 * m] = counts ? w * (1 - g) : 0;
      a.coefficient[2 * m + 1] = counts ? w * g : 0;
    }
  }
}

const countOf = (targets: Int32Array) => targets.reduce((n, target) => n + (target === ignored ? 0 : 1), 0);

/**
 * dx = t / N · dloss · (f (q - p) + r q (log q - log p - R))
 *
 * @param a.gradient [M, V], overwritten; may be the teacher's logits themselves
 */
export function distillationBackward(
  a: Record<"student" | "teacher" | "stats" | "divergence" | "coefficient" | "dloss" | "gradient", Float32Array> & {
    targets: Int32Array;
  },
  { rows, classes: V, temperature: t }: Pick<DistillationSizes, "rows" | "classes" | "temperature">,
): void {
  const weight = (t * a.dloss[0]) / countOf(a.targets);
  for (let m = 0; m < rows; m++) {
    const counts = a.targets[m] !== ignored;
    const [maxX, sumX, maxY, sumY] = a.stats.subarray(4 * m, 4 * m + 4);
    const [f, r] = a.coefficient.subarray(2 * m, 2 * m + 2);
    const R = a.divergence[2 * m + 1];
    const shift = (maxX - maxY) / t + Math.log(sumX) - Math.log(sumY);
    for (let v = m * V; v < (m + 1) * V; v++) {
      const [x, y] = [a.student[v], a.teacher[v]];
      const q = Math.exp((x - maxX) / t) / sumX;
      const p = Math.exp((y - maxY) / t) / sumY;
      let gradient = f * (q - p);
      if (r !== 0 && q !== 0) gradient -= r * q * ((y - x) / t + shift + R);
      a.gradient[v] = counts ? gradient * weight : 0;
    }
  }
}

export interface SampledSizes extends Omit<DistillationSizes, "direction"> {
  /** S: tokens drawn for each position. */
  samples: number;
}

/**
 * @param a.student     [M, V]
 * @param a.ids         [M, S]: drawn from the teacher; outside 0..V-1: NaN
 * @param a.entropy     [M]: H(p), at temperature t
 * @param a.targetLoss  [M]: the teacher's cross entropy of the target, at temperature 1
 * @param a.stats       [M, 2], overwritten
 * @param a.rowLoss     [M], overwritten: F
 * @param a.coefficient [M, 2], overwritten: f and 0
 */
export function sampledForward(
  a: Record<"student" | "entropy" | "targetLoss" | "stats" | "rowLoss" | "coefficient" | "loss", Float32Array> &
    Record<"targets" | "ids", Int32Array>,
  s: SampledSizes,
): void {
  const { classes: V, temperature: t, samples: S } = s;
  coefficients(a, { ...s, direction: 0 });
  let total = 0;
  let counted = 0;
  for (let m = 0; m < s.rows; m++) {
    const x = a.student.subarray(m * V, (m + 1) * V);
    const [max, sum] = stats(x, t);
    a.stats.set([max, sum], 2 * m);
    let drawn = 0;
    for (const id of a.ids.subarray(m * S, (m + 1) * S)) drawn += (id >= 0 && id < V ? max - x[id] : Number.NaN) / t;
    const counts = a.targets[m] !== ignored;
    a.rowLoss[m] = counts ? Math.log(sum) + drawn / S - a.entropy[m] : 0;
    if (!counts) continue;
    counted++;
    total += a.coefficient[2 * m] * a.rowLoss[m];
  }
  a.loss[0] = (t * t * total) / counted;
}

/** dx = t / N · dloss · f (q - count / S). @param a.gradient [M, V], overwritten, or added to with `accumulate` */
export function sampledBackward(
  a: Record<"student" | "stats" | "coefficient" | "dloss" | "gradient", Float32Array> &
    Record<"targets" | "ids", Int32Array>,
  { rows, classes: V, temperature: t, samples: S }: Pick<SampledSizes, "rows" | "classes" | "temperature" | "samples">,
  accumulate: number,
): void {
  const weight = (t * a.dloss[0]) / countOf(a.targets);
  const row = new Float64Array(V);
  for (let m = 0; m < rows; m++) {
    const counts = a.targets[m] !== ignored;
    const [max, sum] = a.stats.subarray(2 * m, 2 * m + 2);
    const scale = weight * a.coefficient[2 * m];
    for (let v = 0; v < V; v++) row[v] = counts ? (scale * Math.exp((a.student[m * V + v] - max) / t)) / sum : 0;
    if (counts) for (const id of a.ids.subarray(m * S, (m + 1) * S)) if (id >= 0 && id < V) row[id] -= scale / S;
    for (let v = 0; v < V; v++) a.gradient[m * V + v] = (accumulate ? a.gradient[m * V + v] : 0) + row[v];
  }
}

/**
 * Draws S tokens of each row from softmax(y / t): the token at which the cumulative probability passes each uniform number.
 *
 * @param a.teacher    [M, V]
 * @param a.uniforms   [M, S], each in [0, 1), ascending in a row
 * @param a.ids        [M, S], overwritten
 * @param a.entropy    [M], overwritten: H(p) in nats
 * @param a.targetLoss [M], overwritten: -log softmax(y)[target], 0 where the target is -100
 */
export function sampleTokens(
  a: Record<"teacher" | "uniforms" | "entropy" | "targetLoss", Float32Array> & Record<"targets" | "ids", Int32Array>,
  { rows, classes: V, samples: S, temperature: t }: Pick<SampledSizes, "rows" | "classes" | "samples" | "temperature">,
): void {
  for (let m = 0; m < rows; m++) {
    const y = a.teacher.subarray(m * V, (m + 1) * V);
    const [max, sum] = stats(y, t);
    let below = 0;
    let cumulative = 0;
    let last = 0;
    let drawn = 0;
    for (let v = 0; v < V; v++) {
      const e = Math.exp((y[v] - max) / t);
      if (e === 0) continue;
      below += (e * (max - y[v])) / t;
      cumulative += e;
      last = v;
      while (drawn < S && cumulative > a.uniforms[m * S + drawn] * sum) a.ids[m * S + drawn++] = v;
    }
    // The sum and the cumulative sum may differ in their last bit.
    while (drawn < S) a.ids[m * S + drawn++] = last;
    a.entropy[m] = Math.log(sum) + below / sum;
    a.targetLoss[m] = targetLossOf(y, a.targets[m]);
  }
}
