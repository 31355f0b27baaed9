/**
 * Log-likelihood of continuations, as lm-evaluation-harness computes it: the text is encoded whole and split where the
 * context's own encoding ends. Requests of one item share their beginning: it runs once, is forked, and the rest of each
 * runs beside those of other items in one pass over the weights.
 */
import type { Engine, Sequence, Work } from "../infer/engine.ts";
import { DataError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { rstrip } from "./python.ts";
import { type RollingWindow, rollingWindows } from "./rolling-windows.ts";

export interface LikelihoodRequest {
  context: string;
  continuation: string;
}

/** Requests that share most of their context: one item's choices. */
export interface LikelihoodGroup {
  /** For errors: where the item stands. */
  where: string;
  requests: readonly LikelihoodRequest[];
}

export interface Likelihood {
  /** Sum of ln p over the continuation's tokens, in nats. */
  logProbability: number;
  /** Each token of the continuation is the likeliest at its place. */
  greedy: boolean;
  /** Of the continuation. */
  tokens: number;
  /** It did not fit: the context lost its beginning, or the continuation was scored window by window. */
  truncated: boolean;
}

export interface LikelihoodOptions {
  /** Items at once: memory and speed; the result only in the last bits. */
  batch: number;
  /** Put before every context; null: nothing. */
  startToken: number | null;
  signal?: AbortSignal;
  onProgress?: (progress: LikelihoodProgress) => void;
}

export interface LikelihoodProgress {
  items: number;
  totalItems: number;
  /** Run through the model so far. */
  tokens: number;
}

type TextEncoder = Pick<Tokenizer, "encode" | "vocabSize"> & Partial<Pick<Tokenizer, "bos" | "endOfText">>;

/** A request's tokens, or a window's of one: what goes in, and how many of its last places predict the continuation. */
interface Encoded {
  /** Of the group. */
  request: number;
  input: number[];
  targets: number[];
  truncated: boolean;
}

/**
 * The harness's `_encode_pair`: white space at the end of the context moves to the continuation, both are encoded as one
 * text, and the continuation is what lies past the length of the context's own encoding.
 */
export function encodePair(
  tokenizer: Pick<Tokenizer, "encode">,
  context: string,
  continuation: string,
): [number[], number[]] {
  const kept = rstrip(context);
  const moved = context.slice(kept.length) + continuation;
  const whole = Array.from(tokenizer.encode(kept + moved, { parseSpecialTokens: false }));
  const split = kept === "" ? 0 : tokenizer.encode(kept, { parseSpecialTokens: false }).length;
  return [whole.slice(0, split), whole.slice(split)];
}

/**
 * One piece; or, of a continuation that is longer than the context, rolling windows, each full but the first, which begins
 * with the last token before the continuation. (The harness gives up there.)
 */
function encodeRequest(
  tokenizer: TextEncoder,
  { context, continuation }: LikelihoodRequest,
  request: number,
  where: string,
  startToken: number | null,
  contextLength: number,
): Encoded[] {
  const [before, targets] = encodePair(tokenizer, context, continuation);
  if (targets.length === 0)
    throw new DataError(
      `${where}: the continuation ${JSON.stringify(continuation.slice(0, 60))} has no tokens of its own`,
    );
  const tokens = startToken === null ? before : [startToken, ...before];
  // An empty context is one token, begin-of-text or else end-of-text, as in the harness.
  const first = tokenizer.bos ?? tokenizer.endOfText;
  if (tokens.length === 0 && first != null) {
    if (targets[0] !== first) tokens.push(first);
    else if (targets.length > 1) tokens.push(targets.shift()!);
  }
  if (tokens.length === 0) throw new DataError(`${where}: the context is empty and there is no token to start from`);
  if (targets.length > contextLength)
    return Array.from(rollingWindows(targets, tokens[tokens.length - 1], contextLength), (window) => ({
      ...{ request, ...window },
      truncated: true,
    }));
  const all = [...tokens, ...targets];
  // The last token is predicted, never read; what does not fit is cut at the left, the start token first, as in the harness.
  const from = Math.max(0, all.length - 1 - contextLength);
  return [{ request, input: all.slice(from, -1), targets, truncated: from > 0 }];
}

/**
 * Likelihoods of all requests, in the order of the groups.
 *
 * @throws DataError for a continuation without tokens, a tokenizer that does not fit the model, or logits that are not
 *   finite; the signal's reason
 */
export async function scoreLikelihoods(
  engine: Engine,
  tokenizer: TextEncoder,
  groups: readonly LikelihoodGroup[],
  options: LikelihoodOptions,
): Promise<Likelihood[][]> {
  const { batch, startToken, signal, onProgress } = options;
  if (tokenizer.vocabSize > engine.vocabSize)
    throw new DataError(
      `the tokenizer has ${tokenizer.vocabSize} tokens, the model ${engine.vocabSize}; use the tokenizer that the model was trained with`,
    );
  const encoded = groups.map(({ where, requests }) =>
    requests.flatMap((request, i) => encodeRequest(tokenizer, request, i, where, startToken, engine.contextLength)),
  );
  // The longest first: what does not fit the memory fails at once, items of a batch are alike, and the time left is no
  // surprise.
  const longest = encoded.map((requests) => Math.max(...requests.map(({ input }) => input.length)));
  const order = encoded.map((_, i) => i).sort((a, b) => longest[b] - longest[a] || a - b);
  const results: Likelihood[][] = new Array(groups.length);
  let tokens = 0;
  for (let at = 0; at < order.length; at += batch) {
    signal?.throwIfAborted();
    const some = order.slice(at, at + batch);
    const scored = await scoreBatchOfItems(
      engine,
      some.map((i) => encoded[i]),
    );
    for (const [k, i] of some.entries()) {
      results[i] = join(encoded[i], scored.likelihoods[k], groups[i].requests.length);
      if (results[i].some(({ logProbability }) => !Number.isFinite(logProbability)))
        throw new DataError(
          `${groups[i].where}: the model's logits are not finite; was its training cut short by NaN?`,
        );
    }
    tokens += scored.tokens;
    onProgress?.({ items: Math.min(at + batch, order.length), totalItems: order.length, tokens });
    // Lets a signal or a timer in between batches.
    await nextTurn();
  }
  return results;
}

/** Nats of all the windows' targets. @throws DataError for logits that are not finite */
export async function scoreWindowsByEngine(engine: Engine, windows: readonly RollingWindow[]): Promise<number> {
  await nextTurn();
  const items = windows.map((window): Encoded[] => [{ request: 0, ...window, truncated: false }]);
  const { likelihoods } = await scoreBatchOfItems(engine, items);
  const nats = likelihoods.reduce((sum, [{ logProbability }]) => sum - logProbability, 0);
  if (!Number.isFinite(nats))
    throw new DataError("the model's logits are not finite; was its training cut short by NaN?");
  return nats;
}

/** Windows of one request as one. */
function join(pieces: readonly Encoded[], scored: readonly Likelihood[], requests: number): Likelihood[] {
  const whole = Array.from(
    { length: requests },
    (): Likelihood => ({ logProbability: 0, greedy: true, tokens: 0, truncated: false }),
  );
  for (const [i, { request }] of pieces.entries()) {
    const into = whole[request];
    into.logProbability += scored[i].logProbability;
    into.greedy &&= scored[i].greedy;
    into.tokens += scored[i].tokens;
    into.truncated ||= scored[i].truncated;
  }
  return whole;
}

/** A part of an item that runs by itself: requests with the same input are one. */
interface Branch {
  item: number;
  sequence: Sequence;
  input: readonly number[];
  /** Places of `input` that predict something: from here to the end. */
  from: number;
  requests: number[];
}

async function scoreBatchOfItems(
  engine: Engine,
  items: readonly (readonly Encoded[])[],
): Promise<{ likelihoods: Likelihood[][]; tokens: number }> {
  const open: Sequence[] = [];
  let tokens = 0;
  const create = (sequence: Sequence) => {
    open.push(sequence);
    return sequence;
  };
  const forward = async (work: readonly Work[]) => {
    const some = work.filter((part) => part.tokens.length > 0);
    for (const part of some) tokens += part.tokens.length;
    return some.length > 0 ? engine.forward(some) : [];
  };
  try {
    // 1. What all requests of an item begin with, up to the first place that predicts.
    const trunks = items.map((requests) => {
      const firstPrediction = Math.min(...requests.map(({ input, targets }) => input.length - targets.length));
      const shared = Math.min(firstPrediction, commonLength(requests.map(({ input }) => input)));
      return { sequence: create(engine.createSequence()), tokens: requests[0].input.slice(0, shared) };
    });
    await forward(trunks.map((trunk) => ({ ...trunk, logits: "none" }) as const));

    // 2. A branch for each different rest, moved to its first place that predicts.
    const branches: Branch[] = [];
    for (const [item, requests] of items.entries()) {
      const byInput = new Map<string, Branch>();
      const trunk = trunks[item];
      for (const [r, { input, targets }] of requests.entries()) {
        const key = input.slice(trunk.tokens.length).join(" ");
        const from = input.length - targets.length;
        const known = byInput.get(key);
        if (known) {
          known.requests.push(r);
          known.from = Math.min(known.from, from);
          continue;
        }
        const branch = { item, sequence: trunk.sequence, input, from, requests: [r] };
        byInput.set(key, branch);
        branches.push(branch);
      }
      // The trunk itself is the last branch; the others are copies.
      const own = [...byInput.values()];
      for (const branch of own.slice(0, -1)) branch.sequence = create(trunk.sequence.fork());
    }
    await forward(
      branches.map(({ item, sequence, input, from }) => ({
        sequence,
        tokens: input.slice(trunks[item].tokens.length, from),
        logits: "none",
      })),
    );

    // 3. The places that predict.
    const logits = await forward(
      branches.map(({ sequence, input, from }) => ({ sequence, tokens: input.slice(from), logits: "all" })),
    );
    const likelihoods = items.map((requests) => new Array<Likelihood>(requests.length));
    for (const [b, { item, input, from, requests }] of branches.entries())
      for (const r of requests) {
        const { targets, truncated } = items[item][r];
        const firstRow = input.length - targets.length - from;
        likelihoods[item][r] = { ...readLikelihood(logits[b], firstRow, targets, engine.vocabSize), truncated };
      }
    return { likelihoods, tokens };
  } finally {
    for (const sequence of open) sequence.dispose();
  }
}

function commonLength(inputs: readonly (readonly number[])[]): number {
  const [first, ...rest] = inputs;
  let length = Math.min(...inputs.map((input) => input.length));
  for (const other of rest) {
    let same = 0;
    while (same < length && other[same] === first[same]) same++;
    length = same;
  }
  return length;
}

/** Sums ln softmax(row)[target] over rows, in float64. The likeliest is the first of equals, as torch.argmax. */
function readLikelihood(logits: Float32Array, firstRow: number, targets: readonly number[], V: number) {
  let logProbability = 0;
  let greedy = true;
  for (const [t, target] of targets.entries()) {
    const row = logits.subarray((firstRow + t) * V, (firstRow + t + 1) * V);
    let best = 0;
    for (let v = 1; v < V; v++) if (row[v] > row[best]) best = v;
    let sum = 0;
    for (let v = 0; v < V; v++) sum += Math.exp(row[v] - row[best]);
    logProbability += row[target] - row[best] - Math.log(sum);
    greedy &&= best === target;
  }
  return { logProbability, greedy, tokens: targets.length };
}
