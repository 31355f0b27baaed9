/**
 * A backend and text that are open for many runs, one after another: what `train` otherwise opens and closes for itself. For a
 * study (study/), whose trials differ in little; `train` takes one as `opened`.
 */
import { type Backend, createBackend } from "../backends/index.ts";
import { UsageError } from "../platform/errors.ts";
import type { RunConfig } from "./config-schema.ts";
import { checkDataFiles, prepareTrainingData } from "./corpus.ts";
import type { CorpusOptions, TrainingData } from "./training-data.ts";

export interface OpenedRuns {
  /** What a run's config must say to use it (`openedKey`). */
  readonly key: string;
  readonly backend: Backend;
  readonly data: TrainingData;
  /** After the last run. */
  close(): Promise<void>;
}

/** Of the keys that decide which backend and text a run reads. Those of the batches are each run's own. */
export function openedKey({ backend, data, tokenizer, model }: RunConfig): string {
  // A tokenizer of characters has as many tokens as the text has characters, and a model's vocabulary may follow it.
  const follows = tokenizer.kind === "characters" && tokenizer.file === null;
  return JSON.stringify({ backend, data, tokenizer, vocabSize: follows ? null : model.vocabSize });
}

/** @throws as `train` does before its first step */
export async function openRuns(config: RunConfig, options: CorpusOptions = {}): Promise<OpenedRuns> {
  checkDataFiles(config);
  const backend = await openBackend(config);
  try {
    const data = await prepareTrainingData(config, options);
    return {
      key: openedKey(config),
      backend,
      data,
      async close() {
        data.close();
        await backend.close();
      },
    };
  } catch (error) {
    await backend.close();
    throw error;
  }
}

/** The backend that a config names. */
export const openBackend = ({ backend: { name, isa, threads } }: RunConfig): Promise<Backend> =>
  createBackend({ backend: name, isa: isa === "auto" ? undefined : isa, threads });

/** @throws UsageError for a run that wants another backend, text or tokenizer than what is open */
export function checkOpened({ key, data }: OpenedRuns, config: RunConfig, tokenizer: { hash: string } | null): void {
  if (openedKey(config) !== key)
    throw new UsageError(
      "train: the opened backend and data are of a config with other backend, data, tokenizer or model.vocabSize keys; open them for this one (openRuns)",
    );
  if (tokenizer && tokenizer.hash !== data.tokenizer.hash)
    throw new UsageError(
      "train: the run has another tokenizer than the opened data; was its text changed? begin a new run",
    );
}
