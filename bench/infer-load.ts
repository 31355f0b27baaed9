/**
 * Opens a model file in a process of its own, reads a prompt of 512 and writes 128 tokens, and says how long opening took and
 * how much memory it all needed, as JSON. Called by bench/infer.ts.
 *
 *   npx tsx bench/infer-load.ts FILE --threads 2 --head int8
 */
import { statSync } from "node:fs";
import { parseArgs } from "node:util";
import { openEngine, type PackedEngine, type PackedEngineOptions } from "../src/infer/index.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "2" },
    weights: { type: "string", default: "auto" },
    head: { type: "string", default: "int8" },
    cache: { type: "string", default: "f16" },
  },
});
const [file] = positionals;
const { weights, head, cache } = values;
const before = process.memoryUsage().rss;
const start = performance.now();
// The tokenizer stays, as it does for who writes text.
const opened = await openEngine(file, {
  backend: { backend: "auto", threads: Number(values.threads) },
  packed: { weights, head, cache } as PackedEngineOptions,
});
const loadMs = performance.now() - start;
const afterLoad = process.memoryUsage().rss;
const peakOfLoad = 1024 * process.resourceUsage().maxRSS;
const { engine, tokenizer, close } = opened;
const sequence = engine.createSequence();
const prompt = Array.from({ length: Math.min(512, engine.contextLength - 128) }, (_, i) => 3 + ((7 * i) % 1900));
const started = performance.now();
// Into one array, as a text's tokens are written (src/infer/slot.ts).
const into = new Float32Array(engine.vocabSize);
await engine.forward([{ sequence, tokens: prompt, logits: "last", into }]);
const firstTokenMs = performance.now() - started;
for (let i = 0; i < 128; i++) await engine.forward([{ sequence, tokens: [5 + i], logits: "last", into }]);
const { weightBytes, cacheBytes, mappedBytes } = (engine as PackedEngine).report;
const result = {
  fileBytes: statSync(file).size,
  loadMs,
  firstTokenMs,
  weightBytes,
  cacheBytes,
  mappedBytes,
  vocabulary: tokenizer.vocabSize,
  /** Of the process: before it opened the file, behind that, and the most of its life. */
  residentBefore: before,
  residentLoaded: afterLoad,
  peakOfLoad,
  peak: 1024 * process.resourceUsage().maxRSS,
};
sequence.dispose();
close();
console.log(JSON.stringify(result));
