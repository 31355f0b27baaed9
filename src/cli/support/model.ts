/** Opening a model for a command: backend, runtime, weights, tokenizer; and closing all of it. */
import type { OpenedModel } from "../../exchange/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Runtime } from "../../tensor/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { type ModelFlags, overridesOf, type StartTokenFlags, startTokenChoice } from "./model-options.ts";
import { type BackendOptions, backendChoice } from "./options.ts";
import { createProgressLine } from "./progress.ts";

export interface OpenedForUse extends OpenedModel {
  runtime: Runtime;
  close(): void;
}

/** Says on the standard error which newer checkpoints were passed over, and why; and how a file was read, if that was a guess. */
export async function openModel(
  path: string,
  options: BackendOptions & Pick<ModelFlags, "pre" | "overrides">,
): Promise<OpenedForUse> {
  const { createBackend } = await import("../../backends/index.ts");
  const { loadModel } = await import("../../exchange/index.ts");
  const { Runtime } = await import("../../tensor/index.ts");
  const overrides = await overridesOf(options);
  const backend = await createBackend(backendChoice(options));
  try {
    const runtime = new Runtime(backend);
    const opened = await loadModel(await downloaded(path), runtime, { pre: options.pre, ...overrides });
    noteOpened(opened);
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

/** What is said of a model that was opened, on the standard error. */
export function noteOpened({ refused, notes = [], folder }: Pick<OpenedModel, "refused" | "notes" | "folder">): void {
  noteRefused(refused);
  for (const note of notes) process.stderr.write(`bitnet: ${folder}: ${note}\n`);
}

/** @throws UsageError where the model came without one */
export function tokenizerOf({ tokenizer, folder }: OpenedModel): Tokenizer {
  if (!tokenizer)
    throw new UsageError(
      `${folder}: has no tokenizer.json; put the tokenizer that the model was trained with beside it`,
    );
  return tokenizer;
}

/** The token before a text: the one named on the command line, else what the model wants. */
export async function startTokenFor(
  { step }: Pick<OpenedModel, "step">,
  tokenizer: Tokenizer,
  flags: StartTokenFlags,
): Promise<number | null> {
  const { startTokenOf } = await import("../../infer/index.ts");
  return startTokenOf(step, tokenizer, startTokenChoice(flags).startToken);
}
