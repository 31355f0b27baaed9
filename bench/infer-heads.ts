/**
 * What the packed engine's number formats cost: perplexity of a text with the output head and the cache in each of them, and
 * the bytes that a token then reads.
 *
 *   npx tsx bench/infer-heads.ts --model runs/tiny-bitnet --text valid.txt --about "tiny, trained on TinyStories"
 *   npx tsx bench/infer-heads.ts --model runs/tiny-full --text valid.txt --about "its full-precision twin" --name infer-heads-full
 */
import { parseArgs } from "node:util";
import { evaluatePerplexity } from "../src/eval/index.ts";
import { openEngine, type PackedEngineOptions } from "../src/infer/index.ts";
import { readWhole } from "../src/platform/files.ts";
import { provenance, writeResult } from "./machine.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    /** What the page calls them. */
    about: { type: "string", default: "" },
    chunks: { type: "string", default: "400" },
    characters: { type: "string", default: "1000000" },
    name: { type: "string", default: "infer-heads" },
    quick: { type: "boolean", default: false },
  },
});
if (!values.model || !values.text) throw new Error("--model and --text are needed");
const chunks = values.quick ? 2 : Number(values.chunks);
const text = new TextDecoder().decode(readWhole(values.text)).slice(0, Number(values.characters));

const name = values.name === "infer-heads" ? "" : ` --name ${values.name}`;
// Of the code as it began: the run takes long.
const began = provenance(`npx tsx bench/infer-heads.ts --model ... --text ... --chunks ${chunks}${name}`);
const variants: PackedEngineOptions[] = [
  { head: "f32", cache: "f32" },
  ...(["f16", "bf16", "int8", "int4"] as const).map((head) => ({ head, cache: "f32" as const })),
  ...(["f16", "int8", "int4"] as const).map((cache) => ({ head: "f32" as const, cache })),
  ...(["int8", "int4"] as const).map((head) => ({ head, cache: "f16" as const })),
  ...(["int8", "int4"] as const).map((both) => ({ head: both, cache: both })),
];
const rows: object[] = [];
let sizes = { tokens: 0, contextTokens: 0 };
for (const variant of variants) {
  const opened = await openEngine(values.model, { packed: variant });
  const { engine, tokenizer, startToken } = opened;
  const ids = Array.from(tokenizer.encode(text));
  if (startToken !== null) ids.unshift(startToken);
  const result = await evaluatePerplexity(engine, ids, { chunks, startToken });
  const { bytesForToken } = (engine as unknown as { report: { bytesForToken: number } }).report;
  rows.push({ ...variant, perplexity: result.perplexity, bytesForToken });
  sizes = { tokens: result.tokens, contextTokens: result.contextTokens };
  console.log(
    `head ${variant.head}, cache ${variant.cache}: perplexity ${result.perplexity.toFixed(4)}, ${bytesForToken} bytes a token`,
  );
  opened.close();
}
writeResult(values.name, { ...began, about: values.about, ...sizes, rows }, values.quick);
