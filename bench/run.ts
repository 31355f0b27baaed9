/**
 * `npm run bench`: every part, one after the other, each in a process of its own, so that one that fails stops no other.
 *
 *   npm run bench                          all but precision: some 25 minutes on a machine that does nothing else
 *   npm run bench -- kernels               one part; `npm run bench -- steps --only tiny --rounds 5` hands options on
 *   npm run bench -- --quick               a trial of all parts in a minute or two, whose times mean nothing
 *
 * Results go to bench/results/ (a trial's to build/bench-quick/); `npm run docs:results` draws docs/performance.md from them.
 */
import { spawnSync } from "node:child_process";
import { loadavg } from "node:os";
import { resolve } from "node:path";

const parts: Record<string, { file: string; what: string }> = {
  kernels: { file: "kernels-openblas.ts", what: "matrix products against OpenBLAS" },
  sweep: { file: "sweep.ts", what: "matrix products over odd shapes" },
  breakdown: { file: "breakdown.ts", what: "where the milliseconds of a step go" },
  threads: { file: "threads.ts", what: "one thread and two" },
  memory: { file: "memory.ts", what: "peak and resident memory" },
  steps: { file: "steps.ts", what: "whole steps beside PyTorch" },
  feed: { file: "feed.ts", what: "how long a step waits for its batch, in turns read here and ahead; by name alone" },
  tokenizer: { file: "tokenizer.ts", what: "encoding, over texts and tokenizers" },
  dedup: { file: "dedup.ts", what: "deduplication of up to a million documents; by name alone" },
  data: { file: "data.ts", what: "whole preparations, stage by stage; by name alone" },
  precision: { file: "precision.ts", what: "the losses of float32, bfloat16 and 8-bit moments; by name alone" },
};

const [first, ...rest] = process.argv.slice(2);
const named = first && !first.startsWith("-") ? first : null;
if (named && !Object.hasOwn(parts, named)) {
  console.error(`bench: there is no part "${named}"; parts are:`);
  for (const [name, { what }] of Object.entries(parts)) console.error(`  ${name.padEnd(10)} ${what}`);
  process.exit(2);
}
const args = named ? rest : process.argv.slice(2);
const wanted = named ? [named] : Object.keys(parts).filter((name) => !parts[name].what.endsWith("by name alone"));
// Parts have options of their own; all of them know this one alone.
const stray = named ? undefined : args.find((arg) => arg !== "--quick");
if (stray) {
  console.error(`bench: ${stray} belongs to one part; name it: npm run bench -- steps ${stray}`);
  process.exit(2);
}
if (loadavg()[0] > 0.5 && !args.includes("--quick"))
  console.log(`bench: the load of the last minute is ${loadavg()[0].toFixed(1)}; times are of a busy machine`);

const failed: string[] = [];
for (const name of wanted) {
  console.log(`\n==== ${name}: ${parts[name].what}`);
  const started = Date.now();
  const file = resolve(import.meta.dirname, parts[name].file);
  const { status } = spawnSync(process.execPath, ["--import", "tsx", file, ...args], { stdio: "inherit" });
  if (status !== 0) failed.push(name);
  console.log(`==== ${name}: ${status === 0 ? "done" : "FAILED"} in ${((Date.now() - started) / 60e3).toFixed(1)} min`);
}
if (failed.length > 0) {
  console.error(`\nbench: failed: ${failed.join(", ")}`);
  process.exitCode = 1;
}
