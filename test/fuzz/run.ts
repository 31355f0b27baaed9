/**
 * `npm run fuzz -- gguf --count 100000`: damaged files in great number through a reader, or through all of them. What is
 * looked for: a signal, a file that takes longer than 5 s, memory past 10 times the file and 64 MB, and an unclear error.
 * The same seed gives the same files. A finding is written to fuzz-findings/ with what it did; once mended, it goes to
 * test/fixtures/fuzz/FORMAT/, which `npm test` reads (test/fuzz-corpus.test.ts).
 */
import { fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import type { ChildMessage } from "./child.ts";
import { formats } from "./formats.ts";
import { mutate, randomOf } from "./mutate.ts";

/** Files in one process: what a reader might keep is not carried on for ever. */
const filesOfProcess = 20_000;

const whole = (word: string): number => {
  if (!/^\d+$/.test(word)) throw new InvalidArgumentError("expected a whole number");
  return Number(word);
};
const command = new Command("fuzz")
  .argument("[formats...]", `of ${Object.keys(formats).join(", ")} (default: all)`)
  .option("--count <n>", "damaged files of each format", whole, 1000)
  .option("--seed <n>", "another seed gives other files", whole, 1)
  .option("--first <n>", "number of the first: to see one again, with --count 1", whole, 0)
  .option("--limit <s>", "seconds that one file may take", Number, 5)
  .option("--keep <folder>", "where findings are written", "fuzz-findings")
  .parse();
const options = command.opts<{ count: number; seed: number; first: number; limit: number; keep: string }>();
const names = command.args.length > 0 ? command.args : Object.keys(formats);
const unknown = names.find((name) => !Object.hasOwn(formats, name));
if (unknown !== undefined) command.error(`unknown format "${unknown}"; formats are ${Object.keys(formats).join(", ")}`);

interface Finding {
  number: number;
  what: string;
}

/** Runs one process over some numbers. @returns the number to go on from */
function runChild(name: string, first: number, last: number, found: (finding: Finding) => void): Promise<number> {
  return new Promise((done) => {
    const child = fork(
      join(import.meta.dirname, "child.ts"),
      [name, String(options.seed), String(first), String(last)],
      {
        execArgv: ["--import", "tsx"],
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      },
    );
    let at = first;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let late = false;
    let ready = false;
    child.on("message", (message: ChildMessage) => {
      clearTimeout(timer);
      ready = true;
      if (message.type === "begin") {
        at = message.number;
        timer = setTimeout(() => {
          late = true;
          child.kill("SIGKILL");
        }, 1000 * options.limit);
      } else if (message.type === "finding") found(message);
      else if (message.type === "done") at = last;
    });
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return done(last);
      if (!ready) throw new Error(`${name}: the good files could not be made; see above`);
      found({
        number: at,
        what: late ? `takes longer than ${options.limit} s` : `ends the process (${signal ?? `code ${code}`})`,
      });
      done(at + 1);
    });
  });
}

/** The damaged file of a number, again. */
async function fileOf(name: string, number: number): Promise<{ bytes: Uint8Array; file: string }> {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-fuzz-"));
  try {
    const seeds = await formats[name].seed(folder, (file, content) => {
      writeFileSync(join(folder, file), content);
      return join(folder, file);
    });
    const random = randomOf(options.seed * 1e6 + number);
    const path = seeds[random.integer(seeds.length)];
    return { bytes: mutate(readFileSync(path), random, formats[name].text), file: basename(path) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

let failed = 0;
for (const name of names) {
  const findings: Finding[] = [];
  const last = options.first + options.count;
  for (let at = options.first; at < last; )
    at = await runChild(name, at, Math.min(last, at + filesOfProcess), (finding) => {
      findings.push(finding);
      console.log(`${name} ${finding.number}: ${finding.what}`);
    });
  for (const { number, what } of findings.slice(0, 100)) {
    const { bytes, file } = await fileOf(name, number);
    const folder = resolve(options.keep, name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${options.seed}-${number}-${file}`), bytes);
    writeFileSync(join(folder, `${options.seed}-${number}-${file}.what`), `${what}\n`);
  }
  failed += findings.length;
  console.log(`${name}: ${options.count} files, ${findings.length} findings`);
}
process.exitCode = failed > 0 ? 1 : 0;
