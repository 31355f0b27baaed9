/**
 * What `bitnet export` can write: a name, a line, and the function that does it, loaded when it is asked for. To add a
 * format: a file beside this, and an entry here.
 */
import type { Command } from "commander";
import { addGgufOptions } from "./gguf.ts";
import { addCompactOptions } from "./compact.ts";
import { addHfExportOptions } from "./hf.ts";
import { addOnnxOptions } from "./onnx.ts";
import type { ExportRequest } from "./format-requests.ts";

export interface ExportFormat {
  name: string;
  /** For the help, with the types that it knows. */
  summary: string;
  /** Adds options that only this format reads; called wrongly with another format, they are refused. */
  addOptions?(command: Command): void;
  /** Writes the file or folder; what it gives back is printed. */
  load(): Promise<(request: ExportRequest) => Promise<string>>;
}

export const exportFormats: readonly ExportFormat[] = [
  {
    name: "gguf",
    summary:
      "one file for llama.cpp and bitnet.cpp; --type auto (default): the smallest ternary type that loads with the model's widths; tq1_0, tq2_0, q8_0, f16, bf16, f32; q2_0 (llama.cpp alone), i2_s (bitnet.cpp alone)",
    addOptions: addGgufOptions,
    load: async () => (await import("./gguf.ts")).exportGguf,
  },
  {
    name: "hf",
    summary: "a folder for Hugging Face's transformers; --type f32, bf16, f16 or packed (ternary, four a byte)",
    addOptions: addHfExportOptions,
    load: async () => (await import("./hf.ts")).exportHf,
  },
  {
    name: "compact",
    summary: "one small file of our own, for bitnet.ts; --type smallest, entropy or trits",
    addOptions: addCompactOptions,
    load: async () => (await import("./compact.ts")).exportCompact,
  },
  {
    name: "onnx",
    summary: "a graph for onnxruntime and others; --type packed (default) or float",
    addOptions: addOnnxOptions,
    load: async () => (await import("./onnx.ts")).exportOnnx,
  },
];
