/**
 * The transformer once more, in float64 and in the plainest loops, one token row at a time: what rounding can change is
 * told by it. Shares no code with src/ops. For each token it also tells how near any activation, times 127 / max|x|, came to
 * a half: there float32 may round either way, and one code more or less is one step in everything after it.
 */
import { hasSubNorms, type ModelConfig, type Transformer } from "../../../src/model/index.ts";

export interface Exact {
  /** [T, V] */
  logits: Float64Array;
  /** Of each token: the least distance to a half, of its own activations in all layers. Infinity without quantisation. */
  margins: number[];
  /** [T, V]: max|n| · sum over c of |E[v, c]|, n being the row that the head multiplies: what an error of n is measured by. */
  sizes: Float64Array;
}

interface Matrix {
  rows: number;
  width: number;
  values: Float32Array | Int8Array;
  /** gamma, of a ternary one. */
  scale: number | null;
}

export type Weights = Map<string, Matrix>;

/** A model's weights on the host: ternary ones as they multiply. */
export async function weightsOf(model: Transformer): Promise<Weights> {
  const { runtime } = model;
  const weights: Weights = new Map();
  for (const { name, shape, tensor } of model.parameters)
    weights.set(name, { rows: shape[0], width: shape.at(-1)!, values: await runtime.readFloats(tensor), scale: null });
  for (const layer of model.ternaryLayers) {
    const { codes, scale } = layer.quantized(runtime);
    const values = Int8Array.from(await runtime.read(codes), (code) => code - 1);
    const matrix = weights.get(layer.weight.name)!;
    weights.set(layer.weight.name, { ...matrix, values, scale: (await runtime.readFloats(scale))[0] });
  }
  return weights;
}

export function exactForward(config: ModelConfig, weights: Weights, tokens: ArrayLike<number>): Exact {
  const { width: C, heads: H, kvHeads: G, layers, vocabSize: V, ropeBase, normEps, activation, variant } = config;
  const subNorms = hasSubNorms(config);
  const D = C / H;
  const T = tokens.length;
  const margins = new Array<number>(T).fill(Number.POSITIVE_INFINITY);
  const get = (name: string) => weights.get(name)!;
  const rowOf = ({ values, width }: Matrix, row: number) =>
    Array.from(values.subarray(row * width, (row + 1) * width) as ArrayLike<number>);

  const norm = (x: number[], gain: string) => {
    const { values } = get(gain);
    const inverse = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + normEps);
    return x.map((v, i) => values[i] * v * inverse);
  };
  const linear = (x: number[], names: string[], t: number) => {
    let [input, factor] = [x, 1];
    if (variant === "bitnet") {
      const largest = Math.max(Math.fround(1e-5), ...x.map(Math.abs));
      factor = largest / 127;
      input = x.map((v) => {
        const scaled = (v * 127) / largest;
        const floor = Math.floor(scaled);
        margins[t] = Math.min(margins[t], Math.abs(scaled - floor - 0.5));
        return scaled - floor > 0.5 ? floor + 1 : floor;
      });
    }
    return names.map((name) => {
      const { rows, width, values, scale } = get(name);
      return Array.from({ length: rows }, (_, n) => {
        let sum = 0;
        for (let k = 0; k < width; k++) sum += input[k] * values[n * width + k];
        return sum * (scale === null ? 1 : factor * scale);
      });
    });
  };
  const rotate = (x: number[], t: number) =>
    x.map((v, i) => {
      const [head, d] = [i - (i % D), i % D];
      const angle = t * ropeBase ** ((-2 * (d % (D / 2))) / D);
      const other = d < D / 2 ? -x[head + d + D / 2] : x[head + d - D / 2];
      return v * Math.cos(angle) + other * Math.sin(angle);
    });

  let rows = Array.from({ length: T }, (_, t) => rowOf(get("model.embed_tokens.weight"), tokens[t]));
  for (let layer = 0; layer < layers; layer++) {
    const name = `model.layers.${layer}`;
    const attention = `${name}.self_attn`;
    const projected = rows.map((x, t) => {
      const input = norm(x, `${name}.input_layernorm.weight`);
      const [q, k, v] = linear(
        input,
        [`${attention}.q_proj.weight`, `${attention}.k_proj.weight`, `${attention}.v_proj.weight`],
        t,
      );
      return { q: rotate(q, t), k: rotate(k, t), v };
    });
    rows = rows.map((x, t) => {
      let mixed: number[] = [];
      for (let h = 0; h < H; h++) {
        const kv = Math.floor(h / (H / G)) * D;
        const scores = Array.from({ length: t + 1 }, (_, j) => {
          let sum = 0;
          for (let d = 0; d < D; d++) sum += projected[t].q[h * D + d] * projected[j].k[kv + d];
          return sum / Math.sqrt(D);
        });
        const most = Math.max(...scores);
        const powers = scores.map((s) => Math.exp(s - most));
        const total = powers.reduce((a, b) => a + b, 0);
        for (let d = 0; d < D; d++)
          mixed.push(powers.reduce((sum, p, j) => sum + (p / total) * projected[j].v[kv + d], 0));
      }
      if (subNorms) mixed = norm(mixed, `${attention}.attn_sub_norm.weight`);
      const [y] = linear(mixed, [`${attention}.o_proj.weight`], t);
      const middle = x.map((v, c) => v + y[c]);
      const input = norm(middle, `${name}.post_attention_layernorm.weight`);
      const [gate, up] = linear(input, [`${name}.mlp.gate_proj.weight`, `${name}.mlp.up_proj.weight`], t);
      let hidden = gate.map((g, i) => (activation === "silu" ? g / (1 + Math.exp(-g)) : Math.max(g, 0) ** 2) * up[i]);
      if (subNorms) hidden = norm(hidden, `${name}.mlp.ffn_sub_norm.weight`);
      const [down] = linear(hidden, [`${name}.mlp.down_proj.weight`], t);
      return middle.map((v, c) => v + down[c]);
    });
  }
  const head = get(config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");
  const logits = new Float64Array(T * V);
  const sizes = new Float64Array(T * V);
  for (const [t, x] of rows.entries()) {
    const n = norm(x, "model.norm.weight");
    const most = Math.max(...n.map(Math.abs));
    for (let v = 0; v < V; v++)
      for (let c = 0; c < C; c++) {
        logits[t * V + v] += n[c] * head.values[v * C + c];
        sizes[t * V + v] += most * Math.abs(head.values[v * C + c]);
      }
  }
  return { logits, margins, sizes };
}
