// Oracle: what goes in comes out again; and the tokenizer as the library call gives it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { loadTokenizer } from "../tokenizer/index.ts";
import { tokenizerCommand } from "./tokenizer.ts";

/** Runs `bitnet tokenizer ...`; gives what it writes to the standard output, and to the standard error. */
async function run(...args: string[]): Promise<{ out: string; err: string }> {
  const chunks: Uint8Array[] = [];
  let err = "";
  const collect = (chunk: string | Uint8Array) =>
    chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk) > 0;
  const out = vi.spyOn(process.stdout, "write").mockImplementation(collect as never);
  const error = vi.spyOn(process.stderr, "write").mockImplementation(((chunk: string) => {
    err += chunk;
    return true;
  }) as never);
  const command = tokenizerCommand();
  for (const c of [command, ...command.commands]) c.exitOverride().configureOutput({ outputError: () => {} });
  try {
    await command.parseAsync(args, { from: "user" });
  } finally {
    out.mockRestore();
    error.mockRestore();
  }
  return { out: Buffer.concat(chunks).toString("utf8"), err };
}

/** A folder with stories.txt (three documents) and a tokenizer trained on it. */
async function trained() {
  const folder = temporaryFolder();
  const stories = join(folder, "stories.txt");
  writeFileSync(
    stories,
    "The cat sat.\n<|endoftext|>\nThe cat sat on the mat. é😀\n<|endoftext|>\nThe end of the cat.\n\n",
  );
  const tokenizer = join(folder, "tokenizer.json");
  const { out } = await run("train", "--data", stories, "--vocab-size", "265", "-o", tokenizer);
  return { folder, stories, tokenizer, out };
}

test("train writes a tokenizer.json and says what it did", async () => {
  const { tokenizer, out } = await trained();
  const { vocabSize, hash } = loadTokenizer(tokenizer);
  expect(vocabSize).toBe(265);
  expect(out).toContain("3 documents, 58 characters");
  expect(out).toContain(hash);
  expect(out).toContain(tokenizer);
});

test("train says where the text gives fewer tokens than asked for", async () => {
  const { folder, stories } = await trained();
  const { err } = await run("train", "--data", stories, "--vocab-size", "5000", "-o", join(folder, "big.json"));
  const { vocabSize } = loadTokenizer(join(folder, "big.json"));
  expect(err).toContain(`bitnet: ${vocabSize} tokens, not 5,000: the text has no more pairs that occur often enough`);
});

test("train makes a character tokenizer, in a folder with its config", async () => {
  const { folder, stories } = await trained();
  const { out } = await run("train", "--type", "char", "--data", stories, "-o", folder);
  expect(out).toContain("16 different characters");
  expect(loadTokenizer(folder).tokenOf(1)).toBe(" ");
  expect(JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8")).eos_token).toBe("<|endoftext|>");
});

test("encode and decode give the text back, from arguments and through files of each format", async () => {
  const { folder, tokenizer } = await trained();
  const text = "The cat, é 漢!\n";
  const { out: ids } = await run("encode", "-t", tokenizer, text);
  expect(ids.trim().split(" ").map(Number)).toEqual([...loadTokenizer(tokenizer).encode(text)]);
  expect((await run("decode", "-t", tokenizer, ...ids.trim().split(" "))).out).toBe(text);
  const file = join(folder, "poem");
  writeFileSync(file, text);
  for (const format of ["text", "u16", "u32"]) {
    const encoded = join(folder, format);
    expect((await run("encode", "-t", tokenizer, "--file", file, "--format", format, "-o", encoded)).out).toBe("");
    expect((await run("decode", "-t", tokenizer, "--file", encoded, "--format", format)).out).toBe(text);
  }
});

test("encode shows what each token stands for", async () => {
  const { tokenizer } = await trained();
  const { out } = await run("encode", "-t", tokenizer, "--format", "tokens", "The cat");
  expect(out).toMatch(/^ *\d+ {2}"The"\n *\d+ {2}"Ġcat"\n$/);
});

test("encode writes documents as lines of ids, or as binary with end-of-text behind each", async () => {
  const { folder, stories, tokenizer } = await trained();
  const { out, err } = await run("encode", "-t", tokenizer, "--data", stories, "--threads", "0");
  const loaded = loadTokenizer(tokenizer);
  const lines = out.trimEnd().split("\n");
  expect(lines.map((line) => loaded.decode(line.split(" ").map(Number)))).toEqual([
    "The cat sat.",
    "The cat sat on the mat. é😀",
    "The end of the cat.",
  ]);
  expect(err).toContain("bitnet: 3 documents, ");
  const binary = join(folder, "ids.bin");
  await run("encode", "-t", tokenizer, "--data", stories, "--threads", "0", "--format", "u32", "-o", binary);
  const { out: text } = await run("decode", "-t", tokenizer, "--file", binary, "--format", "u32");
  expect(text).toBe(
    "The cat sat.<|endoftext|>The cat sat on the mat. é😀<|endoftext|>The end of the cat.<|endoftext|>",
  );
  expect((await run("decode", "-t", tokenizer, "--file", binary, "--format", "u32", "--skip-special-tokens")).out).toBe(
    text.replaceAll("<|endoftext|>", ""),
  );
});

test("encode takes special tokens in the text as text where asked", async () => {
  const { tokenizer } = await trained();
  expect((await run("encode", "-t", tokenizer, "<|endoftext|>")).out).toBe("0\n");
  expect((await run("encode", "-t", tokenizer, "--no-parse-special-tokens", "<|endoftext|>")).out).not.toBe("0\n");
});

test.for([
  [
    ["train", "--data", "STORIES", "--vocab-size", "100"],
    "vocabulary size 100 for byte-level BPE; expected a whole number from 257",
  ],
  [["train", "--data", "STORIES", "--unknown", "bytes"], "--unknown is for --type char"],
  [["train", "--data", "STORIES", "--type", "char", "--min-frequency", "3"], "--min-frequency is for --type bpe"],
  [["train", "--data", "none.txt"], "none.txt: cannot read: no such file or folder"],
  [["encode", "-t", "TOKENIZER", "text", "--file", "x"], "give the text, --file or --data, and only one of them"],
  [["encode", "-t", "TOKENIZER", "text", "--threads", "2"], "--threads has a meaning only with --data"],
  [["encode", "-t", "TOKENIZER", "--data", "STORIES", "--format", "tokens"], "--format tokens is for one text"],
  [["encode", "-t", "STORIES", "text"], "stories.txt: is no tokenizer that we read"],
  [["decode", "-t", "TOKENIZER", "1", "two"], 'the ids: "two" (number 2) is no token id'],
  [["decode", "-t", "TOKENIZER", "265"], "cannot decode id 265 at position 0; expected 0 to 264"],
  [["decode", "-t", "TOKENIZER", "1", "--format", "u16"], "--format u16 is for a file or the standard input"],
  [["decode", "-t", "TOKENIZER", "--file", "STORIES", "--format", "u32"], "not a multiple of 4; is the format u32?"],
] as const)("%o is refused", async ([args, message]) => {
  const { stories, tokenizer } = await trained();
  const words = args.map((word) => ({ STORIES: stories, TOKENIZER: tokenizer })[word as string] ?? word);
  await expect(run(...words)).rejects.toThrow(message);
});

test("a file that is not UTF-8 is refused by its byte, and nothing is written", async () => {
  const { folder, tokenizer } = await trained();
  const bad = join(folder, "bad.txt");
  writeFileSync(bad, Buffer.from([0x68, 0xc3, 0x28, 0x0a]));
  await expect(run("encode", "-t", tokenizer, "--file", bad)).rejects.toThrow("byte 1 (0xc3) is not valid UTF-8");
  const output = join(folder, "out.bin");
  await expect(
    run("encode", "-t", tokenizer, "--data", bad, "--threads", "0", "--format", "u16", "-o", output),
  ).rejects.toThrow("byte 1 (0xc3) is not valid UTF-8");
  expect(existsSync(output)).toBe(false);
});
