/**
 * A teacher: a model of any form that is read here, frozen, on the runtime and backend of the student. Its weights are those
 * that the loader gives (a packed or GGUF model's are unpacked to floats or ternary layers): training wants the logits of every
 * position of a batch at once, which the transformer gives in one pass of large products, and the packed engine, made for a few
 * tokens at a time, does not. Called by train.ts.
 */
import { loadModel, localModel } from "../../exchange/index.ts";
import { resolveModelFolder } from "../../checkpoint/index.ts";
import type { Transformer } from "../../model/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { describePath, joinPath, listFolder, sha256Of, sha256OfFile } from "../../platform/files.ts";
import { show } from "../../platform/show.ts";
import type { Runtime } from "../../tensor/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";

export interface Teacher {
  /** As it was named. */
  readonly name: string;
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  /** SHA-256 of its weights and config. */
  readonly hash: string;
  /** Lets go of the weights; harmless a second time. */
  dispose(): void;
}

/**
 * @param name a path, or a name on the hub
 * @throws as loadModel; UsageError for one without a tokenizer
 */
export async function openTeacher(
  name: string,
  runtime: Runtime,
  onNote: (text: string) => void = () => {},
): Promise<Teacher> {
  const {
    model,
    tokenizer,
    folder,
    refused,
    notes = [],
  } = await told(async () => loadModel(await localModel(name, { onNote }), runtime));
  for (const { path, reason } of refused) onNote(`teacher: not using ${path}: ${reason}`);
  for (const note of notes) onNote(`teacher: ${note}`);
  let disposed = false;
  const dispose = () => {
    if (!disposed) model.dispose();
    disposed = true;
  };
  try {
    if (!tokenizer)
      throw new UsageError(
        `distill.teacher ${name}: came without a tokenizer, so that its vocabulary cannot be compared; put its tokenizer.json beside it`,
      );
    for (const parameter of model.parameters) parameter.setFrozen(true);
    return { name, model, tokenizer, hash: hashOfModel(folder), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** An error of opening it, as one about the teacher. */
async function told<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof Error) error.message = `distill.teacher: ${error.message}`;
    throw error;
  }
}

/** SHA-256 of a model's content: its file, or the weights and config in its folder. */
export function hashOfModel(path: string): string {
  if (describePath(path).kind === "file") return sha256OfFile(path);
  const { folder } = resolveModelFolder(path);
  const names = listFolder(folder).filter(
    (name) => name === "config.json" || (name.endsWith(".safetensors") && name !== "optimizer.safetensors"),
  );
  return sha256Of(
    names
      .sort()
      .map((name) => `${name} ${sha256OfFile(joinPath(folder, name))}\n`)
      .join(""),
  );
}

/** Distillation compares probabilities token by token. @throws UsageError where the teacher's tokens are not the student's */
export function checkVocabulary({ name, tokenizer }: Teacher, student: Tokenizer): void {
  const described = ({ name, vocabSize }: Tokenizer) => `${name}, ${vocabSize} tokens`;
  const different = firstDifference(tokenizer, student);
  if (different !== null)
    throw new UsageError(
      `distill.teacher ${name}: its vocabulary (${described(tokenizer)}) is not this run's (${described(student)}): token ${different} is ${show(tokenizer.tokenOf(different) ?? null)} there and ${show(student.tokenOf(different) ?? null)} here; train with the teacher's tokenizer (leave --tokenizer and tokenizer.kind out), or take another teacher`,
    );
}

/** @throws UsageError as checkVocabulary, and where the teacher has other logits or cannot read a sequence */
export function checkTeacher(
  teacher: Teacher,
  student: { tokenizer: Tokenizer; vocabSize: number; sequence: number },
): void {
  const { name, model } = teacher;
  const refuse = (what: string) => new UsageError(`distill.teacher ${name}: ${what}`);
  checkVocabulary(teacher, student.tokenizer);
  if (model.config.vocabSize !== student.vocabSize)
    throw refuse(
      `it has ${model.config.vocabSize} logits, the student ${student.vocabSize}; set --model.vocabSize ${model.config.vocabSize}`,
    );
  if (model.config.contextLength < student.sequence)
    throw refuse(
      `its context is ${model.config.contextLength} tokens, train.sequence is ${student.sequence}; lower train.sequence`,
    );
}

/** The first id that stands for different tokens; null where there is none. */
function firstDifference(a: Tokenizer, b: Tokenizer): number | null {
  if (a.hash === b.hash) return null;
  for (let id = 0; id < Math.max(a.vocabSize, b.vocabSize); id++) if (a.tokenOf(id) !== b.tokenOf(id)) return id;
  return null;
}
