/**
 * Where a measured model's weights come from: a path; nowhere, random ones of a shape, for speed and size, which do not
 * depend on what weights are; or a full-precision folder, rounded to ternary without any training, which shows what training
 * is for. Each is opened without a second copy of the float weights. Called by measure.ts and `bitnet bench`.
 */
import { loadModel, type OpenedModel } from "../exchange/index.ts";
import { readModelConfig, readTokenizer, resolveModelFolder } from "../checkpoint/index.ts";
import { openWeights } from "../checkpoint/hf-weights.ts";
import { type ModelConfig, planModel, Transformer } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath, listFolder, sha256Of, sha256OfFile } from "../platform/files.ts";
import { createRandom } from "../platform/random.ts";
import type { Runtime } from "../tensor/index.ts";
import { huggingFaceScale } from "../checkpoint/hf-config.ts";

export interface ModelSource {
  /** Short, for columns and legends. */
  name: string;
  /** A run, checkpoint, model folder or file; of random weights, what their shape is called. */
  path: string;
  /** Absent: what the path holds. */
  weights?: { kind: "random"; config: ModelConfig } | { kind: "rounded" };
  /** Of a GGUF file: how its byte-level BPE cuts text, by a name of tokenizer.ggml.pre; absent: as the file says. */
  pre?: string;
}

/** What a report says of weights that are not as the path has them. */
export const weightsNote = {
  random: "its weights are random, drawn for their shape: speed and size are measured, quality cannot be",
  rounded:
    "its weights are those of a full-precision model rounded to ternary, without any training after: what BitNet makes of them is for training to show",
} as const;

/** Odd, so that no row of a matrix is another one again. */
const poolSize = 2 ** 22 + 1;

/**
 * A model with random weights. They are cut from one pool of normal numbers: to draw each of a thousand million would take
 * a minute.
 */
export async function createRandomModel(runtime: Runtime, config: ModelConfig): Promise<Transformer> {
  const model = new Transformer(runtime, config, null);
  const pool = new Float32Array(poolSize);
  createRandom(1).fillNormal(pool, config.initStd);
  let at = 0;
  for (const { role, size, tensor } of model.parameters) {
    if (role === "norm") runtime.backend.upload(tensor.buffer, new Float32Array(size).fill(1));
    else
      for (let done = 0; done < size; ) {
        const piece = pool.subarray(at, at + Math.min(size - done, poolSize - at));
        runtime.backend.upload(tensor.buffer, piece, 4 * done);
        done += piece.length;
        at = (at + piece.length) % poolSize;
      }
  }
  for (const parameter of model.parameters) parameter.changed();
  for (const layer of model.linearLayers) await layer.initializeLearned(runtime);
  return model;
}

/** @throws as loadModel; UsageError where what is to be rounded is ternary already, or no folder */
export async function openSource(
  { path, weights, pre }: ModelSource,
  runtime: Runtime,
  options: { signal?: AbortSignal } = {},
): Promise<OpenedModel> {
  if (!weights) return loadModel(path, runtime, { ...options, pre });
  if (weights.kind === "random") {
    const { config } = weights;
    const model = await createRandomModel(runtime, config);
    return { model, config, tokenizer: null, folder: path, step: null, refused: [] };
  }
  return openRounded(path, runtime);
}

async function openRounded(path: string, runtime: Runtime): Promise<OpenedModel> {
  if (!exists(path) || describePath(path).kind === "file")
    throw new UsageError(`${path}: only a model folder can be rounded to ternary`);
  const { folder, refused } = resolveModelFolder(path);
  const full = readModelConfig(folder);
  if (planModel(full).anyTernary) throw new UsageError(`${path}: is ternary already; there is nothing to round`);
  // The scale by Hugging Face's rule, and no norms that the model does not have.
  const config: ModelConfig = { ...full, variant: "bitnet", subNorms: false, ...huggingFaceScale };
  const tokenizer = readTokenizer(folder, full);
  const model = new Transformer(runtime, config, null);
  try {
    const reader = await openWeights(folder, full, model.parameters);
    try {
      for (const parameter of model.parameters) {
        runtime.backend.upload(parameter.tensor.buffer, await reader.read(parameter));
        parameter.changed();
      }
    } finally {
      reader.close();
    }
    return { model, config, tokenizer, folder, step: null, refused };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Names the weights and how they are read: the hashes that a checkpoint keeps, or those of its files; of random ones, their shape. */
export function identityOf({ path, weights, pre }: ModelSource): string {
  if (pre !== undefined) return sha256Of(`pre ${pre} ${identityOf({ name: "", path, weights })}`);
  if (weights?.kind === "random") return sha256Of(`random ${JSON.stringify(weights.config)}`);
  return weights?.kind === "rounded" ? sha256Of(`rounded ${identityOfPath(path)}`) : identityOfPath(path);
}

function identityOfPath(path: string): string {
  if (!exists(path)) return path; // a name on the hub
  if (describePath(path).kind === "file") return sha256OfFile(path);
  const { folder } = resolveModelFolder(path);
  const state = joinPath(folder, "trainer_state.json");
  if (exists(state)) return sha256OfFile(state);
  const files = listFolder(folder).filter((name) => /\.(safetensors|json)$/.test(name));
  return sha256Of(
    files
      .sort()
      .map((name) => `${name} ${sha256OfFile(joinPath(folder, name))}`)
      .join("\n"),
  );
}
