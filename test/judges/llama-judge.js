/**
 * Asks llama.cpp (node-llama-cpp) about GGUF files, in a process of its own: llama.cpp ends the process where it meets
 * what it cannot take, and that must be a failed test, not the end of all. Forked by support/llama.ts; a message is a
 * request (JudgeRequest there), the answer a message back ({ answer } or { error }).
 */
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

let llama;
async function load() {
  for (let attempt = 1; ; attempt++)
    try {
      return await getLlama({
        gpu: false,
        build: "never",
        skipDownload: true,
        logLevel: LlamaLogLevel.warn,
        logger: (_level, message) => process.stderr.write(message),
      });
    } catch (error) {
      // It first tries the binary in another process and gives that some seconds: too few on a busy machine.
      if (error.name !== "NoBinaryFoundError" || attempt === 5) throw error;
    }
}

/** An F32 cache, and no flash attention: what is compared is the model, not the cache's rounding. */
const contextOptions = {
  sequences: 1,
  threads: 1,
  flashAttention: false,
  experimentalKvCacheKeyType: "F32",
  experimentalKvCacheValueType: "F32",
};

async function answer({ model: modelPath, vocabOnly, contextSize = 256, lines, ends, greedy, logits }) {
  llama ??= await load();
  const model = await llama.loadModel({ modelPath, vocabOnly: vocabOnly === true });
  const found = { architecture: model.fileInfo.metadata.general.architecture };
  if (lines) found.tokens = lines.map((line) => model.tokenize(line, false));
  if (ends) found.ends = Array.from({ length: ends }, (_, id) => id).filter((id) => model.isEogToken(id));
  if (greedy || logits) {
    const context = await model.createContext({ ...contextOptions, contextSize, batchSize: contextSize });
    const sequence = context.getSequence();
    if (greedy) {
      found.greedy = [];
      for (const prompt of greedy.prompts) {
        await sequence.clearHistory();
        const out = [];
        for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
          out.push(token);
          if (out.length === greedy.count || model.isEogToken(token)) break;
        }
        found.greedy.push(out);
      }
    }
    if (logits) {
      found.logits = [];
      for (const text of logits) {
        await sequence.clearHistory();
        const asked = text.map((token) => [token, { generateNext: { logits: true } }]);
        const results = await sequence.controlledEvaluate(asked);
        found.logits.push(
          results.map(({ next }) => {
            const row = new Array(next.logits.size).fill(null);
            for (const [token, logit] of next.logits) row[token] = logit;
            return row;
          }),
        );
      }
    }
    await context.dispose();
  }
  await model.dispose();
  return found;
}

process.on("message", async (request) => {
  try {
    process.send({ answer: await answer(request) });
  } catch (error) {
    process.send({ error: error.stack ?? String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
