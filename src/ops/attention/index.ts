/**
 * Causal grouped-query attention as an op: contract, kernels and gradient. The definition is in reference.ts.
 *
 * No T x S matrix is kept: backward computes the scores again from q, k and one number a row (Dao, arXiv:2307.08691).
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import type { BackwardContext, GradTarget, Op } from "../op.ts";
import { bf16Flag } from "../precision.ts";
import { type AttentionSizes, attentionBackward, attentionForward } from "./reference.ts";

export interface AttentionParams {
  heads: number;
  kvHeads: number;
  /** Position of the first query: query t sees keys 0..start + t. */
  start: number;
}

/** The kernels' tiles have room for no wider a head. */
const maxHeadWidth = 4096;

const sizeNames = ["batch", "tokens", "keys", "heads", "kvHeads", "headWidth", "start"] as const;

/** documentStart may be null. */
const forward = defineKernel({
  name: "attention_forward",
  buffers: { q: "f32", k: "f32", v: "f32", documentStart: "i32", y: "f32", logsumexp: "f32" },
  params: sizeNames,
  sizes: {
    q: ["batch", "tokens", "heads", "headWidth"],
    y: ["batch", "tokens", "heads", "headWidth"],
    k: ["batch", "keys", "kvHeads", "headWidth"],
    v: ["batch", "keys", "kvHeads", "headWidth"],
    documentStart: ["batch", "tokens"],
    logsumexp: ["batch", "tokens", "heads"],
  },
  reference: (a, p) => attentionForward(a, p),
});

/** The same for few queries and many keys: threads share the keys out, and `partial` holds what each share gives. */
const decode = defineKernel({
  name: "attention_decode",
  buffers: { q: "f32", k: "f32", v: "f32", documentStart: "i32", y: "f32", logsumexp: "f32", partial: "f32" },
  params: [...sizeNames, "chunks"],
  sizes: {
    q: ["batch", "tokens", "heads", "headWidth"],
    y: ["batch", "tokens", "heads", "headWidth"],
    k: ["batch", "keys", "kvHeads", "headWidth"],
    v: ["batch", "keys", "kvHeads", "headWidth"],
    documentStart: ["batch", "tokens"],
    logsumexp: ["batch", "tokens", "heads"],
  },
  reference: (a, p) => attentionForward(a, p),
});
/** As kDecodeKeys and kDecodeRows in kernel.cc: keys of one share, and the most query rows of one key/value head. */
const decodeKeys = 256;
const decodeRows = 16;

/**
 * documentStart, dq, dk and dv may be null; `delta` is scratch. bf16 = 1: all products but the scores take
 * bfloat16 operands. Forward is float32 always, so that training computes what inference does.
 */
const backward = defineKernel({
  name: "attention_backward",
  buffers: {
    q: "f32",
    k: "f32",
    v: "f32",
    documentStart: "i32",
    y: "f32",
    logsumexp: "f32",
    dy: "f32",
    delta: "f32",
    dq: "f32",
    dk: "f32",
    dv: "f32",
  },
  params: [...sizeNames, "bf16", "addQ", "addK", "addV"],
  sizes: {
    q: ["batch", "tokens", "heads", "headWidth"],
    y: ["batch", "tokens", "heads", "headWidth"],
    k: ["batch", "keys", "kvHeads", "headWidth"],
    v: ["batch", "keys", "kvHeads", "headWidth"],
    documentStart: ["batch", "tokens"],
    logsumexp: ["batch", "tokens", "heads"],
    dy: ["batch", "tokens", "heads", "headWidth"],
    dq: ["batch", "tokens", "heads", "headWidth"],
    dk: ["batch", "keys", "kvHeads", "headWidth"],
    dv: ["batch", "keys", "kvHeads", "headWidth"],
    delta: ["batch", "tokens", "heads"],
  },
  reference: (a, p) => attentionBackward(a, p, p),
});

function sizesOf(q: NDArray, k: NDArray, { heads, kvHeads, start }: AttentionParams): AttentionSizes {
  const [batch, tokens, width] = q.shape;
  return { batch, tokens, keys: k.shape[1], heads, kvHeads, headWidth: width / heads, start };
}

function check(inputs: readonly NDArray[], { heads, kvHeads, start }: AttentionParams): void {
  const [q, k, v, documentStart] = inputs;
  const [batch, tokens, width] = q.shape;
  const headWidth = width / heads;
  const was = `q is [${q.shape}], k is [${k.shape}], v is [${v.shape}]`;
  if (!Number.isInteger(heads / kvHeads) || !(kvHeads >= 1) || !Number.isInteger(headWidth) || q.shape.length !== 3)
    throw new ShapeError(
      `attention: ${was}, heads ${heads}, kvHeads ${kvHeads}; expected q [B, T, heads * D] and heads a multiple of kvHeads`,
    );
  if (!(batch >= 1 && tokens >= 1)) throw new ShapeError(`attention: ${was}; expected at least one token`);
  if (headWidth > maxHeadWidth)
    throw new ShapeError(`attention: ${was}, heads ${heads}; a head may be ${maxHeadWidth} wide, not ${headWidth}`);
  const [kBatch, keys, kWidth] = k.shape;
  if (k.shape.length !== 3 || kBatch !== batch || kWidth !== kvHeads * headWidth || v.shape.join() !== k.shape.join())
    throw new ShapeError(`attention: ${was}; expected k and v [${batch}, S, ${kvHeads * headWidth}]`);
  if (!Number.isInteger(start) || start < 0 || start + tokens > keys)
    throw new ShapeError(
      `attention: ${tokens} queries from position ${start} need ${start + tokens} keys, but k has ${keys}`,
    );
  if (documentStart && (documentStart.dtype !== "i32" || documentStart.shape.join() !== `${batch},${tokens}`))
    throw new ShapeError(
      `attention: documentStart is ${documentStart.dtype} [${documentStart.shape}]; expected i32 [${batch},${tokens}]`,
    );
}

/**
 * inputs: q [B, T, H·D], k and v [B, S, G·D], and optionally documentStart [B, T] i32, the first key that each query may
 * see (masks attention across packed documents; below 0 counts as 0, beyond the query's own key as that key).
 * output: y [B, T, H·D].
 */
export const attention: Op<AttentionParams> = {
  name: "attention",
  forward(cx, inputs, params) {
    check(inputs, params);
    const [q, k, v] = inputs;
    const documentStart = inputs[3] ?? null;
    const sizes = sizesOf(q, k, params);
    const { batch, tokens, heads, kvHeads, headWidth, start } = sizes;
    const y = cx.create(q.shape, "f32");
    const logsumexp = cx.create([batch, heads, tokens], "f32");
    const arrays = { q, k, v, documentStart, y, logsumexp };
    if ((tokens * heads) / kvHeads <= decodeRows) {
      const chunks = Math.ceil((start + tokens) / decodeKeys);
      const partial = cx.create([batch, heads, tokens, chunks, headWidth + 2], "f32");
      cx.backend.launch(decode, { ...arrays, partial }, { ...sizes, chunks });
    } else {
      cx.backend.launch(forward, arrays, sizes);
    }
    const saved = [q, k, v, y, logsumexp];
    if (documentStart) saved.push(documentStart);
    return { outputs: [y], saved };
  },
  backward(cx, saved, [dy], params) {
    if (!dy) return;
    const [q, k, v] = saved;
    // Inputs on one memory may be one tensor, whose gradient must be filled before it is asked for again.
    if (q.buffer !== k.buffer && q.buffer !== v.buffer && k.buffer !== v.buffer) {
      launchBackward(cx, saved, dy, params, [cx.gradient(0), cx.gradient(1), cx.gradient(2)]);
      return;
    }
    for (const i of [0, 1, 2]) {
      const wanted: (GradTarget | null)[] = [null, null, null];
      wanted[i] = cx.gradient(i);
      launchBackward(cx, saved, dy, params, wanted);
    }
  },
};

function launchBackward(
  cx: BackwardContext,
  saved: readonly NDArray[],
  dy: NDArray,
  params: AttentionParams,
  [dq, dk, dv]: (GradTarget | null)[],
): void {
  if (!dq && !dk && !dv) return;
  const [q, k, v, y, logsumexp] = saved;
  const delta = cx.create(logsumexp.shape, "f32");
  cx.backend.launch(
    backward,
    {
      q,
      k,
      v,
      documentStart: saved[5] ?? null,
      y,
      logsumexp,
      dy,
      delta,
      dq: dq?.array ?? null,
      dk: dk?.array ?? null,
      dv: dv?.array ?? null,
    },
    {
      ...sizesOf(q, k, params),
      bf16: bf16Flag(cx, "attention"),
      addQ: dq?.accumulate ?? 0,
      addK: dk?.accumulate ?? 0,
      addV: dv?.accumulate ?? 0,
    },
  );
}
