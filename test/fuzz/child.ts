/**
 * The process that reads damaged files, one after another: run.ts begins it, is told which one is being read, and ends it
 * where one takes too long. Arguments: format, seed, first number, last number.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { formats } from "./formats.ts";
import { unclear } from "./judge.ts";
import { mutate, randomOf } from "./mutate.ts";

export type ChildMessage =
  | { type: "ready" }
  | { type: "begin"; number: number }
  | { type: "finding"; number: number; what: string }
  | { type: "done"; refused: number; read: number };

const [name, seed, first, last] = process.argv.slice(2);
const send = (message: ChildMessage) => process.send!(message);
const format = formats[name];
const folder = mkdtempSync(join(tmpdir(), "bitnet-fuzz-"));
const good = join(folder, "good");
const work = join(folder, "work");
mkdirSync(good);

process.on("disconnect", () => process.exit(1));
try {
  const seeds = await format.seed(good, (file, bytes) => {
    const path = join(good, file);
    writeFileSync(path, bytes);
    return path;
  });
  cpSync(good, work, { recursive: true });
  const originals = seeds.map((path) => ({ path: join(work, relative(good, path)), bytes: readFileSync(path) }));
  send({ type: "ready" });
  let refused = 0;
  const count = Number(last) - Number(first);
  for (let number = Number(first); number < Number(last); number++) {
    const random = randomOf(Number(seed) * 1e6 + number);
    const { path, bytes } = originals[random.integer(originals.length)];
    const damaged = mutate(bytes, random, format.text);
    writeFileSync(path, damaged);
    send({ type: "begin", number });
    const before = process.resourceUsage().maxRSS;
    try {
      await format.read(path, work);
    } catch (error) {
      refused++;
      const what = unclear(error);
      if (what) send({ type: "finding", number, what });
    }
    // maxRSS is in KiB, and only ever grows: it does so by what this one took beyond all before.
    const grown = 1024 * (process.resourceUsage().maxRSS - before);
    const most = 10 * damaged.length + 64 * 2 ** 20;
    if (grown > most) send({ type: "finding", number, what: `takes ${grown} bytes of memory for ${damaged.length}` });
    writeFileSync(path, bytes);
  }
  send({ type: "done", refused, read: count - refused });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
