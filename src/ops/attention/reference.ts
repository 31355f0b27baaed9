/**
 * Causal attention with grouped key/value heads (Ainslie et al., arXiv:2305.13245):
 *
 *   score[t, j] = q[t] · k[j] / sqrt(D);   y[t] = sum over j of softmax(score[t])[j] · v[j]
 *
 * Query t stands at position start + t and sees keys first..start + t, where first is 0, or documentStart[t] (at most
 * start + t, so that a query always sees its own key). Query head h reads key/value head floor(h / (H / G)).
 *
 * The slow definition, forward and backward. kernel.cc must agree with it on cases.ts. NaN or Infinity among a query's
 * scores gives NaN.
 */

export interface AttentionSizes {
  batch: number;
  /** T, of q. */
  tokens: number;
  /** S, of k and v; at least start + T. Keys past start + T are not read. */
  keys: number;
  heads: number;
  kvHeads: number;
  headWidth: number;
  start: number;
}

/** Calls `visit` for every query row: offsets of its q, of key 0 of its head, and the keys that it sees. */
function eachRow(
  s: AttentionSizes,
  documentStart: Int32Array | null,
  visit: (row: { q: number; k: number; lse: number; first: number; last: number }) => void,
): void {
  const group = s.heads / s.kvHeads;
  for (let b = 0; b < s.batch; b++) {
    for (let h = 0; h < s.heads; h++) {
      const k = (b * s.keys * s.kvHeads + Math.floor(h / group)) * s.headWidth;
      for (let t = 0; t < s.tokens; t++) {
        const last = s.start + t;
        const first = documentStart ? Math.min(Math.max(documentStart[b * s.tokens + t], 0), last) : 0;
        const q = ((b * s.tokens + t) * s.heads + h) * s.headWidth;
        visit({ q, k, lse: (b * s.heads + h) * s.tokens + t, first, last });
      }
    }
  }
}

function dot(a: Float32Array, i: number, b: Float32Array, j: number, n: number): number {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += a[i + d] * b[j + d];
  return sum;
}

/**
 * @param a.q             [B, T, H·D]
 * @param a.k             [B, S, G·D]; a.v the same
 * @param a.documentStart [B, T] or null
 * @param a.y             [B, T, H·D], overwritten
 * @param a.logsumexp     [B, H, T], overwritten with log(sum over j of e^score[t, j]): backward wants it
 */
export function attentionForward(
  a: {
    q: Float32Array;
    k: Float32Array;
    v: Float32Array;
    documentStart: Int32Array | null;
    y: Float32Array;
    logsumexp: Float32Array;
  },
  s: AttentionSizes,
): void {
  const { headWidth: D } = s;
  const stride = s.kvHeads * D;
  const scores = new Float64Array(s.keys);
  const sums = new Float64Array(D);
  eachRow(s, a.documentStart, ({ q, k, lse, first, last }) => {
    let max = Number.NEGATIVE_INFINITY;
    for (let j = first; j <= last; j++) {
      scores[j] = dot(a.q, q, a.k, k + j * stride, D) / Math.sqrt(D);
      max = Math.max(max, scores[j]);
    }
    let total = 0;
    sums.fill(0);
    for (let j = first; j <= last; j++) {
      const p = Math.exp(scores[j] - max);
      total += p;
      for (let d = 0; d < D; d++) sums[d] += p * a.v[k + j * stride + d];
    }
    a.logsumexp[lse] = max + Math.log(total);
    for (let d = 0; d < D; d++) a.y[q + d] = sums[d] / total;
  });
}

/** 1 where the gradient is added to what is there, 0 where it overwrites. */
export interface AttentionAdds {
  addQ: number;
  addK: number;
  addV: number;
}

/**
 * With p = e^(score - logsumexp) and delta[t] = dy[t] · y[t]:
 *
 *   ds[t, j] = p[t, j] · (dy[t] · v[j] - delta[t]) / sqrt(D)
 *   dq[t] = sum over j of ds · k[j];  dk[j] = sum over h of the group, t of ds · q[t];  dv[j] = sum of p · dy[t]
 *
 * @param a.dq like q; a.dk and a.dv like k. Each null where not wanted.
 */
export function attentionBackward(
  a: {
    q: Float32Array;
    k: Float32Array;
    v: Float32Array;
    documentStart: Int32Array | null;
    y: Float32Array;
    logsumexp: Float32Array;
    dy: Float32Array;
    dq: Float32Array | null;
    dk: Float32Array | null;
    dv: Float32Array | null;
  },
  s: AttentionSizes,
  adds: AttentionAdds,
): void {
  const { headWidth: D } = s;
  const stride = s.kvHeads * D;
  const dq = new Float64Array(a.q.length);
  const dk = new Float64Array(a.k.length);
  const dv = new Float64Array(a.v.length);
  eachRow(s, a.documentStart, ({ q, k, lse, first, last }) => {
    const delta = dot(a.dy, q, a.y, q, D);
    for (let j = first; j <= last; j++) {
      const at = k + j * stride;
      const p = Math.exp(dot(a.q, q, a.k, at, D) / Math.sqrt(D) - a.logsumexp[lse]);
      const ds = (p * (dot(a.dy, q, a.v, at, D) - delta)) / Math.sqrt(D);
      for (let d = 0; d < D; d++) {
        dq[q + d] += ds * a.k[at + d];
        dk[at + d] += ds * a.q[q + d];
        dv[at + d] += p * a.dy[q + d];
      }
    }
  });
  put(a.dq, dq, adds.addQ);
  put(a.dk, dk, adds.addK);
  put(a.dv, dv, adds.addV);
}

function put(target: Float32Array | null, values: Float64Array, add: number): void {
  if (!target) return;
  for (let i = 0; i < values.length; i++) target[i] = add ? target[i] + values[i] : values[i];
}
