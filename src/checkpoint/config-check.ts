/**
 * A config.json against the bytes of the weights beside it, before a model of its sizes is made: a file from outside may
 * claim a million layers. The exact check, tensor by tensor, comes with the weights (hf-weights.ts). Called by
 * model-folder.ts.
 */
import { headWidth, type ModelConfig } from "../model/config.ts";
import { FormatError } from "../platform/errors.ts";
import { describePath, joinPath, listFolder } from "../platform/files.ts";

/** A table of rotary angles may have so many numbers: a context of 2 million tokens with heads of 128. */
const maxRotaryNumbers = 2 ** 28;

/** @throws FormatError for a config that asks for more weights than the folder's files have bytes */
export function checkConfigSize(config: ModelConfig, folder: string, where: string): void {
  const D = headWidth(config);
  if (config.contextLength * D > maxRotaryNumbers)
    throw new FormatError(
      `${where}: max_position_embeddings is ${config.contextLength}; with heads of ${D} at most ${Math.floor(maxRotaryNumbers / D)} can be run`,
    );
  const { vocabSize: V, width: C, layers: L, kvHeads: G, hiddenWidth: F } = config;
  // The least that is stored: packed matrices of four weights a byte, and an embedding of one byte a number.
  const leastBytes = V * C + (L * (2 * C * C + 2 * C * G * D + 3 * C * F)) / 4;
  let bytes = 0;
  for (const name of listFolder(folder))
    if (name.endsWith(".safetensors")) bytes += describePath(joinPath(folder, name)).sizeBytes;
  if (leastBytes > bytes)
    throw new FormatError(
      `${where}: vocab_size ${V}, hidden_size ${C}, intermediate_size ${F} and num_hidden_layers ${L} are at least ${leastBytes} bytes of weights, but the safetensors files beside it have ${bytes}; is it of another model?`,
    );
}
