/**
 * Text that the model writes, every n steps and at the end, into samples/samples.jsonl: one line for each prompt, unedited.
 * How text is made is injected (infer/ is train/'s neighbour). A sample that fails is a note: the run goes on.
 *
 * Two callbacks, with that of checkpoints between them: the first draws the seeds, which are part of what is saved; the
 * second writes, when the step is safe.
 */
import { type AppendFile, openAppend } from "../../platform/append-file.ts";
import type { Callback, Sample } from "../events.ts";

/** Continues a prompt ("" is the start of a document); the same seed gives the same text. */
export type SampleText = (prompt: string, options: SampleOptions) => Promise<string>;

export interface SampleOptions {
  tokens: number;
  temperature: number;
  seed: number;
}

export interface SamplesConfig {
  every: number;
  prompts: readonly string[];
  tokens: number;
  temperature: number;
}

export function samples(
  config: SamplesConfig,
  sample: SampleText,
  path: string,
  onNote: (text: string) => void,
): { drawing: Callback; writing: Callback } {
  const { every, prompts, tokens, temperature } = config;
  let file: AppendFile | undefined;
  let lastStep = -1;
  let seeds: number[] = [];
  const drawing: Callback = {
    name: "samples",
    on(event, training) {
      const due = (event.type === "step" && event.step % every === 0) || (event.type === "end" && event.step > 0);
      if (due && lastStep !== event.step && !(event.type === "end" && event.reason === "interrupted")) {
        lastStep = event.step;
        seeds = prompts.map(() => training.random.integer(2 ** 32));
      }
    },
    state: () => ({ lastStep }),
    restore(saved) {
      lastStep = (saved as { lastStep: number }).lastStep;
    },
  };
  const writing: Callback = {
    name: "sample texts",
    async on(event, training) {
      if (seeds.length === 0 || (event.type !== "step" && event.type !== "end")) return;
      const { step } = event;
      // The last step is saved at the end.
      if (event.type === "step" && step >= training.steps) return;
      const drawn = seeds;
      seeds = [];
      const made: Sample[] = [];
      for (const [i, prompt] of prompts.entries()) {
        const seed = drawn[i];
        let text: string;
        try {
          text = await sample(prompt, { tokens, temperature, seed });
        } catch (error) {
          onNote(`no sample at step ${step} for ${JSON.stringify(prompt)}: ${(error as Error).message}`);
          continue;
        }
        made.push({ prompt, text });
        file ??= openAppend(path, { lines: true });
        file.append(`${JSON.stringify({ step, prompt, text, temperature, seed })}\n`);
      }
      if (made.length > 0) await training.emit({ type: "samples", step, samples: made });
    },
    close: () => file?.close(),
  };
  return { drawing, writing };
}
