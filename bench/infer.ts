/**
 * Reading and writing speed of the packed engine (pp512, tg128: tokens/s of a prompt of 512, and of 128 tokens one by one),
 * random ternary weights at full shapes, beside what memory allows and beside node-llama-cpp: rounds in which every program
 * takes its turn. Each engine's answer is checked before it is timed (bench/infer-rates.ts).
 *
 *   npm run bench:infer                                        all shapes, 1 and 2 threads, int8 head
 *   npm run bench:infer -- --shapes 100m --threads 2 --head int4 --weights trits --cache f16
 *   npm run bench:infer -- --shapes 700m --llama model-tq2_0.gguf    interleaved with node-llama-cpp (test/judges) on it
 *
 * The floor of a token's time is the bytes of weights that it must read over the speed at which as many threads read
 * memory; `of the floor` is how near the engine comes. Small models lie in the caches and may pass it.
 */
import { parseArgs } from "node:util";
import type { PackedEngineOptions } from "../src/infer/index.ts";
import { llamaCpp, memoryGigabytesPerSecond, ours, type Rates, shapes } from "./infer-rates.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values } = parseArgs({
  options: {
    shapes: { type: "string", default: Object.keys(shapes).join(",") },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "3" },
    weights: { type: "string", default: "2bit" },
    head: { type: "string", default: "int8" },
    cache: { type: "string", default: "f16" },
    llama: { type: "string" },
    name: { type: "string", default: "infer" },
    quick: { type: "boolean", default: false },
  },
});

function chosen<T extends string>(name: "weights" | "head" | "cache", allowed: readonly T[]): T {
  const value = values[name];
  if (!(allowed as readonly string[]).includes(value))
    throw new Error(`--${name} ${value}: expected ${allowed.join(", ")}`);
  return value as T;
}
const options: PackedEngineOptions = {
  weights: chosen("weights", ["2bit", "trits"] as const),
  head: chosen("head", ["f32", "bf16", "f16", "int8", "int4"] as const),
  cache: chosen("cache", ["f32", "f16", "int8", "int4"] as const),
};
const threadCounts = values.threads.split(",").map(Number);
const wanted = values.shapes.split(",");
for (const shape of wanted)
  if (!shapes[shape]) throw new Error(`--shapes ${shape}: shapes are ${Object.keys(shapes).join(", ")}`);
if (values.llama && wanted.length !== 1)
  throw new Error("--llama is a file of one shape: name that shape with --shapes");

const memory = new Map<number, number>();
for (const threads of threadCounts) memory.set(threads, await memoryGigabytesPerSecond(threads));
for (const [threads, rate] of memory) console.log(`memory, ${threads} threads: ${rate.toFixed(1)} GB/s`);

const results: object[] = [];
for (const shape of wanted) {
  const contenders: (Rates & { threads: number; bytesForToken: number | null })[] = [];
  for (const threads of threadCounts) {
    contenders.push({ ...(await ours(shape, threads, options)), threads });
    const llama = values.llama ? await llamaCpp(values.llama, threads) : null;
    if (llama) contenders.push({ ...llama, threads, bytesForToken: null });
    else if (values.llama) console.log("node-llama-cpp is not installed in test/judges: ours alone");
  }
  const rates = contenders.map(() => ({ prompt: [] as number[], decode: [] as number[] }));
  for (let round = -1; round < (values.quick ? 1 : Number(values.rounds)); round++)
    for (const [i, contender] of contenders.entries()) {
      const prompt = await contender.promptTokensPerSecond();
      const decode = await contender.decodeTokensPerSecond();
      if (round < 0) continue; // warm
      rates[i].prompt.push(prompt);
      rates[i].decode.push(decode);
    }
  for (const [i, { name, threads, bytesForToken }] of contenders.entries()) {
    const [pp512, tg128] = [medianOf(rates[i].prompt), medianOf(rates[i].decode)];
    const floorTokensPerSecond = bytesForToken === null ? null : ((memory.get(threads) ?? 0) * 1e9) / bytesForToken;
    const ofFloor = floorTokensPerSecond === null ? null : tg128 / floorTokensPerSecond;
    console.log(
      `${shape}, ${name}: pp512 ${pp512.toFixed(0)}, tg128 ${tg128.toFixed(1)} tokens/s` +
        (floorTokensPerSecond === null || bytesForToken === null || ofFloor === null
          ? ""
          : `; ${(bytesForToken / 1e6).toFixed(0)} MB a token, floor ${floorTokensPerSecond.toFixed(0)} tokens/s, ${(100 * ofFloor).toFixed(0)} % of the floor`),
    );
    const best = { pp512: Math.max(...rates[i].prompt), tg128: Math.max(...rates[i].decode) };
    results.push({ shape, name, threads, pp512, tg128, best, bytesForToken, floorTokensPerSecond, ofFloor });
  }
  for (const contender of contenders) await contender.close();
}
const memoryRates = Object.fromEntries([...memory].map(([threads, rate]) => [threads, rate]));
const command = `npm run bench:infer -- ${process.argv.slice(2).join(" ")}`.trim();
writeResult(
  values.name,
  { ...provenance(command), options, memoryGigabytesPerSecond: memoryRates, results },
  values.quick,
);
