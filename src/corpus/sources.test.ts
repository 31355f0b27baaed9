// Oracle: the documents are put together here, so what must come out is known; counts of real files are those that
// ../shared/data/README.md states. Which bytes are not UTF-8: Node's own fatal TextDecoder.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { firstInvalidByte } from "./pieces.ts";
import { expandSources, readDocuments, type SourceOptions } from "./sources.ts";

async function documentsOf(paths: string | string[], options?: SourceOptions): Promise<string[]> {
  const documents: string[] = [];
  for await (const document of readDocuments(paths, options)) documents.push(document);
  return documents;
}

function fileOf(name: string, content: string | Uint8Array): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

test("a text file splits at <|endoftext|>; newlines at the ends go, other white space stays", async () => {
  const path = fileOf("a.txt", "\r\n one \n\ntwo\r\n<|endoftext|>\nthree<|endoftext|>  \n<|endoftext|>é\n");
  expect(await documentsOf(path)).toEqual([" one \n\ntwo", "three", "é"]);
});

test("a text file without the separator is one document", async () => {
  expect(await documentsOf(fileOf("a.txt", "First line.\nSecond line.\n"))).toEqual(["First line.\nSecond line."]);
  expect(await documentsOf(fileOf("b.txt", "one line"))).toEqual(["one line"]);
});

test("separators: a string of one's own, blank lines, lines, none", async () => {
  const path = fileOf("a.txt", "\n\na\nb\n  \t\n\nc ---\n\r\nd\r\ne\n");
  expect(await documentsOf(path, { separator: "---" })).toEqual(["a\nb\n  \t\n\nc ", "d\r\ne"]);
  expect(await documentsOf(path, { separator: "blank-line" })).toEqual(["a\nb", "c ---", "d\r\ne"]);
  expect(await documentsOf(path, { separator: "line" })).toEqual(["a", "b", "c ---", "d", "e"]);
  expect(await documentsOf(path, { separator: "none" })).toHaveLength(1);
  await expect(documentsOf(path, { separator: "" })).rejects.toThrow("the separator is empty");
});

test("any documents come back, whatever their characters, plain and gzipped", async () => {
  const document = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
    .filter((s) => /^[^\r\n].*[^\r\n]$/su.test(s) && /\S/.test(s) && !s.startsWith("\ufeff") && !/[<|>]/.test(s));
  await fc.assert(
    fc.asyncProperty(fc.array(document, { minLength: 1, maxLength: 20 }), async (documents) => {
      const text = documents.join("\n<|endoftext|>\n");
      expect(await documentsOf(fileOf("a.txt", text))).toEqual(documents);
      expect(await documentsOf(fileOf("a.txt.gz", gzipSync(text)))).toEqual(documents);
      const lines = documents.map((text) => JSON.stringify({ n: 1, text })).join("\n");
      expect(await documentsOf(fileOf("a.jsonl.gz", gzipSync(lines)))).toEqual(documents);
    }),
    { numRuns: 40, seed: 1 },
  );
});

test("documents longer than a chunk, and separators that lie across two chunks, come out whole", async () => {
  // Chunks are 256 KiB: a separator is placed at each offset around the first boundary.
  for (let shift = -14; shift <= 1; shift++) {
    const a = "é".repeat((1 << 17) - 10) + "x".repeat(20 + shift);
    const b = "y".repeat(700_000);
    expect(await documentsOf(fileOf("a.txt", `${a}<|endoftext|>${b}`))).toEqual([a, b]);
  }
});

test("a byte order mark at the start is left out, one inside is kept", async () => {
  expect(await documentsOf(fileOf("a.txt", "\ufeffone<|endoftext|>\ufefftwo"))).toEqual(["one", "\ufefftwo"]);
  expect(await documentsOf(fileOf("a.jsonl", '\ufeff{"text":"one"}\n'))).toEqual(["one"]);
});

test("JSON lines give the field asked for; blank lines are passed over", async () => {
  const path = fileOf("a.jsonl", '{"text":" one\\n","n":1}\r\n\n{"text":"two 🙂"}\n{"text":"  "}');
  expect(await documentsOf(path)).toEqual([" one\n", "two 🙂"]);
  expect(await documentsOf(fileOf("b.ndjson", '{"content":"x"}'), { field: "content" })).toEqual(["x"]);
});

test.for([
  ["not json", "line 2: is not JSON"],
  ["[1]", 'line 2: expected a JSON object with the field "text", found an array'],
  ["null", 'line 2: expected a JSON object with the field "text", found null'],
  ['{"body":"x","id":3}', 'line 2: has no field "text"; its fields are: body, id'],
  ['{"text":5}', 'line 2: field "text" is a number; expected a string'],
  ['{"text":"\\ud83d"}', 'line 2: field "text" holds half of a surrogate pair'],
])("a bad JSON line is named: %s", async ([line, message]) => {
  const path = fileOf("bad.jsonl", `{"text":"fine"}\n${line}\n`);
  await expect(documentsOf(path)).rejects.toThrow(`${path}: ${message}`);
});

test("invalid UTF-8 is refused, naming the byte and its value", async () => {
  const text = Buffer.concat([Buffer.from("one<|endoftext|>zwölf "), Buffer.from([0xe4]), Buffer.from("rger")]);
  await expect(documentsOf(fileOf("a.txt", text))).rejects.toThrow(
    "a.txt: document 2: byte 23 (0xe4) is not valid UTF-8; save the file as UTF-8",
  );
  await expect(documentsOf(fileOf("a.txt", text), { separator: "none" })).rejects.toThrow("byte 23 (0xe4)");
  await expect(documentsOf(fileOf("a.txt", Buffer.from([65, 0xff, 66])), { separator: "none" })).rejects.toThrow(
    "byte 1 (0xff)",
  );
  await expect(documentsOf(fileOf("u16.txt", Buffer.from("\ufeffab", "utf16le")))).rejects.toThrow("looks like UTF-16");
  await expect(documentsOf(fileOf("a.jsonl", Buffer.from([10, 0xc0])))).rejects.toThrow("line 2: byte 1 (0xc0)");
});

test("the first invalid byte is found exactly where the platform's decoder stops accepting", () => {
  const accepts = (bytes: Uint8Array) => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  // All sequences of two bytes, and three and four with the interesting continuations.
  const edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
  const wrong: number[][] = [];
  for (let a = 0x7f; a < 256; a++)
    for (const b of edges)
      for (const c of edges)
        for (const d of [0x41, 0x80, 0xbf, 0xc2]) {
          const bytes = Uint8Array.of(a, b, c, d);
          const bad = firstInvalidByte(bytes);
          if ((bad === -1) !== accepts(bytes) || (bad > 0 && !accepts(bytes.subarray(0, bad))))
            wrong.push([a, b, c, d]);
        }
  expect(wrong).toEqual([]);
});

test("an empty file, and one with nothing but separators, are refused", async () => {
  await expect(documentsOf(fileOf("a.txt", ""))).rejects.toThrow("a.txt: is empty; expected text");
  await expect(documentsOf(fileOf("a.txt.gz", gzipSync("")))).rejects.toThrow("is empty");
  await expect(documentsOf(fileOf("a.txt", "<|endoftext|>\n \n"))).rejects.toThrow("holds no document");
  await expect(documentsOf(fileOf("a.jsonl", "\n\n"))).rejects.toThrow("holds no document");
});

test("a cut gzip is one DataError that names the file", async () => {
  const whole = gzipSync("some story<|endoftext|>".repeat(500));
  const path = fileOf("cut.txt.gz", whole.subarray(0, whole.length - 12));
  await expect(documentsOf(path)).rejects.toMatchObject({
    name: "DataError",
    message: expect.stringContaining("the gzip stream is cut short"),
  });
});

test("a document over the limit is refused with the separator named, before it is all in memory", async () => {
  const path = fileOf("a.txt", `short<|endoftext|>${"x".repeat(2_000_000)}`);
  await expect(documentsOf(path, { maxDocumentBytes: 1_000_000 })).rejects.toThrow(
    'document 2 (from byte 18) is over the limit of 1000000 bytes; is "<|endoftext|>" the right separator?',
  );
  const lines = fileOf("b.txt", "some line\n".repeat(1000));
  await expect(documentsOf(lines, { separator: "blank-line", maxDocumentBytes: 500 })).rejects.toThrow(
    "document 1 (to line 51) is over the limit of 500 bytes; are blank lines the right separator?",
  );
  expect(await documentsOf(fileOf("c.txt", "x".repeat(500)), { maxDocumentBytes: 500 })).toHaveLength(1);
});

test("a folder gives the files in it whose names tell a format, sorted; other names are refused", async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "sub"));
  for (const [name, text] of [
    ["b.txt", "B"],
    ["a.jsonl", '{"text":"A"}'],
    ["sub/c.md", "C"],
    ["image.png", "no"],
  ])
    writeFileSync(join(folder, name), text);
  expect(await documentsOf(folder)).toEqual(["A", "B", "C"]);
  expect(() => expandSources([join(folder, "image.png")])).toThrow("unknown kind of file; names end in .txt");
  expect(expandSources([join(folder, "image.png")], "text")).toHaveLength(1);
  mkdirSync(join(folder, "none"));
  expect(() => expandSources([join(folder, "none")])).toThrow("no file in this folder ends in");
  await expect(documentsOf(join(folder, "absent.txt"))).rejects.toThrow("no such file or folder");
});

const stories = ["data/tinystories/train.txt.gz", "data/tinystories/valid.txt"];
testShared("shared: TinyStories has 19,605 stories to train on and 1,500 to validate", stories, async () => {
  let count = 0;
  for await (const story of readDocuments(sharedPath(stories[0]))) {
    count++;
    if (story.length < 50 || story.includes("<|endoftext|>")) throw new Error(`story ${count}: ${story.slice(0, 99)}`);
  }
  expect(count).toBe(19605);
  expect(await documentsOf(sharedPath(stories[1]))).toHaveLength(1500);
});

testShared("shared: 1,000 C4 documents come out of gzipped JSON lines", ["data/text/c4_sample.jsonl.gz"], async () => {
  const documents = await documentsOf(sharedPath("data/text/c4_sample.jsonl.gz"));
  expect(documents).toHaveLength(1000);
  expect(documents[0].startsWith("Beginners BBQ Class Taking Place in Missoula!\n")).toBe(true);
});
