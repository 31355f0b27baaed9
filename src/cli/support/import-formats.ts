/**
 * What `bitnet import` can read: a name, a line, how it knows a path to be its own, and the function that does it, loaded
 * when it is asked for. To add a format: a file beside this, and an entry here.
 */
import type { Command } from "commander";
import { acceptsHf, addHfImportOptions } from "./hf.ts";
import type { ImportRequest } from "./format-requests.ts";
import { addPreOption } from "./model-options.ts";

export interface ImportFormat {
  name: string;
  /** For the help. */
  summary: string;
  /** Is this path of this format, by its name or its first bytes? The first format that says yes reads it. */
  accepts(path: string): boolean | Promise<boolean>;
  /** Adds options that only this format reads; called wrongly with another format, they are refused. */
  addOptions?(command: Command): void;
  /** Writes the folder; what it gives back is printed. */
  load(): Promise<(request: ImportRequest) => Promise<string>>;
}

export const importFormats: readonly ImportFormat[] = [
  {
    name: "gguf",
    summary: "a file of llama.cpp's or bitnet.cpp's kind (.gguf)",
    accepts: (path) => /\.gguf$/i.test(path),
    addOptions: addPreOption,
    load: async () => (await import("./gguf.ts")).importGguf,
  },
  {
    name: "hf",
    summary: "a Hugging Face folder, or org/name on the hub: LLaMA-style and BitNet b1.58 models",
    accepts: acceptsHf,
    addOptions: addHfImportOptions,
    load: async () => (await import("./hf.ts")).importHf,
  },
  {
    name: "compact",
    summary: "a compact file of our own (.bitnet)",
    accepts: (path) => /\.bitnet$/i.test(path),
    load: async () => (await import("./compact.ts")).importCompact,
  },
];
