// Oracle: readTextDocuments and the hash of the whole file, each read by itself. How often a file is opened is counted in
// train/text-reads.test.ts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { sha256OfFile } from "../platform/files.ts";
import { createSourceReport } from "./records.ts";
import { createTextMemory, openSharedText, type SharedTextOptions } from "./shared-text.ts";
import { readTextDocuments } from "./sources.ts";

const stories = Array.from({ length: 300 }, (_, i) => `Story ${i}: ${"… and so on ".repeat(1 + (i % 7))}`);
const rows = stories.map((text, id) => JSON.stringify({ id, text })).join("\n");

function setup() {
  const folder = temporaryFolder();
  const write = (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const text = stories.join("\n<|endoftext|>\n");
  const archive = gzipSync(text);
  return {
    write,
    paths: [
      write("a.txt", text),
      write("b.txt.gz", archive),
      // What stands behind the archive's end is part of the file, and of its hash.
      write("c.txt.gz", Buffer.concat([archive, Buffer.alloc(70_000)])),
      write("d.jsonl", rows),
      write("e.raw", ` = A page = \n\nwords\n = Another = \n\nmore words\n`),
    ],
  };
}

async function textsOf(documents: AsyncIterable<{ text: string } | string>) {
  const texts: string[] = [];
  for await (const one of documents) texts.push(typeof one === "string" ? one : one.text);
  return texts;
}

const memories: [string, number][] = [
  ["all is kept", 2 ** 25],
  ["some is kept", 20_000],
  ["nothing is kept", 0],
];

test.for(memories)(
  "documents, their count and the files' names are those of reads by themselves: %s",
  async ([, size]) => {
    const { paths } = setup();
    const expected = await textsOf(readTextDocuments(paths));
    const names = paths.map((path) => [path, sha256OfFile(path)]);
    const open = (options: SharedTextOptions = {}) =>
      openSharedText(paths, { memory: createTextMemory(size), ...options });
    const identities = async ({ files }: Awaited<ReturnType<typeof open>>) =>
      Promise.all(files.map(async (one) => [one.name, (await one.identity()).replace(/^\w+:/, "")]));

    const named = await open();
    expect(await identities(named)).toEqual(names);
    expect(await textsOf(named.documents())).toEqual(expected);
    expect(await textsOf(named.documents())).toEqual(expected);

    const counted = await open();
    expect(await counted.hasDocuments(10)).toBe(true);
    expect(await counted.hasDocuments(expected.length)).toBe(true);
    expect(await counted.hasDocuments(expected.length + 1)).toBe(false);
    expect(await textsOf(counted.documents())).toEqual(expected);
    expect(await identities(counted)).toEqual(names);

    const begun = await open();
    for await (const first of begun.documents()) {
      expect(first).toBe(expected[0]);
      break;
    }
    expect(await begun.hasDocuments(400)).toBe(true);
    expect(await identities(begun)).toEqual(names);
    expect(await textsOf(begun.documents())).toEqual(expected);
    for (const text of [named, counted, begun]) await text.close();
  },
);

test("reading is accounted for once, also from memory", async () => {
  const { write } = setup();
  const path = write("with-blanks.txt", "one<|endoftext|> <|endoftext|>two");
  const expected = createSourceReport();
  await textsOf(readTextDocuments(path, { report: expected }));
  const { files } = await openSharedText([path]);
  for (let i = 0; i < 2; i++) {
    const report = createSourceReport();
    let bytes = 0;
    await textsOf(
      files[0].documents(report, (read) => {
        bytes += read;
      }),
    );
    expect(report).toEqual(expected);
    expect(bytes).toBe(33);
  }
});

test("what is wrong with a file is told by whichever step comes first, and an aborted signal ends it", async () => {
  const { write, paths } = setup();
  const empty = await openSharedText([write("empty.txt", "")]);
  await expect(empty.files[0].identity()).rejects.toThrow("is empty; expected text");
  const bad = await openSharedText([write("bad.txt", Uint8Array.of(0x61, 0xff))]);
  await expect(bad.hasDocuments(1)).rejects.toThrow("byte 1 (0xff) is not valid UTF-8");
  const controller = new AbortController();
  const stopped = await openSharedText(paths, { signal: controller.signal });
  expect(await stopped.hasDocuments(3)).toBe(true);
  controller.abort(new Error("stopped"));
  await expect(textsOf(stopped.documents())).rejects.toThrow("stopped");
  await stopped.close();
});
