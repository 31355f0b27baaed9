/**
 * Text that the model writes, every n steps and at the end, into samples/samples.jsonl: one line for each prompt, unedited.
 * How text is made is injected (infer/ is train/'s neighbour).
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

export function samples(config: SamplesConfig, sample: SampleText, path: string): Callback {
  const { every, prompts, tokens, temperature } = config;
  let file: AppendFile | undefined;
  let lastStep = -1;
  return {
    name: "samples",
    async on(event, training) {
      const due = (event.type === "step" && event.step % every === 0) || (event.type === "end" && event.step > 0);
      if (due && lastStep !== event.step && !(event.type === "end" && event.reason === "interrupted")) {
        lastStep = event.step;
        file ??= openAppend(path, { lines: true });
        const made: Sample[] = [];
        for (const prompt of prompts) {
          const seed = training.random.integer(2 ** 32);
          const text = await sample(prompt, { tokens, temperature, seed });
          made.push({ prompt, text });
          file.append(`${JSON.stringify({ step: event.step, prompt, text, temperature, seed })}\n`);
        }
        await training.emit({ type: "samples", step: event.step, samples: made });
      }
    },
    state: () => ({ lastStep }),
    restore(saved) {
      lastStep = (saved as { lastStep: number }).lastStep;
    },
    close: () => file?.close(),
  };
}
