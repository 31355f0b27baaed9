// Oracle: what goes in comes out again; the library's own sets and datasets; and the contract of exit codes.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import {
  arithmetic,
  createArithmetic,
  problemText,
  pythonSubset,
  readPrepareReport,
  take,
} from "../../corpus/index.ts";
import { openShards, readManifest } from "../../data/index.ts";
import { loadTokenizer } from "../../tokenizer/index.ts";
import { dataCommand } from "./data.ts";
import { describeError, throwErrors } from "../support/run.ts";
import { tokenizerCommand } from "../tokenizer.ts";

/** Runs a command; gives what it writes to the standard output, and to the standard error. */
async function runCommand(
  command: ReturnType<typeof dataCommand>,
  args: string[],
): Promise<{ out: string; err: string }> {
  let [out, err] = ["", ""];
  const text = (chunk: string | Uint8Array) => (typeof chunk === "string" ? chunk : Buffer.from(chunk).toString());
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(((chunk: string) => {
      out += text(chunk);
      return true;
    }) as never),
    vi.spyOn(process.stderr, "write").mockImplementation(((chunk: string) => {
      err += text(chunk);
      return true;
    }) as never),
  ];
  try {
    await throwErrors(command).parseAsync(args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return { out, err };
}
const run = (...args: string[]) => runCommand(dataCommand(), args);

async function setup() {
  const folder = temporaryFolder();
  const stories = Array.from({ length: 120 }, (_, i) => `The cat number ${i} sat on the mat.`);
  const file = join(folder, "stories.txt");
  writeFileSync(file, stories.join("\n<|endoftext|>\n"));
  const tokenizer = join(folder, "tokenizer.json");
  await runCommand(tokenizerCommand(), ["train", "--data", file, "--vocab-size", "280", "-o", tokenizer]);
  const prepare = (...args: string[]) => run("prepare", file, "-t", tokenizer, "--threads", "0", ...args);
  return { folder, file, stories, tokenizer, prepare };
}

test("prepare makes a dataset that holds the documents, says what it holds, and does nothing the second time", async () => {
  const { folder, stories, tokenizer, prepare } = await setup();
  const set = join(folder, "set");
  const { out, err } = await prepare("-o", set);
  expect(err).toMatch(/^bitnet: prepared in .* tokens\/s\n$/);
  expect(out).toContain("train        120  100.00 %");
  const loaded = loadTokenizer(tokenizer);
  const [shard] = openShards(set, "train");
  expect(stories.map((_, i) => loaded.decode(shard.document(i).subarray(0, -1)))).toEqual(stories);
  shard.close();
  const again = await prepare("-o", set);
  expect(again.err).toBe(
    `bitnet: ${set}: was prepared before from the same text, tokenizer and options; nothing to do\n`,
  );
  expect(again.out).toBe(out);
});

test("prepare passes its options on: a split by share or by files, separator, shard size, cache, JSON", async () => {
  const { folder, file, prepare } = await setup();
  const cache = join(folder, "cache");
  const json = async (...args: string[]) => JSON.parse((await prepare("--json", "--cache-dir", cache, ...args)).out);
  const split = await json("--val-fraction", "0.2", "--shard-tokens", "300");
  expect(split.folder.startsWith(cache)).toBe(true);
  expect(split.splits.train.documents + split.splits.valid.documents).toBe(120);
  expect(split.splits.train.shards.length).toBeGreaterThan(2);
  expect((await json("--val", file)).splits.valid.documents).toBe(120);
  expect((await json("--separator", "none")).splits.train.documents).toBe(1);
  await expect(json("--format", "jsonl")).rejects.toThrow("line 1: is not JSON");
  await expect(json("--max-document", "9")).rejects.toThrow("over the limit of 9 bytes");
  await expect(json("--val", file, "--val-fraction", "0.1")).rejects.toThrow("not both");
  expect(readdirSync(cache)).toHaveLength(3);
});

test("inspect shows a dataset as prepare does; --verify finds a changed byte", async () => {
  const { folder, prepare } = await setup();
  const set = join(folder, "set");
  const { out } = await prepare("-o", set, "--val-fraction", "0.1");
  expect((await run("inspect", set)).out).toBe(out);
  expect(JSON.parse((await run("inspect", set, "--json")).out)).toEqual({
    folder: set,
    ...readManifest(set),
    lengths: { train: expect.objectContaining({ shortest: expect.any(Number) }), valid: expect.anything() },
    account: readPrepareReport(set),
  });
  expect((await run("inspect", set, "--verify")).err).toBe(`bitnet: ${set}: all 2 shards are as they were written\n`);
  const path = join(set, "train-00000.bin");
  const bytes = readFileSync(path);
  bytes[300] ^= 1;
  writeFileSync(path, bytes);
  expect((await run("inspect", set)).out).toBe(out);
  await expect(run("inspect", set, "--verify")).rejects.toThrow("the file is damaged, prepare the data again");
  await expect(run("inspect", folder, "--verify")).rejects.toThrow("--verify is for a prepared dataset");
});

/** Eight pages: three are long enough, of which one is French and one has a brace; and a line that is cut. */
function crawl(folder: string) {
  const english = "The river is the heart of the town, and that is what the people have to say of it. ";
  const french = "La rivière est le coeur de la ville, et les gens du pays le disent tous les jours avec joie. ";
  const texts = [english.repeat(6), french.repeat(6), `${english.repeat(6)}{ x }.`, ...Array(5).fill("Too short.")];
  const rows = texts.map((text, i) => JSON.stringify({ body: text.trim(), meta: { n: `page-${i}` }, quality: i }));
  const file = join(folder, "crawl.jsonl");
  writeFileSync(file, [...rows, '{"body": "cut'].join("\n"));
  return { file, kept: texts[0].trim() };
}

test("filter tells what each filter drops, and writes what is left and what is not", async () => {
  const folder = temporaryFolder();
  const { file, kept } = crawl(folder);
  const filters = join(folder, "web.yaml");
  writeFileSync(filters, "filters:\n  - length: { minWords: 20 }\n  - language\n  - c4: { minSentences: 3 }\n");
  const [left, dropped] = [join(folder, "left.jsonl.gz"), join(folder, "dropped.jsonl")];
  const fields = ["--field", "body", "--id-field", "meta.n", "--score-field", "quality"];
  const args = ["filter", file, ...fields, "--filters", filters, "--on-bad-record", "skip"];
  const { out } = await run(...args, "-o", left, "--dropped", dropped);
  expect(out).toContain("8 documents of 1 file, 1 bad record passed over");
  expect(out).toMatch(/crawl\.jsonl: line 9: is not JSON/);
  for (const line of [
    /length +8 +5 +62\.50 %/,
    /too-few-words +5/,
    /language +3 +1/,
    /other-language +1/,
    /curly-bracket +1/,
  ])
    expect(out).toMatch(line);
  expect(out).toMatch(/c4: curly-bracket .*crawl\.jsonl, line 3, page-2\n/);
  const rowsOf = (bytes: Buffer) =>
    bytes
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  expect(rowsOf(gunzipSync(readFileSync(left)))).toEqual([{ text: kept, id: "page-0", language: "en", score: 0 }]);
  const rows = rowsOf(readFileSync(dropped));
  expect(rows.map(({ stage, reason }) => `${stage} ${reason}`).sort()).toEqual([
    "c4 curly-bracket",
    "language other-language",
    ...Array(5).fill("length too-few-words"),
  ]);
  const account = JSON.parse((await run(...args, "--json", "--limit", "3")).out);
  expect(account).toMatchObject({ documents: 1, sources: { documents: 3, bad: 0 } });
  expect(account.stages.map(({ name }: { name: string }) => name)).toEqual(["length", "language", "c4"]);
});

test("prepare filters as it reads, and inspect tells of it", async () => {
  const { folder, tokenizer } = await setup();
  const { file } = crawl(folder);
  const set = join(folder, "set");
  const args = ["prepare", file, "-t", tokenizer, "--threads", "0", "--field", "body", "-o", set];
  await expect(run(...args)).rejects.toThrow("line 9: is not JSON");
  expect(existsSync(set)).toBe(false);
  const { out } = await run(...args, "--on-bad-record", "skip", "--filters", "gopher-quality");
  expect(out).toMatch(/gopher-quality +8 +6 +75\.00 %/);
  expect(out).toMatch(/train +2 +100\.00 %/);
  expect(out).toMatch(/tokens in a document: \d+ to \d+/);
  expect((await run("inspect", set)).out).toBe(out);
  expect((await run("inspect", set, "--samples", "1")).out).toMatch(
    /gopher-quality: too-few-words .*\n {2}Too short\.\n/,
  );
});

test("Ctrl-C ends prepare and generate with nothing half-written", async () => {
  const { folder, prepare } = await setup();
  const before = readdirSync(folder);
  /** Sends the signal as soon as the command listens for it. */
  const interrupted = async (running: () => Promise<unknown>) => {
    const send = (name: string | symbol) => {
      if (name === "SIGINT") setImmediate(() => process.emit("SIGINT"));
    };
    process.on("newListener", send);
    const outcome = await running().catch((error) => error);
    process.off("newListener", send);
    expect(outcome).toMatchObject({ name: "Interrupted", exitCode: 130 });
  };
  await interrupted(() => prepare("-o", join(folder, "set")));
  await interrupted(() => run("generate", "arithmetic", "-n", "10000000", "-o", join(folder, "sums.txt")));
  expect(readdirSync(folder)).toEqual(before);
  expect(process.listenerCount("SIGINT")).toBe(0);
});

test("generate writes the set's problems: to the standard output, to a text file, as JSON lines", async () => {
  const expected = [...take(arithmetic.generate("train", 5), 50)];
  const text = expected.map((problem) => problemText(arithmetic, problem)).join("");
  expect(await run("generate", "arithmetic", "-n", "50", "--seed", "5")).toEqual({ out: text, err: "" });
  const folder = temporaryFolder();
  const file = join(folder, "sums.txt");
  const { out, err } = await run("generate", "arithmetic", "-n", "50", "-s", "5", "-o", file);
  expect([out, err]).toEqual(["", `bitnet: 50 problems, ${text.length} B in ${file}\n`]);
  expect(readFileSync(file, "utf8")).toBe(text);
  const rows = join(folder, "programs.jsonl");
  await run("generate", "python", "-n", "20", "--split", "heldout", "-o", rows);
  for (const line of readFileSync(rows, "utf8").trimEnd().split("\n")) {
    const { text, prompt, answer } = JSON.parse(line);
    expect(text).toBe(prompt + answer);
    expect(pythonSubset.check(prompt, answer)).toBe(true);
    expect(pythonSubset.isHeldOut(prompt.slice(0, -3))).toBe(true);
  }
});

test("generate keeps to the operators asked for and, if asked, to different problems", async () => {
  const args = ["generate", "arithmetic", "-n", "300", "--split", "heldout", "--operators", "+", "-"];
  const lines = (await run(...args, "--distinct")).out.trimEnd().split("\n");
  expect(new Set(lines).size).toBe(300);
  expect(lines.every((line) => / [+-] /.test(line))).toBe(true);
  expect((await run(...args)).out).toBe(
    [...take(createArithmetic(["+", "-"]).generate("heldout", 0), 300)]
      .map((problem) => problemText(arithmetic, problem))
      .join(""),
  );
});

test.for([
  [["generate", "maths", "-n", "1"], 'unknown set "maths"; sets are: arithmetic, python, json', 2],
  [["generate", "json", "-n", "1", "--operators", "+"], "--operators is for arithmetic; leave it out", 2],
  [["generate", "arithmetic", "-n", "0"], "Expected a whole number from 1.", 2],
  [["generate", "arithmetic", "-n", "9", "-o", "a.txt.gz"], "problems are written uncompressed", 2],
  [["filter", "a.txt", "--filters", "gopher"], 'unknown filter "gopher"; expected one of unicode,', 2],
  [["filter", "a.txt", "--filters", "score"], "name it with --score-field", 2],
  [["filter", "a.txt", "-o", "out.parquet"], "documents are written as JSON lines", 2],
  [["filter", "a.txt"], "no such file or folder", 1],
  [["generate", "arithmetic"], "required option '-n, --count <n>' not specified", 2],
  [["prepare", "a.txt"], "name the tokenizer with --tokenizer", 2],
  [["prepare", "a.txt", "-t", "nowhere.json"], "nowhere.json", 1],
] as const)("%j is refused in one line", async ([args, message, code]) => {
  const error = await run(...args).catch((error) => error);
  expect(describeError(error)).toMatchObject({ code, message: expect.stringContaining(message) });
  expect(describeError(error).message).not.toContain("\n");
  expect(existsSync("a.txt.gz")).toBe(false);
});

test("without a command of its own, data prints its help and exits 2 with no other words", async () => {
  const error = await run().catch((error) => error);
  expect(describeError(error)).toEqual({ message: "", code: 2 });
});
