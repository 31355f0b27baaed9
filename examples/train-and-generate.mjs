/**
 * Trains a very small ternary model on a text file and lets it write, through the library alone.
 *
 *   node examples/train-and-generate.mjs your-text.txt [steps]
 */
import { generateText, openEngine, train } from "bitnet.ts";
import { smallRun } from "./support/small-run.mjs";

const [file, steps = "50"] = process.argv.slice(2);
if (!file) throw new Error("name a text file");

// { preset: "tiny", data: { files: [file] } } for a real one.
const report = await train({ config: smallRun(file, steps), onNote: console.log });
console.log(`${report.step} steps, ${report.tokensPerSecond.toFixed(0)} tokens/s, in ${report.folder}`);
console.log(`perplexity ${report.before?.perplexity.toFixed(1)} before, ${report.after?.perplexity.toFixed(1)} after`);

const { engine, tokenizer, startToken, stopTokens, close } = await openEngine(report.folder);
const written = await generateText(engine, tokenizer, "Once upon a time", {
  maxTokens: 60,
  temperature: 0.8,
  topK: 40,
  seed: 1,
  startToken,
  stopTokens,
});
console.log(written.text);
close();
