// Oracle: the library's own inspection, which has tests of its own; and the contract of exit codes.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { inspectSources } from "../../corpus/index.ts";
import { saveTokenizer, trainBpe } from "../../tokenizer/index.ts";
import { inspectCommand } from "./inspect.ts";
import { dataCommand } from "./data.ts";
import { describeError, throwErrors } from "../support/run.ts";

/** Runs a command; gives what it writes to the standard output, and to the standard error. */
async function run(...args: string[]): Promise<{ out: string; err: string }> {
  const written = { out: "", err: "" };
  const catcher = (where: "out" | "err") =>
    ((chunk: string | Uint8Array) => {
      written[where] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
      return true;
    }) as never;
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(catcher("out")),
    vi.spyOn(process.stderr, "write").mockImplementation(catcher("err")),
  ];
  try {
    const command = args[0] === "inspect" ? inspectCommand() : dataCommand();
    await throwErrors(command).parseAsync(args[0] === "inspect" ? args.slice(1) : args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return written;
}

async function setup() {
  const folder = temporaryFolder();
  const words = Array.from({ length: 60 }, (_, i) => `word${i}`).join(" ");
  const texts = [`one ${words}`, `two ${words}`, "Too short.", words, words.toUpperCase()];
  const file = join(folder, "web.jsonl");
  writeFileSync(file, texts.map((body) => JSON.stringify({ body })).join("\n"));
  const tokenizer = join(folder, "tokenizer.json");
  saveTokenizer((await trainBpe(texts, { vocabSize: 300 })).tokenizer, tokenizer);
  return { folder, file, tokenizer, inspect: (...args: string[]) => run("inspect", file, "--field", "body", ...args) };
}

test("text: counts, lengths, what filters drop with samples, duplicates side by side, tokens per byte", async () => {
  const { folder, file, tokenizer, inspect } = await setup();
  const page = join(folder, "page.html");
  const { out, err } = await inspect(
    ...["-t", tokenizer, "--threads", "0", "--filters", "gopher-quality", "--duplicates", "--html", page],
  );
  expect(err).toContain(`bitnet: the page is in ${page}\n`);
  expect(out).toMatch(/^read {7}5 documents of 1 file\n/);
  expect(out).toContain("tokens/byte");
  expect(out).toMatch(/gopher-quality: too-few-words \(2, .*\n {2}Too short\.\n/);
  expect(out).toMatch(/characters in a document: .*\n[\s\S]*tokens in a document: /);
  expect(out).toMatch(/exact +1 +20\.00 %\nnear +2 +40\.00 %\nleft +2 +40\.00 %\n/);
  // Words that the other lacks stand in brackets, here all of the line but the first.
  expect(out).toMatch(
    /near, similarity 0\.9\d\d\n {2}dropped {2}.*web\.jsonl, document 2\n {2}stays .*document 1\n\[two\] word0 .* \| \[one\] word0 /,
  );
  const html = readFileSync(page, "utf8");
  expect(html).toContain("<mark>two</mark>");
  expect(html).toContain(file);
});

test("--json gives what the library finds; --limit and --duplicates exact are handed on", async () => {
  const { file, inspect } = await setup();
  const json = JSON.parse((await inspect("--json", "--limit", "4", "--duplicates", "exact", "--threads", "0")).out);
  const expected = await inspectSources({ sources: [file], field: "body", limit: 4, samples: 2 });
  expect(json).toMatchObject({ ...JSON.parse(JSON.stringify(expected)), duplicates: { documents: 4, kept: 4 } });
  expect(json.duplicates.options.near).toBe(false);
});

test("a dataset and a deduplication are told from text, and have pages too", async () => {
  const { folder, file, tokenizer } = await setup();
  const set = join(folder, "set");
  await run("prepare", file, "--field", "body", "-t", tokenizer, "--threads", "0", "-o", set);
  const page = join(folder, "set.html");
  expect((await run("inspect", set, "--html", page)).out).toContain("tokens/byte");
  expect(readFileSync(page, "utf8")).toContain("Lengths in tokens: train");
  const clean = join(folder, "clean");
  await run("dedup", file, "--field", "body", "--no-near", "--threads", "0", "-o", clean);
  const { out } = await run("inspect", clean, "--samples", "1", "--html", page);
  expect(out).toMatch(/exact +1 +20\.00 %/);
  expect(out.match(/^exact, similarity/gm)).toHaveLength(1);
  expect(readFileSync(page, "utf8")).toContain("Clusters of duplicates");
});

test("what has no meaning is refused in one line, and no page is left half-written", async () => {
  const { folder, file, tokenizer } = await setup();
  const set = join(folder, "set");
  await run("prepare", file, "--field", "body", "-t", tokenizer, "--threads", "0", "-o", set);
  const refused = async (message: string, code: number, ...args: string[]) => {
    const error = await run("inspect", ...args).catch((error) => error);
    expect(describeError(error)).toMatchObject({ message: expect.stringContaining(message), code });
  };
  await refused("--verify is for a prepared dataset", 2, file, "--verify");
  await refused("--filters is for text; a dataset is shown as it was made", 2, set, "--filters", "c4");
  await refused("--on-bad-record is for text", 2, set, "--on-bad-record", "skip");
  await refused("is a dataset; inspect it by itself", 2, file, set);
  await refused("--memory has a meaning only with --duplicates", 2, file, "--memory", "1GB");
  await refused("no such file or folder", 1, join(folder, "nowhere.txt"));
  await refused('has no field "text"', 1, file, "--html", join(folder, "page.html"));
  expect(existsSync(join(folder, "page.html"))).toBe(false);
});
