/**
 * How fast an engine reads and writes, and what memory it takes: the rows pp512 and tg128 of llama-bench, and the time to
 * the first token. Samples are taken by mitata, in two rounds in which every contender has its turn, so that a machine that
 * grows slower does so for all. Each engine's answer is checked before it is timed. Of one model's engines, only those go on
 * to be timed at a row that are not far behind in a first run of it, which is not counted.
 */
import { measure } from "mitata";
import type { Backend } from "../backends/backend.ts";
import type { Engine } from "../infer/index.ts";
import { DataError, UsageError } from "../platform/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { nextTurn } from "../platform/turn.ts";

export interface Contender {
  name: string;
  /** Contenders of one model run for the same row, which takes the fastest; default: the name. */
  model?: string;
  engine: Engine;
  backend: Pick<Backend, "stats">;
}

export interface SpeedOptions {
  clock: Clock;
  /** Tokens of the prompt; at most the context. Default 512. */
  promptTokens?: number;
  /** Tokens written one by one; at most the context less one. Default 128. */
  generatedTokens?: number;
  /** Tokens of the prompt whose first answer is waited for. Default 64. */
  firstTokenPrompt?: number;
  /** Of each row and contender, in all. Default 6. */
  samples?: number;
  signal?: AbortSignal;
  onProgress?: (what: string) => void;
}

/** Mean and standard deviation over the samples. */
export interface Spread {
  mean: number;
  deviation: number | null;
  best: number;
  samples: number;
}

export interface SpeedMeasurement {
  /** Such as pp512 and tg128: tokens per second. */
  prompt: Spread & { name: string; tokens: number };
  decode: Spread & { name: string; tokens: number };
  /** Milliseconds from a prompt to the choice of the first token. */
  firstToken: Spread & { tokens: number };
  /** What weights, workspace and cache took on the backend: before the first sample, and at most. */
  loadedBytes: number;
  peakBytes: number;
}

/** One engine's: a row is null where another engine of the same model was far faster. */
export type EngineMeasurement = Omit<SpeedMeasurement, "prompt" | "decode" | "firstToken"> & {
  [K in "prompt" | "decode" | "firstToken"]: SpeedMeasurement[K] | null;
};

const rounds = 2;
/** A prompt and its tokens one by one go through other kernels; int8 codes may differ by one, a wrong answer differs by far. */
const leastCosine = 0.99;

/** An engine that took so many times the fastest one's time in a first run is not timed further at that row. */
const farBehind = 1.5;
/** Tokens written in runs that are not counted: each takes about as long as the next. */
const triedTokens = 16;
const kinds = ["prompt", "decode", "first"] as const;
type Kind = (typeof kinds)[number];

/**
 * @returns for each contender its rows; an engine that fell far behind another of its model has null there
 * @throws DataError where an engine's answer is wrong; UsageError for sizes that do not fit
 */
export async function measureSpeed(
  contenders: readonly Contender[],
  options: SpeedOptions,
): Promise<EngineMeasurement[]> {
  const { clock, samples = 6, signal, onProgress = () => {} } = options;
  if (!(Number.isSafeInteger(samples) && samples >= rounds))
    throw new UsageError(`speed: samples is ${samples}; expected a whole number from ${rounds}`);
  const plans = contenders.map(({ engine }) => {
    const atMost = (n: number) => Math.min(n, engine.contextLength - 1);
    return {
      prompt: Math.min(options.promptTokens ?? 512, engine.contextLength),
      decode: atMost(options.generatedTokens ?? 128),
      first: atMost(options.firstTokenPrompt ?? 64),
    };
  });
  // Kernels run synchronously: a signal is heard only where the event loop has its turn, which takes microseconds.
  const turn = async () => {
    await nextTurn();
    signal?.throwIfAborted();
  };
  for (const [i, contender] of contenders.entries()) {
    await turn();
    onProgress(`checking the answer of ${contender.name}`);
    await checkAnswer(contender, Math.min(20, plans[i].prompt));
  }
  const loaded = contenders.map(({ backend }) => backend.stats.liveBytes);
  for (const { backend } of contenders) backend.stats.peakBytes = backend.stats.liveBytes;
  const times = contenders.map(() => ({ prompt: [] as number[], decode: [] as number[], first: [] as number[] }));
  const tried = (i: number, kind: Kind) =>
    kind === "decode" ? Math.min(triedTokens, plans[i].decode) : plans[i][kind];
  const out = await outrun(contenders, (i, kind) => works[kind](contenders[i].engine, tried(i, kind)), options);
  for (let round = 0; round < rounds; round++)
    for (const [i, { name, engine }] of contenders.entries()) {
      const count = Math.floor((samples * (round + 1)) / rounds) - Math.floor((samples * round) / rounds);
      for (const kind of kinds) {
        if (out[i].has(kind)) continue;
        onProgress(`timing ${name}: ${kind}, round ${round + 1} of ${rounds}`);
        const run = async (tokens: number) => {
          await turn();
          await works[kind](engine, tokens);
        };
        const warmUp = () => run(tried(i, kind));
        times[i][kind].push(...(await sample(warmUp, () => run(plans[i][kind]), count, clock)));
      }
    }
  return contenders.map(({ backend }, i) => {
    const { prompt, decode, first } = plans[i];
    const rates = (ms: readonly number[], tokens: number) =>
      spreadOf(
        ms.map((t) => (1000 * tokens) / t),
        Math.max,
      );
    const row = <T>(kind: Kind, of: () => T): T | null => (out[i].has(kind) ? null : of());
    return {
      prompt: row("prompt", () => ({ name: `pp${prompt}`, tokens: prompt, ...rates(times[i].prompt, prompt) })),
      decode: row("decode", () => ({ name: `tg${decode}`, tokens: decode, ...rates(times[i].decode, decode) })),
      firstToken: row("first", () => ({ tokens: first, ...spreadOf(times[i].first, Math.min) })),
      loadedBytes: loaded[i],
      peakBytes: backend.stats.peakBytes,
    };
  });
}

/** Of each contender, the rows at which it is far behind another engine of its model, by one run of each. */
async function outrun(
  contenders: readonly Contender[],
  run: (i: number, kind: Kind) => Promise<void>,
  { clock, signal, onProgress = () => {} }: SpeedOptions,
): Promise<Set<Kind>[]> {
  const out = contenders.map(() => new Set<Kind>());
  const modelOf = ({ model, name }: Contender) => model ?? name;
  for (const kind of kinds) {
    const took: (number | null)[] = [];
    for (const [i, contender] of contenders.entries()) {
      const alone = contenders.filter((other) => modelOf(other) === modelOf(contender)).length === 1;
      if (!alone) {
        await nextTurn();
        signal?.throwIfAborted();
        onProgress(`trying ${contender.name}: ${kind}`);
      }
      const from = clock.monotonicMs();
      if (!alone) await run(i, kind);
      took.push(alone ? null : clock.monotonicMs() - from);
    }
    for (const [i, contender] of contenders.entries()) {
      const rivals = took.filter((_, k) => modelOf(contenders[k]) === modelOf(contender));
      const mine = took[i];
      if (mine !== null && mine > farBehind * Math.min(...rivals.map((ms) => ms ?? Number.POSITIVE_INFINITY)))
        out[i].add(kind);
    }
  }
  return out;
}

/** Milliseconds of `count` runs, behind one that warms up and is not counted: mitata's first call is that. */
async function sample(
  warmUp: () => Promise<void>,
  run: () => Promise<void>,
  count: number,
  clock: Clock,
): Promise<number[]> {
  let calls = 0;
  const next = () => (calls++ === 0 ? warmUp() : run());
  const { samples } = await measure(next, {
    // mitata counts in nanoseconds.
    now: () => clock.monotonicMs() * 1e6,
    min_samples: count,
    max_samples: count,
    min_cpu_time: 0,
    warmup_samples: 0,
    batch_threshold: 0, // a run is a sample
    samples_threshold: Number.MAX_SAFE_INTEGER, // none is thrown away
  });
  return samples.map((nanoseconds) => nanoseconds / 1e6);
}

const tokenAt = (engine: Engine, i: number): number => (7 * i + 1) % engine.vocabSize;
const promptOf = (engine: Engine, n: number) => Array.from({ length: n }, (_, i) => tokenAt(engine, i));

const works = {
  async prompt(engine: Engine, tokens: number): Promise<void> {
    const sequence = engine.createSequence();
    await engine.forward([{ sequence, tokens: promptOf(engine, tokens), logits: "last" }]);
    sequence.dispose();
  },
  async decode(engine: Engine, tokens: number): Promise<void> {
    const sequence = engine.createSequence();
    for (let i = 0; i < tokens; i++) await engine.forward([{ sequence, tokens: [tokenAt(engine, i)], logits: "last" }]);
    sequence.dispose();
  },
  async first(engine: Engine, tokens: number): Promise<void> {
    const sequence = engine.createSequence();
    const [logits] = await engine.forward([{ sequence, tokens: promptOf(engine, tokens), logits: "last" }]);
    let best = 0;
    for (let v = 1; v < logits.length; v++) if (logits[v] > logits[best]) best = v;
    sequence.dispose();
  },
};

async function checkAnswer({ name, engine }: Contender, count: number): Promise<void> {
  const tokens = promptOf(engine, count);
  const [a, b] = [engine.createSequence(), engine.createSequence()];
  const [whole] = await engine.forward([{ sequence: a, tokens, logits: "last" }]);
  let last = whole;
  for (const token of tokens) [last] = await engine.forward([{ sequence: b, tokens: [token], logits: "last" }]);
  a.dispose();
  b.dispose();
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  const cosine = dot(whole, last) / Math.sqrt(dot(whole, whole) * dot(last, last));
  if (!(cosine >= leastCosine))
    throw new DataError(
      `${name}: a prompt and its tokens one by one agree only to a cosine of ${cosine}; expected ${leastCosine}. It is not timed`,
    );
}

function spreadOf(values: readonly number[], best: (...values: number[]) => number): Spread {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    mean,
    deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null,
    best: best(...values),
    samples: values.length,
  };
}
