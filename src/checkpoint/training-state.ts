/**
 * A checkpoint: a model's folder plus optimizer.safetensors (the optimiser's tensors) and trainer_state.json (where
 * training stands, and the SHA-256 of every file, its own included). Written under a temporary name, flushed, renamed:
 * a folder of the final name is whole. A load believes nothing: one wrong byte anywhere and the checkpoint is refused.
 */
import { z } from "zod";
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from "../formats/safetensors.ts";
import type { Transformer } from "../model/index.ts";
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import {
  absolutePath,
  baseName,
  exists,
  joinPath,
  listFolder,
  readWhole,
  sha256Of,
  sha256OfFile,
  writeAtomically,
  writeFolderAtomically,
} from "../platform/files.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { checkTensors, jsonText, modelFiles, readJson, restoreWeights, writeModelFiles } from "./model-folder.ts";

export const stateFile = "trainer_state.json";
const optimizerFile = "optimizer.safetensors";
/** State of every weight that callbacks keep; only there where some do. */
const callbacksFile = "callbacks.safetensors";
const fileDTypes = { f32: "F32", i32: "I32", i8: "I8", u8: "U8" } as const satisfies Record<
  Tensor["dtype"],
  SafetensorsTensor["dtype"]
>;
/** Raised when a field changes its meaning. */
const stateVersion = 1;

/** The optimiser, as far as its state is saved. */
export interface SavedOptimizer {
  readonly kind: string;
  /** Float32, or codes (u8). */
  readonly state: readonly { name: string; tensor: Tensor }[];
}

/** What trainer_state.json says, `training` being the trainer's own. */
export interface TrainerStateFile<T = unknown> {
  format: "bitnet.ts training state";
  version: number;
  step: number;
  optimizer: string;
  tokenizerHash: string | null;
  training: T;
  sha256: Record<string, string>;
  /** Of this file's text with this value as 64 zeros. */
  selfSha256: string;
}

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const stateSchema = z.strictObject({
  format: z.literal("bitnet.ts training state"),
  version: z.number(),
  step: z.int().min(0),
  optimizer: z.string(),
  tokenizerHash: hash.nullable(),
  training: z.unknown(),
  sha256: z.record(z.string(), hash),
  selfSha256: hash,
});

const noHash = "0".repeat(64);

/**
 * Writes a checkpoint, whole or not at all.
 *
 * @param training the trainer's state, plain JSON
 * @throws FileError when the disk refuses; what was at `path` before is then still there
 */
export async function saveCheckpoint(
  path: string,
  parts: {
    model: Transformer;
    tokenizer: Tokenizer | null;
    optimizer: SavedOptimizer;
    step: number;
    training: unknown;
    /** Tensors of the run's callbacks, `<callback>.<tensor>`. */
    callbackTensors?: SavedOptimizer["state"];
  },
): Promise<void> {
  const { model, tokenizer, optimizer, step, training, callbackTensors = [] } = parts;
  const save = (path: string, tensors: SavedOptimizer["state"]) =>
    writeSafetensors(
      path,
      tensors.map(({ name, tensor }) => ({
        name,
        dtype: fileDTypes[tensor.dtype],
        shape: tensor.shape,
        data: () => model.runtime.read(tensor),
      })),
    );
  await writeFolderAtomically(
    path,
    async (folder) => {
      const hashes = await writeModelFiles(folder, model, tokenizer);
      hashes[optimizerFile] = (await save(joinPath(folder, optimizerFile), optimizer.state)).sha256;
      if (callbackTensors.length > 0)
        hashes[callbacksFile] = (await save(joinPath(folder, callbacksFile), callbackTensors)).sha256;
      const state: TrainerStateFile = {
        format: "bitnet.ts training state",
        version: stateVersion,
        step,
        optimizer: optimizer.kind,
        tokenizerHash: tokenizer?.hash ?? null,
        training,
        sha256: hashes,
        selfSha256: noHash,
      };
      const text = jsonText(state);
      // The last file: a folder without it was not finished.
      writeAtomically(joinPath(folder, stateFile), jsonText({ ...state, selfSha256: sha256Of(text) }));
    },
    { mayReplace: isCheckpointFolder },
  );
}

/** Nothing but files that a checkpoint has: then it may be written anew. */
function isCheckpointFolder(path: string): boolean {
  const known = [...modelFiles, optimizerFile, callbacksFile, stateFile];
  return listFolder(path).every((name) => known.includes(name));
}

/**
 * Reads a checkpoint's state and checks every file against its hash.
 *
 * @throws FormatError naming the file that is missing, changed or cut short; UnsupportedError for another version
 */
export function verifyCheckpoint(path: string): TrainerStateFile {
  const file = joinPath(path, stateFile);
  if (!exists(file)) throw new FormatError(`${path}: has no ${stateFile}; it was not written to its end`);
  const content = readJson(file);
  const version = (content as { version?: unknown } | null)?.version;
  const parsed = stateSchema.safeParse(content);
  if (!parsed.success || parsed.data.version !== stateVersion) {
    if (typeof version === "number" && version !== stateVersion)
      throw new UnsupportedError(
        `${file}: was written by another version of bitnet.ts (format ${version}, this one reads ${stateVersion})`,
      );
    const issue = parsed.error?.issues[0];
    throw new FormatError(`${file}: ${issue?.path.join(".") || "content"}: ${issue?.message}; it is damaged`);
  }
  const state = parsed.data as TrainerStateFile;
  const text = new TextDecoder().decode(readWhole(file));
  if (sha256Of(text.replace(`"selfSha256": "${state.selfSha256}"`, `"selfSha256": "${noHash}"`)) !== state.selfSha256)
    throw new FormatError(`${file}: does not match its own SHA-256; it was changed or damaged`);
  const named = /^step_(\d{6,15})$/.exec(baseName(absolutePath(path)));
  if (named && Number(named[1]) !== state.step)
    throw new FormatError(
      `${path}: holds step ${state.step}, which is not the step in its name; it was renamed, give it its name back`,
    );
  for (const [name, expected] of Object.entries(state.sha256)) {
    const member = joinPath(path, name);
    if (!exists(member)) throw new FormatError(`${path}: ${name} is missing`);
    const found = sha256OfFile(member);
    if (found !== expected)
      throw new FormatError(
        `${member}: its SHA-256 is ${found.slice(0, 12)}..., but ${stateFile} says ${expected.slice(0, 12)}...; it was changed or damaged`,
      );
  }
  return state;
}

/**
 * Fills a model and an optimiser from a checkpoint that was verified.
 *
 * @throws FormatError where they do not fit: another model, another optimiser
 */
export async function restoreCheckpoint(
  path: string,
  state: TrainerStateFile,
  model: Transformer,
  optimizer: SavedOptimizer,
): Promise<void> {
  if (state.optimizer !== optimizer.kind)
    throw new FormatError(
      `${path}: holds the state of optimizer "${state.optimizer}", this run's is "${optimizer.kind}"; continue with the same`,
    );
  await restoreWeights(path, model);
  await restoreTensors(joinPath(path, optimizerFile), optimizer.state, "this run's optimizer", model.runtime);
}

/**
 * Fills tensors of a run's callbacks from a checkpoint that was verified. What it holds of other callbacks is left: one that
 * keeps its state through a rollback, or is no longer there.
 *
 * @throws FormatError where it lacks one, or has it in another shape
 */
export async function restoreCallbackTensors(
  path: string,
  tensors: SavedOptimizer["state"],
  runtime: Runtime,
): Promise<void> {
  if (tensors.length === 0) return;
  const file = joinPath(path, callbacksFile);
  if (!exists(file))
    throw new FormatError(
      `${path}: has no ${callbacksFile}, which the callbacks of this run kept state in; is it of another run?`,
    );
  await restoreTensors(file, tensors, "this run's callbacks", runtime, true);
}

async function restoreTensors(
  path: string,
  tensors: SavedOptimizer["state"],
  what: string,
  runtime: Runtime,
  mayHoldOthers = false,
): Promise<void> {
  const file = await readSafetensors(path);
  try {
    const wantedNames = new Set(tensors.map(({ name }) => name));
    const relevant = [...file.tensors].filter(([name]) => !mayHoldOthers || wantedNames.has(name));
    checkTensors(
      { path: file.path, tensors: new Map(relevant) },
      tensors.map(({ name, tensor }) => ({ name, shape: tensor.shape })),
      what,
    );
    for (const { name, tensor } of tensors) {
      const { dtype } = file.tensors.get(name)!;
      const wanted = fileDTypes[tensor.dtype];
      if (dtype !== wanted) throw new FormatError(`${path}: tensor ${name} is ${dtype}; ${what} has ${wanted}`);
      runtime.backend.upload(tensor.buffer, await file.read(name));
    }
  } finally {
    file.close();
  }
}
