/**
 * A model as a folder that transformers.js (@huggingface/transformers) opens by its name: onnx/model.onnx with a key-value
 * cache, config.json, generation_config.json and the tokenizer's files. Called by `bitnet export --format onnx`.
 *
 * transformers.js computes nothing itself: of config.json it takes the sizes of the cache, which it knows for
 * `model_type: llama`. So that is what the file says, whatever the layers are; the graph is the model.
 */
import type { Transformer } from "../model/index.ts";
import { UnsupportedError } from "../platform/errors.ts";
import { exists, joinPath, listFolder, makeFolder, writeAtomically, writeFolderAtomically } from "../platform/files.ts";
import { formatTokenizerJson, type Tokenizer, withPrefixToken } from "../tokenizer/index.ts";
import { toGenerationConfig, toHuggingFaceConfig } from "../checkpoint/hf-config.ts";
import { configFile, generationFile, jsonText } from "../checkpoint/json-file.ts";
import { type SaveOnnxOptions, saveOnnx } from "./onnx.ts";
import { tokenizerTexts } from "../checkpoint/tokenizer-files.ts";

export interface TransformersJsOptions extends Omit<SaveOnnxOptions, "cache" | "externalData"> {
  /** The folder that the model came from: what its tokenizer's files say beyond ours is kept. */
  source?: string;
  /** The token that the tokenizer's files put before a text; null: none; absent: as they do already. */
  startToken?: number | null;
  /** Every token that ends a text, where there are more than the tokenizer's own. */
  endTokens?: readonly number[];
}

/** Key of config.json that transformers.js reads its own settings from. */
const ownKey = "transformers.js_config";

/**
 * Writes the folder, whole or not at all.
 *
 * @returns the files' paths in the folder
 * @throws as saveOnnx; UnsupportedError without a tokenizer, or where the graph does not fit one file
 */
export async function saveTransformersJs(
  path: string,
  model: Transformer,
  own: Tokenizer | null,
  options: TransformersJsOptions,
): Promise<string[]> {
  const { source, startToken, endTokens, ...onnx } = options;
  if (!own) throw new UnsupportedError("transformers.js wants a tokenizer, and the model came without one");
  const tokenizer = startToken === undefined ? own : withPrefixToken(own, startToken);
  const roles = { bos: tokenizer.bos, eos: tokenizer.eos };
  return writeFolderAtomically(
    path,
    async (folder) => {
      makeFolder(joinPath(folder, "onnx"));
      const written = await saveOnnx(joinPath(folder, "onnx", "model.onnx"), model, tokenizer, {
        ...onnx,
        cache: true,
      });
      if (written.length > 1)
        throw new UnsupportedError(
          "the graph passes the 2 GiB of one ONNX file; transformers.js cannot open its weights beside it. Export without --transformers-js",
        );
      const { quantization_config: _, bitnet_ts: __, ...config } = toHuggingFaceConfig(model.config, roles);
      const texts: Record<string, string> = {
        [configFile]: jsonText({
          ...config,
          architectures: ["LlamaForCausalLM"],
          model_type: "llama",
          // Else it looks for a quantised file of its own in browsers.
          [ownKey]: { dtype: "fp32" },
        }),
        [generationFile]: jsonText(toGenerationConfig(model.config, roles, endTokens)),
        "tokenizer.json": formatTokenizerJson(tokenizer.toJson()),
        ...tokenizerTexts(tokenizer, source),
      };
      for (const [name, text] of Object.entries(texts)) writeAtomically(joinPath(folder, name), text);
      return ["onnx/model.onnx", ...Object.keys(texts)];
    },
    { mayReplace: (folder) => listFolder(folder).length === 0 || exists(joinPath(folder, "onnx", "model.onnx")) },
  );
}
