/**
 * Reading and writing speed of the packed engine beside node-llama-cpp, both on the same file of random weights at full
 * shapes (TQ2_0, embeddings in Q6_K): pp512 and tg128, tokens/s of a prompt of 512 and of 128 likeliest tokens one by one.
 * Rounds in which every program, head and number of threads takes its turn. Before that the answers are checked: a prompt
 * read at once against its tokens one by one, and our logits against llama.cpp's. Loading and memory are measured in
 * processes of their own.
 *
 *   npm run bench:infer                                        100m, 700m, 2b4t; 1 and 2 threads; int8 and int4 heads
 *   npm run bench:infer -- --shapes 700m --heads int8 --weights trits --rounds 5
 *   npm run bench:infer -- --quick --shapes tiny               to see that it works; results go beside the build
 *
 * The floor of a token's time is its bytes of weights, and of keys and values so far, over the speed at which as many threads
 * read memory; of a prompt's, its int8 operations at the unit's peak and its attention at float32's. Files are kept in
 * --folder (the system's temporary one).
 */
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { PackedEngineOptions } from "../src/infer/index.ts";
import { writeRandomGguf } from "./infer-model.ts";
import { type Contender, cosine, llamaCpp, ours, promptOperations, shapes } from "./infer-rates.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";
import { loadHelper } from "./native-helper.ts";

const { values } = parseArgs({
  options: {
    shapes: { type: "string", default: "100m,700m,2b4t" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "3" },
    weights: { type: "string", default: "auto" },
    heads: { type: "string", default: "int8,int4" },
    cache: { type: "string", default: "f16" },
    folder: { type: "string", default: join(tmpdir(), "bitnet-bench-infer") },
    name: { type: "string", default: "infer" },
    quick: { type: "boolean", default: false },
  },
});

const list = (name: "shapes" | "threads" | "heads", allowed?: readonly string[]): string[] => {
  const wanted = values[name].split(",");
  const wrong = allowed && wanted.find((one) => !allowed.includes(one));
  if (wrong !== undefined) throw new Error(`--${name} ${wrong}: expected ${allowed?.join(", ")}`);
  return wanted;
};
const wanted = list("shapes", Object.keys(shapes));
const threadCounts = list("threads").map(Number);
const heads = list("heads", ["f32", "bf16", "f16", "int8", "int4"]);
const common = { weights: values.weights, cache: values.cache } as PackedEngineOptions;
const rounds = values.quick ? 1 : Number(values.rounds);
const [promptTokens, writtenTokens] = [512, 128];

const helper = await loadHelper();
const machine = threadCounts.map((threads) => ({
  threads,
  int8Gops: helper.peak("int8", threads),
  floatGflops: helper.peak("float32", threads),
  /** Of every round: what a shared machine's memory gives changes by the minute. */
  reads: [] as number[],
}));
for (const { threads, int8Gops } of machine)
  console.log(`${threads} threads: int8 ${int8Gops > 0 ? `${int8Gops.toFixed(0)} GOP/s` : "peak not known here"}`);

/**
 * Our engine's int8 per token against llama.cpp's per 256, and its F16 cache: through many random layers they drift, and a
 * head of four bits, which is the embeddings' too, moves the first layer's codes.
 */
const leastCosine = (head: string) => (head === "int4" ? 0.95 : 0.995);
const checkTokens = Array.from({ length: 20 }, (_, i) => 3 + ((7 * i) % 1900));

/** The least cosines of logits: of a prompt at once and one by one, and by head with llama.cpp's. */
async function check(
  contenders: readonly Contender[],
): Promise<{ onePiece: number; llama: Record<string, number> | null }> {
  const judge = contenders.find(({ program }) => program === "node-llama-cpp");
  const expected = judge ? await judge.logits(checkTokens) : null;
  let onePiece = 1;
  const llama: Record<string, number> = {};
  for (const contender of contenders) {
    if (contender.program !== "bitnet.ts") continue;
    const { threads, head } = contender;
    const prompt = await contender.logits(checkTokens);
    const single = await contender.logitsOneByOne!(checkTokens);
    onePiece = Math.min(onePiece, cosine(prompt, single));
    if (expected) llama[head!] = Math.min(llama[head!] ?? 1, cosine(prompt, expected));
    if (!(onePiece > 0.99 && (!expected || llama[head!] > leastCosine(head!))))
      throw new Error(
        `${head} head, ${threads} threads: a prompt and its tokens one by one agree to a cosine of ${onePiece}, with llama.cpp to ${llama[head!]}`,
      );
  }
  return { onePiece, llama: expected ? llama : null };
}

const about = provenance(`npm run bench:infer -- ${process.argv.slice(2).join(" ")}`.trim());
const results: object[] = [];
const loads: object[] = [];
const agreements: object[] = [];
const leftOut: string[] = [];
for (const shape of wanted) {
  const config = shapes[shape];
  const file = await writeRandomGguf(values.folder, shape, config);
  for (const head of heads) {
    const args = ["--threads", String(Math.max(...threadCounts)), "--head", head];
    const script = resolve(import.meta.dirname, "infer-load.ts");
    const more = ["--weights", values.weights, "--cache", values.cache];
    const out = execFileSync(process.execPath, ["--import", "tsx", script, file, ...args, ...more], {
      encoding: "utf8",
    });
    const load = JSON.parse(out);
    loads.push({ shape, head, threads: Math.max(...threadCounts), ...load });
    console.log(
      `${shape}, ${head} head: ${(load.fileBytes / 1e6).toFixed(0)} MB opened in ${load.loadMs.toFixed(0)} ms; ${(load.peak / 1e6).toFixed(0)} MB at most, ${(load.residentBefore / 1e6).toFixed(0)} of them before, cache ${(load.cacheBytes / 1e6).toFixed(0)}`,
    );
  }
  const contenders: Contender[] = [];
  for (const threads of threadCounts) {
    for (const head of heads) contenders.push(await ours(file, threads, { ...common, head } as PackedEngineOptions));
    const llama = await llamaCpp(file, threads);
    if (llama) contenders.push(llama);
    else if (leftOut.length === 0) leftOut.push("node-llama-cpp: it is not installed in test/judges");
  }
  const agreement = await check(contenders);
  console.log(
    `${shape}: cosine of a prompt at once and one by one ${agreement.onePiece.toFixed(5)}, with llama.cpp ${JSON.stringify(agreement.llama) ?? "not measured"}`,
  );
  const rates = contenders.map(() => ({ prompt: [] as number[], decode: [] as number[] }));
  for (const contender of contenders) {
    await contender.promptRate(64);
    await contender.decodeRate(8);
  }
  const firstRead = machine[0].reads.length;
  for (let round = 0; round < rounds; round++) {
    for (const { threads, reads } of machine) reads.push(helper.readRate(threads));
    for (const [i, contender] of contenders.entries()) {
      // Another program's threads may spin a little after their turn.
      await new Promise((done) => setTimeout(done, 50));
      rates[i].prompt.push(await contender.promptRate(promptTokens));
      rates[i].decode.push(await contender.decodeRate(writtenTokens));
    }
  }
  const operations = promptOperations(config, promptTokens);
  for (const [i, contender] of contenders.entries()) {
    const { program, threads, head, weights, bytesForToken, bytesForPosition } = contender;
    const { reads, int8Gops, floatGflops } = machine.find((m) => m.threads === threads)!;
    const readGBs = medianOf(reads.slice(firstRead));
    const [pp512, tg128] = [medianOf(rates[i].prompt), medianOf(rates[i].decode)];
    const best = { pp512: Math.max(...rates[i].prompt), tg128: Math.max(...rates[i].decode) };
    // Of the keys and values a token reads those of all positions so far, itself included.
    const cacheBytes = (bytesForPosition ?? 0) * ((writtenTokens + 1) / 2);
    const decodeFloor = bytesForToken === null ? null : (readGBs * 1e9) / (bytesForToken + cacheBytes);
    const promptSeconds = operations.int8 / (int8Gops * 1e9) + operations.float / (floatGflops * 1e9);
    // A rate of 0 is one that this processor has no loop for: then there is no floor.
    const known = program === "bitnet.ts" && int8Gops > 0 && floatGflops > 0;
    const floors = { tg128: decodeFloor, pp512: known ? promptTokens / promptSeconds : null };
    results.push({
      ...{ shape, program, head, weights, threads, pp512, tg128, best, bytesForToken, cacheBytes, readGBs, floors },
    });
    const of = (rate: number, floor: number | null) =>
      floor === null ? "" : ` (${((100 * rate) / floor).toFixed(0)} % of ${floor.toFixed(0)})`;
    console.log(
      `${shape}, ${program}${head ? `, ${head} head` : ""}, ${threads} threads: pp512 ${pp512.toFixed(0)}${of(pp512, floors.pp512)}, tg128 ${tg128.toFixed(1)}${of(tg128, floors.tg128)}`,
    );
  }
  for (const contender of contenders) await contender.close();
  agreements.push({ shape, fileBytes: statSync(file).size, ...agreement });
  // After each shape: what was measured stays if a later one fails.
  const peaks = machine.map(({ reads, ...peak }) => ({ ...peak, readGBs: medianOf(reads) }));
  writeResult(
    values.name,
    { ...about, options: { ...common, rounds }, peaks, loads, agreements, results, leftOut },
    values.quick,
  );
}
