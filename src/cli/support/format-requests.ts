/** What a format's writer or reader is asked for, by `bitnet export` and `bitnet import`. The lists of formats are beside this. */
import type { ModelFlags } from "./model-options.ts";
import type { BackendOptions } from "./options.ts";

export interface ExportRequest {
  /** Checkpoint, run folder or model folder; a .gguf file too. */
  input: string;
  /** File or folder to write; where none was named, the format says what it calls its own. */
  output?: string;
  /** The kind of numbers; where none was named, the format's own. */
  type?: string;
  backend: BackendOptions;
  /** How the model's tokenizer is read, the token before a text, and a file of quantizers to use in place of the model's. */
  words: ModelFlags;
  /** The options of the format's own, by commander's names. */
  options: Record<string, unknown>;
}

export interface ImportRequest {
  input: string;
  /** The model folder to write. */
  output: string;
  backend: BackendOptions;
  /** The options of the format's own, by commander's names. */
  options: Record<string, unknown>;
}
