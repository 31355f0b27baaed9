/**
 * What training shows while it runs, on the standard error: a bar with lines above it on a terminal, else a plain line
 * every so many steps. Evaluations and samples are lines of their own.
 */
import { MultiBar, Presets, type SingleBar } from "cli-progress";
import { describeModel } from "../../model/index.ts";
import type { Callback, ReadyRun, TrainingEvent } from "../../train/index.ts";
import { nextTokenLoss } from "../../train/objectives/weighted.ts";
import { countOf, formatCount, formatDuration, formatRate, formatShare } from "./format.ts";

export interface TrainProgress {
  /** Hears of the run's events. */
  callback: Callback;
  /** A line for people. */
  say(text: string): void;
  /** The run is about to take its first step. */
  begin(run: ReadyRun): void;
  /** Takes the bar away. */
  end(): void;
}

/** @param logEvery steps between lines, where there is no terminal */
export function createTrainProgress(logEvery: number): TrainProgress {
  return process.stderr.isTTY ? barProgress() : lineProgress(logEvery);
}

/** The numbers of the step before, smoothed for the eye, and the time left. */
function createNumbers() {
  let loss = Number.NaN;
  // Of the next-token loss, which is not the whole loss where there are other objectives; undefined: no objective has one.
  let nats: number | undefined = Number.NaN;
  let perSecond = Number.NaN;
  // Wall time: evaluations and saving are part of what is left.
  let startedMs = 0;
  let startStep = 0;
  let step = 0;
  let steps = 0;
  const smooth = (old: number, value: number) => (Number.isNaN(old) ? value : 0.9 * old + 0.1 * value);
  return {
    begin({ fromStep, derived }: ReadyRun) {
      startedMs = performance.now();
      startStep = fromStep;
      step = fromStep;
      steps = derived.steps;
    },
    hear(event: TrainingEvent) {
      if (event.type !== "step") return;
      step = event.step;
      if (!event.skipped) {
        loss = smooth(loss, event.loss);
        const now = event.parts ? nextTokenLoss(event.parts) : event.loss;
        nats = now === undefined ? undefined : smooth(nats ?? Number.NaN, now);
      }
      if (event.elapsedMs > 0) perSecond = smooth(perSecond, (event.tokens * 1000) / event.elapsedMs);
    },
    now() {
      const done = step - startStep;
      const left = done > 0 ? formatDuration(((performance.now() - startedMs) / done) * (steps - step)) : "?";
      const speed = Number.isNaN(perSecond) ? "" : formatRate(perSecond, "tokens");
      return {
        step,
        steps,
        loss: Number.isNaN(loss) ? "?" : loss.toFixed(4),
        ppl: nats === undefined ? "" : perplexity(nats),
        speed,
        left,
      };
    },
  };
}

function barProgress(): TrainProgress {
  const bars = new MultiBar(
    {
      format: "{bar} {value}/{total} | loss {loss}{perplexity} | {speed} | {left} left",
      stream: process.stderr,
      hideCursor: true,
      barsize: 20,
      fps: 5,
      clearOnComplete: true,
      // Ctrl-C is the command's own.
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  const numbers = createNumbers();
  let bar: SingleBar | undefined;
  const shown = () => {
    const { ppl, ...now } = numbers.now();
    return { ...now, perplexity: ppl === "" ? "" : `, perplexity ${ppl}` };
  };
  const say = (text: string) => {
    if (bar) bars.log(`${text}\n`);
    else process.stderr.write(`${text}\n`);
  };
  return {
    say,
    begin(run) {
      for (const line of describeRun(run)) say(line);
      numbers.begin(run);
      bar = bars.create(run.derived.steps, run.fromStep, shown());
    },
    callback: {
      name: "progress",
      on(event) {
        numbers.hear(event);
        for (const line of describeEvent(event)) say(line);
        if (event.type === "step") bar?.update(event.step, shown());
      },
    },
    end() {
      // Writes the lines that wait for the next drawing; stop() would drop them.
      if (bar) bars.update();
      bars.stop();
      bar = undefined;
    },
  };
}

function lineProgress(every: number): TrainProgress {
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  const numbers = createNumbers();
  return {
    say,
    begin(run) {
      for (const line of describeRun(run)) say(line);
      numbers.begin(run);
    },
    callback: {
      name: "progress",
      on(event) {
        numbers.hear(event);
        for (const line of describeEvent(event)) say(line);
        const { step, steps, loss, ppl, speed, left } = numbers.now();
        if (event.type === "step" && (step % every === 0 || step === steps))
          say(`step ${step}/${steps}  loss ${loss}${ppl === "" ? "" : `  perplexity ${ppl}`}  ${speed}  ${left} left`);
      },
    },
    end() {},
  };
}

/** Those of this process. */
function stepsText(done: number, all: number): string {
  if (done >= all) return `nothing is left to do of ${countOf(all, "step")}`;
  if (done > 0) return done + 1 === all ? `step ${all}` : `steps ${done + 1} to ${all}`;
  return countOf(all, "step");
}

/** What is trained on what, in lines. */
function describeRun(run: ReadyRun): string[] {
  const { config, derived, folder, parameters, backend, trainingTokens, validationTokens, fromStep, sources } = run;
  const { preset, model, train } = config;
  const passes = (derived.steps * derived.tokensPerStep) / trainingTokens;
  const validation = validationTokens > 0 ? formatCount(validationTokens) : "none";
  return [
    `model: ${preset}, ${describeModel(model)}: ${countOf(parameters.total, "parameter")}, ${formatShare(parameters.ternary / parameters.total, 1)} of them ternary; vocabulary ${formatCount(model.vocabSize)}`,
    `text: ${countOf(trainingTokens, "token")} to train on, ${validation} to validate on`,
    ...(sources ?? []).map(
      ({ name, share, sequences }) =>
        `source: ${name}, ${formatShare(share, 1)} of the tokens, ${((derived.steps * train.batch * share) / sequences).toPrecision(3)} passes over its ${countOf(sequences, "sequence")}`,
    ),
    `run: ${stepsText(fromStep, derived.steps)} of ${train.batch} x ${train.sequence} tokens, ${passes.toPrecision(3)} passes over the text, in ${folder}`,
    `backend: ${backend.name}, ${backend.isa}, ${countOf(backend.threads, "thread")}, ${backend.precision}`,
  ];
}

function describeEvent(event: TrainingEvent): string[] {
  switch (event.type) {
    case "step":
      if (!event.skipped) return [];
      if (event.skipReason !== undefined) return [`step ${event.step}: skipped: ${event.skipReason}`];
      return [`step ${event.step}: loss or gradient is not finite; skipped (${event.skippedSteps} so far)`];
    case "rollback":
      return [`step ${event.from}: ${event.reason}; back to the checkpoint of step ${event.step}`];
    case "evaluation": {
      const bits = event.bitsPerByte === null ? "" : `, ${event.bitsPerByte.toFixed(3)} bits per byte`;
      const best = event.best && event.step > 0 ? " (best)" : "";
      return [
        `step ${event.step}: val_loss ${event.loss.toFixed(4)}, perplexity ${perplexity(event.loss)}${bits}${best}`,
      ];
    }
    case "samples":
      // On one line, so that what the model writes cannot be taken for a line of ours.
      return event.samples.map(({ prompt, text }) => `step ${event.step} writes: ${JSON.stringify(prompt + text)}`);
    default:
      return [];
  }
}

const perplexity = (loss: number): string => (Number.isNaN(loss) ? "?" : Math.exp(loss).toPrecision(4));
