/**
 * Beam search: the continuations that the model finds likeliest as a whole, several followed at once, all in one batch.
 * Deterministic. For short, closed tasks (translation, answers); open text is better drawn. Called by cli/.
 *
 *   score = Σ ln p(token) / n^lengthPenalty       n tokens, the end token included (Wu et al. 2016, eq. 14, simplified
 *                                                  as in Hugging Face's generate)
 *
 * Each step keeps the `beams` best unfinished texts. A text is finished by a stop token that is among the
 * `beams` best continuations. The search ends when `beams` texts are finished and no unfinished one can still score more (of the same
 * length; exact for lengthPenalty 0), or at maxTokens.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Engine, Sequence } from "./engine.ts";
import type { MatcherState } from "./grammar/matcher.ts";
import type { Grammar } from "./grammar/token-mask.ts";
import { largestIds, largestLogit, logSumExp } from "./samplers.ts";
import { createTextStream } from "./text-stream.ts";
import { tokenlessMask } from "./tokenless.ts";
import { promptTokens, type TextTokenizer } from "./writer.ts";

export interface BeamOptions {
  /** Texts followed at once. */
  beams: number;
  maxTokens: number;
  /** 0: the likeliest text, which is a short one; 1 (default): by mean log-probability; more: longer. */
  lengthPenalty?: number;
  stopTokens?: readonly number[];
  startToken?: number | null;
  grammar?: Grammar;
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal;
}

export interface Beam {
  /** The stop token included. */
  ids: number[];
  text: string;
  /** Σ ln p, in nats. */
  logProbability: number;
  score: number;
  /** Whether the model (or the grammar) ended it; else maxTokens or the context did. */
  finished: boolean;
}

interface Branch {
  ids: number[];
  logProbability: number;
  sequence: Sequence;
  logits: Float32Array;
  state: MatcherState | null;
}

/**
 * @returns up to `beams` texts, the best first
 * @throws UsageError for settings out of range; DataError as generate
 */
export async function beamSearch(
  engine: Engine,
  tokenizer: TextTokenizer,
  prompt: string | ArrayLike<number>,
  options: BeamOptions,
): Promise<Beam[]> {
  const { beams, maxTokens, lengthPenalty = 1, signal } = options;
  for (const [name, value] of Object.entries({ beams, maxTokens }))
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new UsageError(`beam search: ${name} is ${value}; expected a whole number from 1`);
  if (!Number.isFinite(lengthPenalty)) throw new UsageError(`beam search: lengthPenalty is ${lengthPenalty}`);
  const V = engine.vocabSize;
  if (tokenizer.vocabSize > V)
    throw new DataError(`beam search: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${V}`);
  const promptIds = promptTokens(tokenizer, prompt, options.startToken);
  const room = engine.contextLength - promptIds.length + 1;
  if (room < 1)
    throw new DataError(
      `beam search: the prompt has ${promptIds.length} tokens, the model's context ${engine.contextLength}; shorten the prompt`,
    );
  const steps = Math.min(maxTokens, room);
  const stops = new Set(options.stopTokens ?? [tokenizer.endOfText, tokenizer.eos].filter((id) => id !== null));
  // Enough of each branch that `beams` unfinished ones are left whatever stop tokens are among them.
  const width = beams + stops.size;
  const grammar = options.grammar?.over(tokenizer) ?? null;
  const forbidTokenless = tokenlessMask(tokenizer, V);
  const scoreOf = (logProbability: number, n: number) => logProbability / n ** lengthPenalty;

  const finished: Omit<Beam, "text">[] = [];
  let branches: Branch[] = [];
  const root = engine.createSequence();
  try {
    let logits = new Float32Array(0);
    for (let at = 0; at < promptIds.length; at += 512) {
      signal?.throwIfAborted();
      const tokens = promptIds.slice(at, at + 512);
      const last = at + tokens.length === promptIds.length;
      [logits] = (await engine.forward([{ sequence: root, tokens, logits: last ? "last" : "none" }])) as [
        typeof logits,
      ];
      await nextTurn();
    }
    branches = [{ ids: [], logProbability: 0, sequence: root, logits, state: grammar?.start ?? null }];
    for (let n = 1; n <= steps; n++) {
      const next: { branch: Branch; id: number; logProbability: number }[] = [];
      for (const branch of branches) {
        largestLogit(branch.logits);
        forbidTokenless(branch.logits);
        const total = logSumExp(branch.logits);
        if (grammar && branch.state) grammar.mask(branch.logits, branch.state, stops, steps - n + 1);
        for (const id of largestIds(branch.logits, Math.min(V, width))) {
          const logProbability = branch.logProbability + branch.logits[id] - total;
          if (logProbability > Number.NEGATIVE_INFINITY) next.push({ branch, id, logProbability });
        }
      }
      if (next.length === 0)
        throw new DataError("beam search: the vocabulary has no token that goes on as the grammar wants");
      // Of equals the earlier branch and the smaller id, so that the result is always the same.
      next.sort((a, b) => b.logProbability - a.logProbability);
      const kept: { branch: Branch; id: number; logProbability: number; state: MatcherState | null }[] = [];
      for (const [rank, { branch, id, logProbability }] of next.entries()) {
        const state = grammar && branch.state && !stops.has(id) ? grammar.next(branch.state, id) : null;
        if (stops.has(id) || state?.complete) {
          if (rank < beams) {
            const ids = [...branch.ids, id];
            finished.push({ ids, logProbability, score: scoreOf(logProbability, n), finished: true });
          }
        } else if (kept.length < beams) {
          kept.push({ branch, id, logProbability, state });
        }
      }
      finished.sort((a, b) => b.score - a.score).splice(beams);
      const best = kept.length > 0 ? scoreOf(kept[0].logProbability, n) : Number.NEGATIVE_INFINITY;
      const isDone = kept.length === 0 || (finished.length === beams && finished[beams - 1].score >= best);
      if (n === steps || isDone) {
        if (!isDone)
          for (const { branch, id, logProbability } of kept) {
            const ids = [...branch.ids, id];
            finished.push({ ids, logProbability, score: scoreOf(logProbability, n), finished: false });
          }
        break;
      }
      branches = await grow(engine, branches, kept);
      await nextTurn();
      signal?.throwIfAborted();
    }
  } finally {
    for (const { sequence } of branches) sequence.dispose();
    if (branches.length === 0) root.dispose();
  }
  finished.sort((a, b) => b.score - a.score).splice(beams);
  return finished.map((beam) => {
    const stream = createTextStream(tokenizer, promptIds);
    const text = beam.ids.filter((id) => !stops.has(id)).map((id) => stream.push(id));
    return { ...beam, text: text.join("") + stream.finish() };
  });
}

/** Feeds each kept token to its branch's sequence: the first child takes it over, the others take a copy. */
async function grow(
  engine: Engine,
  branches: readonly Branch[],
  kept: readonly { branch: Branch; id: number; logProbability: number; state: MatcherState | null }[],
): Promise<Branch[]> {
  const taken = new Set<Branch>();
  const forks = kept.map(({ branch }) => {
    if (!taken.has(branch)) {
      taken.add(branch);
      return branch.sequence;
    }
    return branch.sequence.fork();
  });
  for (const branch of branches) if (!taken.has(branch)) branch.sequence.dispose();
  const batch = forks.map((sequence, i) => ({ sequence, tokens: [kept[i].id], logits: "last" as const }));
  const logits = await engine.forward(batch);
  return kept.map(({ branch, id, logProbability, state }, i) => ({
    ids: [...branch.ids, id],
    logProbability,
    sequence: forks[i],
    logits: logits[i],
    state,
  }));
}
