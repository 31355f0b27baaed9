/** Opening a model for a command: backend, runtime, weights, tokenizer; and closing all of it. */
import type { OpenedModel } from "../../exchange/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Runtime } from "../../tensor/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { type BackendOptions, backendChoice } from "./options.ts";
import { createProgressLine } from "./progress.ts";

export interface OpenedForUse extends OpenedModel {
  runtime: Runtime;
  close(): void;
}

/** Says on the standard error which newer checkpoints were passed over, and why. */
export async function openModel(path: string, options: BackendOptions): Promise<OpenedForUse> {
  const { createBackend } = await import("../../backends/index.ts");
  const { loadModel } = await import("../../exchange/index.ts");
  const { Runtime } = await import("../../tensor/index.ts");
  const backend = await createBackend(backendChoice(options));
  try {
    const runtime = new Runtime(backend);
    const opened = await loadModel(await downloaded(path), runtime);
    noteRefused(opened.refused);
    return { ...opened, runtime, close: () => backend.close() };
  } catch (error) {
    backend.close();
    throw error;
  }
}

/** Where a model is that may be a name on the hub; a download is shown as it goes. */
export async function downloaded(nameOrPath: string): Promise<string> {
  const { localModel } = await import("../../exchange/index.ts");
  const progress = createProgressLine("downloading");
  return localModel(nameOrPath, {
    onProgress: ({ file, doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes, file),
    onNote: (text) => process.stderr.write(`bitnet: ${text}\n`),
  }).finally(() => progress.close());
}

export function noteRefused(refused: OpenedModel["refused"]): void {
  for (const { path, reason } of refused) process.stderr.write(`bitnet: not using ${path}: ${reason}\n`);
}

/** @throws UsageError where the model came without one */
export function tokenizerOf({ tokenizer, folder }: OpenedModel): Tokenizer {
  if (!tokenizer)
    throw new UsageError(
      `${folder}: has no tokenizer.json; put the tokenizer that the model was trained with beside it`,
    );
  return tokenizer;
}

/**
 * The token before a text: for a model that was trained here end-of-text, which stood before every document in its
 * training; for one from elsewhere what its tokenizer says (begin-of-text, where it has one).
 */
export function startTokenOf({ step }: OpenedModel, tokenizer: Tokenizer): number | null {
  return step === null ? (tokenizer.bos ?? tokenizer.endOfText) : tokenizer.endOfText;
}
