// A real process, really killed (SIGKILL): amid reading, deduplicating, training its tokenizer, encoding, writing shards.
// Oracle: the same command, left alone. Whatever the moment, the next run comes to the same bytes.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Moment, startBitnet } from "./support/signalled.ts";

// In memory where the system has such a folder: a killed process loses nothing of it, and every part that is finished waits
// for the disk otherwise.
const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = mkdtempSync(join(base, "bitnet-prepare-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

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

const start = (output: string, moment: Moment | undefined, ...more: string[]) =>
  startBitnet(["data", "prepare", recipe, "-o", output, "--json", ...more], moment);

const bytesOf = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString("latin1")]));

describe("a preparation that is killed", () => {
  test("goes on to the same bytes, whatever the moment and the threads", async () => {
    const left = join(folder, "left-alone");
    // Meanwhile: the two know nothing of each other.
    const whole = start(left, undefined, "--threads", "0");
    const output = join(folder, "killed");
    const moments: [moment: Moment, threads: number][] = [
      [{ call: "renameSync", path: "/markers/text-", count: 3 }, 0],
      [{ call: "writeSync", path: "/dedup/", count: 2, torn: true }, 0],
      [{ call: "renameSync", path: "/tokenizer/", count: 1 }, 0],
      // Threads where documents are encoded; elsewhere they would only take time to start.
      [{ call: "renameSync", path: "/markers/encoded-", count: 3 }, 2],
      [{ call: "writeSync", path: "/result/", count: 2, torn: true }, 0],
      [{ call: "renameSync", path: "/markers/shard-", count: 7 }, 0],
    ];
    for (const [moment, threads] of moments) {
      const killed = start(output, moment, "--threads", String(threads));
      expect(await killed.ended, `${JSON.stringify(moment)}: ${killed.said.join("")}`).toBe("SIGKILL");
    }
    expect(existsSync(output)).toBe(false);
    const last = start(output, undefined, "--threads", "1");
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
