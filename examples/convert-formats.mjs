/**
 * Writes a model in the forms of other programs, and reads one of them back: GGUF (llama.cpp, bitnet.cpp), Hugging Face
 * (transformers), ONNX, and a compact file.
 *
 *   node examples/convert-formats.mjs MODEL OUTPUT-FOLDER
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createBackend, loadModel, Runtime } from "bitnet.ts";
import { exportGguf, exportHuggingFace, loadGguf, saveCompact, saveOnnx } from "bitnet.ts/exchange";

const [path, folder] = process.argv.slice(2);
if (!folder) throw new Error("name a model and a folder to write to");
mkdirSync(folder, { recursive: true });

const backend = await createBackend({ backend: "auto" });
const runtime = new Runtime(backend);
const { model, tokenizer } = await loadModel(path, runtime);
const to = (name) => join(folder, name);

// Rows of 128 fit no 256-wide block of TQ2_0; f16 holds ternary weights exactly but for the scale.
const gguf = await exportGguf(to("model.gguf"), model, tokenizer, { type: "f16" });
console.log(`model.gguf: ${gguf.sizeBytes} bytes, for ${gguf.loadsIn}`);
await exportHuggingFace(model, tokenizer, to("hugging-face"), { type: "bf16" });
console.log("hugging-face/: for transformers");
const [onnx] = await saveOnnx(to("model.onnx"), model, tokenizer);
console.log(`model.onnx: ${onnx.sizeBytes} bytes, for onnxruntime`);
const compact = await saveCompact(to("model.bitnet"), model, tokenizer);
console.log(`model.bitnet: ${compact.sizeBytes} bytes, for bitnet.ts`);

const back = await loadGguf(to("model.gguf"), runtime);
console.log(`read back from GGUF: ${back.model.parameters.length} tensors, ${back.tokenizer?.vocabSize} tokens`);
back.model.dispose();
model.dispose();
backend.close();
