/**
 * Relations between positions, as a distillation loss (MiniLMv2, arXiv:2012.15828; BitDistill, arXiv:2510.13998): the slow
 * definition, forward and backward. kernel.cc must agree with it on cases.ts.
 *
 * x [B, T, W] is cut into R parts of W / R values, each scaled to length 1: u[b, t, r]. With P[t, j] = softmax over all j of
 * u[t] · u[j] (temperature 1, no causal mask), of the teacher, and Q of the student,
 *
 *   loss = 1 / (N R) · sum over counted t and r of KL(P[t] || Q[t])
 *
 * N is the number of counted positions of the batch, so the loss is per token. Widths may differ; R divides both. A part of
 * length 0 stays 0 (lengths below 1e-12 count as 1e-12, as PyTorch's F.normalize has it).
 */
const ignored = -100;
const shortest = 1e-12;

export interface RelationSizes {
  batch: number;
  length: number;
  /** R */
  parts: number;
  /** W of the student and of the teacher. */
  width: number;
  teacherWidth: number;
}

/** u and the lengths of one part of one sequence: [T, D]. */
function unit(x: Float32Array, at: { b: number; r: number; T: number; W: number; D: number }) {
  const { b, r, T, W, D } = at;
  const u = new Float64Array(T * D);
  const lengths = new Float64Array(T);
  for (let t = 0; t < T; t++) {
    const from = (b * T + t) * W + r * D;
    let square = 0;
    for (let d = 0; d < D; d++) square += x[from + d] ** 2;
    lengths[t] = Math.max(Math.sqrt(square), shortest);
    for (let d = 0; d < D; d++) u[t * D + d] = x[from + d] / lengths[t];
  }
  return { u, lengths, D };
}

/** log softmax of u[t] · u[j] over j. */
function logRelations({ u, D }: ReturnType<typeof unit>, t: number, T: number): Float64Array {
  const scores = new Float64Array(T);
  for (let j = 0; j < T; j++) for (let d = 0; d < D; d++) scores[j] += u[t * D + d] * u[j * D + d];
  const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
  return scores.map((score) => score - Math.log(total));
}

const countOf = (targets: Int32Array) => targets.reduce((n, target) => n + (target === ignored ? 0 : 1), 0);

/**
 * @param a.student [B, T, W]; a.teacher [B, T, W'] ; a.targets [B, T], of which only whether one is -100 matters
 * @param a.partial [B, R], overwritten: sums over counted positions
 * @param a.loss    [1], overwritten; summed in float64
 */
export function relationForward(
  a: Record<"student" | "teacher" | "partial" | "loss", Float32Array> & { targets: Int32Array },
  { batch, length: T, parts: R, width: W, teacherWidth }: RelationSizes,
): void {
  let total = 0;
  for (let b = 0; b < batch; b++)
    for (let r = 0; r < R; r++) {
      const student = unit(a.student, { b, r, T, W, D: W / R });
      const teacher = unit(a.teacher, { b, r, T, W: teacherWidth, D: teacherWidth / R });
      let sum = 0;
      for (let t = 0; t < T; t++) {
        if (a.targets[b * T + t] === ignored) continue;
        const [q, p] = [logRelations(student, t, T), logRelations(teacher, t, T)];
        for (let j = 0; j < T; j++) sum += Math.exp(p[j]) * (p[j] - q[j]);
      }
      a.partial[b * R + r] = sum;
      total += a.partial[b * R + r];
    }
  a.loss[0] = total / (countOf(a.targets) * R);
}

/**
 * With c = dloss / (N R) and E[t, j] = c (Q[t, j] - P[t, j]) for counted t, else 0:
 *
 *   du[t] = sum over j of (E[t, j] + E[j, t]) u[j];   dx[t] = (du[t] - u[t] (u[t] · du[t])) / |x[t]|
 *
 * @param a.dstudent [B, T, W], overwritten, or added to with `accumulate`
 */
export function relationBackward(
  a: Record<"student" | "teacher" | "dloss" | "dstudent", Float32Array> & { targets: Int32Array },
  { batch, length: T, parts: R, width: W, teacherWidth }: RelationSizes,
  accumulate: number,
): void {
  const c = a.dloss[0] / (countOf(a.targets) * R);
  for (let b = 0; b < batch; b++)
    for (let r = 0; r < R; r++) {
      const D = W / R;
      const student = unit(a.student, { b, r, T, W, D });
      const teacher = unit(a.teacher, { b, r, T, W: teacherWidth, D: teacherWidth / R });
      const du = new Float64Array(T * D);
      for (let t = 0; t < T; t++) {
        if (a.targets[b * T + t] === ignored) continue;
        const [q, p] = [logRelations(student, t, T), logRelations(teacher, t, T)];
        for (let j = 0; j < T; j++) {
          const e = c * (Math.exp(q[j]) - Math.exp(p[j]));
          for (let d = 0; d < D; d++) {
            du[t * D + d] += e * student.u[j * D + d];
            du[j * D + d] += e * student.u[t * D + d];
          }
        }
      }
      for (let t = 0; t < T; t++) {
        let along = 0;
        for (let d = 0; d < D; d++) along += student.u[t * D + d] * du[t * D + d];
        for (let d = 0; d < D; d++) {
          const i = (b * T + t) * W + r * D + d;
          const gradient = (du[t * D + d] - student.u[t * D + d] * along) / student.lengths[t];
          a.dstudent[i] = accumulate ? a.dstudent[i] + gradient : gradient;
        }
      }
    }
}
