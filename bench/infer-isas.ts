/**
 * Reading and writing speed of the packed engine on each instruction set and in each form of ternary weights: pp512 and tg128,
 * as bench/infer.ts takes them and on its file, in turns. Before that the answers are checked: every one's logits against the
 * first one's, for the integer products are the same.
 *
 *   npx tsx bench/infer-isas.ts --shape 700m --threads 2 --rounds 3
 *   npx tsx bench/infer-isas.ts --quick --shape tiny           to see that it works; results go beside the build
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type BackendChoice, findBackends } from "../src/backends/index.ts";
import type { PackedEngineOptions } from "../src/infer/index.ts";
import { writeRandomGguf } from "./infer-model.ts";
import { type Contender, cosine, ours, shapes } from "./infer-rates.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: "700m" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    head: { type: "string", default: "int8" },
    cache: { type: "string", default: "f16" },
    folder: { type: "string", default: join(tmpdir(), "bitnet-bench-infer") },
    name: { type: "string", default: "infer-isas" },
    quick: { type: "boolean", default: false },
  },
});
const threads = Number(values.threads);
const rounds = values.quick ? 1 : Number(values.rounds);
const [promptTokens, writtenTokens] = [512, 128];
/** float32 sums of heads and attention differ in their order; an int8 code may then fall on the other side. */
const leastCosine = 0.99;

const file = await writeRandomGguf(values.folder, values.shape, shapes[values.shape]);
const about = provenance(`npx tsx bench/infer-isas.ts ${process.argv.slice(2).join(" ")}`.trim());
const sets = new Map<string, BackendChoice>();
for (const { choice, absent } of await findBackends()) {
  if (choice.backend === "reference") continue;
  if (absent) console.log(`left out: ${choice.backend} ${choice.isa}: ${absent}`);
  else sets.set(choice.backend === "wasm" ? "wasm" : choice.isa, { backend: choice.backend, isa: choice.isa });
}
const contenders: { isa: string; contender: Contender }[] = [];
for (const [isa, choice] of [...sets].reverse())
  for (const weights of ["2bit", "trits"] as const) {
    const packed = { weights, head: values.head, cache: values.cache } as PackedEngineOptions;
    contenders.push({ isa, contender: await ours(file, threads, packed, choice) });
  }

const checkTokens = Array.from({ length: 20 }, (_, i) => 3 + ((7 * i) % 1900));
const expected = await contenders[0].contender.logits(checkTokens);
const results = [];
for (const { isa, contender } of contenders) {
  const agreement = cosine(await contender.logits(checkTokens), expected);
  if (!(agreement > leastCosine))
    throw new Error(
      `${isa}, ${contender.weights}: logits agree with ${contenders[0].isa}'s to a cosine of ${agreement}`,
    );
  results.push({ isa, weights: contender.weights, cosine: agreement, pp512: [] as number[], tg128: [] as number[] });
  await contender.promptRate(64);
  await contender.decodeRate(8);
}
for (let round = 0; round < rounds; round++)
  for (const [i, { contender }] of contenders.entries()) {
    // Another pool's threads may spin a little after their turn.
    await new Promise((done) => setTimeout(done, 50));
    results[i].pp512.push(await contender.promptRate(promptTokens));
    results[i].tg128.push(await contender.decodeRate(writtenTokens));
  }
for (const { contender } of contenders) await contender.close();
const rows = results.map((row) => ({ ...row, pp512: medianOf(row.pp512), tg128: medianOf(row.tg128) }));
for (const { isa, weights, pp512, tg128 } of rows)
  console.log(`${values.shape}, ${isa}, ${weights}: pp512 ${pp512.toFixed(1)}, tg128 ${tg128.toFixed(1)}`);
const { shape, head, cache } = values;
writeResult(values.name, { ...about, shape, threads, rounds, head, cache, rows }, values.quick);
