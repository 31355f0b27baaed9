// A real process, really killed (SIGKILL), at moments that nobody chose exactly: amid reading, deduplicating, encoding,
// writing shards. Oracle: the same command, left alone. Whatever the moment, the next run comes to the same bytes.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

// In memory where the system has such a folder: a killed process loses nothing of it, and every part that is finished waits
// for the disk otherwise.
const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = mkdtempSync(join(base, "bitnet-prepare-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const main = resolve(import.meta.dirname, "../src/cli/main.ts");

const words = "the a small old red river boat cat dog house tree went saw found lost sang".split(" ");
let state = 1;
const random = (n: number) => {
  state = (state * 48271) % 2147483647;
  return state % n;
};
const documents = Array.from({ length: 1500 }, (_, i) =>
  i % 9 === 8 ? "" : Array.from({ length: 8 + random(90) }, () => words[random(words.length)]).join(" "),
).map((text, i, all) => text || all[i - 3]);
for (let part = 0; part < 5; part++) {
  const rows = documents
    .filter((_, i) => i % 5 === part)
    .map((text) => JSON.stringify({ text, score: text.length % 6 }));
  writeFileSync(join(folder, `part-${part}.jsonl`), `${rows.join("\n")}\n`);
}
const recipe = join(folder, "recipe.yaml");
writeFileSync(
  recipe,
  `
name: mine
about: words
licence: CC0-1.0
sources:
  - { name: parts, paths: "part-*.jsonl", licence: CC0-1.0, fields: { score: score } }
filters: [{ length: { minWords: 9 } }]
dedup: { near: false }
tokenizer: { train: bpe, vocabSize: 300 }
packing: { kind: best-fit, sequence: 128 }
shuffle: 3
shards: { tokens: 6400 }
validation: 0.05
`,
);

function start(output: string, ...more: string[]) {
  const args = ["--import", "tsx", main, "data", "prepare", recipe, "-o", output, "--json", ...more];
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: resolve(import.meta.dirname, ".."),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data: Buffer) => said.push(data.toString()));
  return { child, said, ended: new Promise<number | null>((done) => child.on("close", done)) };
}

const filesIn = (path: string) => (existsSync(path) ? readdirSync(path) : []);
const markers = (output: string, of: string) =>
  filesIn(join(`${output}.work`, "markers")).filter((name) => name.startsWith(of)).length;

/** Starts the command, and kills it once `moment` has come. False if it ended before. */
async function killWhen(moment: () => boolean, output: string, ...more: string[]): Promise<boolean> {
  const { child, ended } = start(output, ...more);
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over && !moment()) await new Promise((next) => setTimeout(next, 3));
  const killed = child.kill("SIGKILL");
  await ended;
  return killed && child.signalCode === "SIGKILL";
}

const bytesOf = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString("latin1")]));

describe("a preparation that is killed", () => {
  test("goes on to the same bytes, whatever the moment and the threads", { timeout: 240_000 }, async () => {
    const left = join(folder, "left-alone");
    // Meanwhile: the two know nothing of each other.
    const whole = start(left, "--threads", "0");
    const output = join(folder, "killed");
    const work = `${output}.work`;
    const moments = [
      () => markers(output, "text-") >= 2,
      () => existsSync(join(work, "dedup", "signatures")),
      () => filesIn(join(work, "tokenizer")).length > 0,
      () => markers(output, "encoded-") >= 2,
      () => filesIn(join(work, "result")).some((name) => name.includes(".tmp-")),
      () => markers(output, "shard-") >= 6,
    ];
    // Threads where documents are encoded; elsewhere they would only take time to start.
    const threads = [0, 0, 0, 2, 0, 0];
    let kills = 0;
    for (const [i, moment] of moments.entries())
      if (await killWhen(moment, output, "--threads", String(threads[i]))) kills++;
    expect(kills).toBeGreaterThanOrEqual(4);
    expect(existsSync(output)).toBe(false);
    const last = start(output, "--threads", "1");
    expect(await last.ended, last.said.join("")).toBe(0);
    expect(await whole.ended, whole.said.join("")).toBe(0);
    const { counts, splits } = JSON.parse(readFileSync(join(left, "dataset.json"), "utf8"));
    // Counted again, from the documents.
    const long = documents.filter((text) => text.split(" ").length >= 9);
    expect(counts).toMatchObject({
      read: documents.length,
      filtered: { "length: too-few-words": documents.length - long.length },
      duplicates: { exact: long.length - new Set(long).size },
    });
    expect(counts.train + counts.valid).toBe(new Set(long).size);
    expect(splits.train.shards.length).toBeGreaterThan(6);
    expect(bytesOf(output)).toEqual(bytesOf(left));
    expect(readdirSync(folder).filter((name) => /\.(work|tmp|old)/.test(name))).toEqual([]);
  });
});
