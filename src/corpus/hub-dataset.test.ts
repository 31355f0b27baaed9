// Data sets of the hub and files behind addresses. Oracle: a stand-in server with the hub's documented routes, whose files are
// known.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { hubCommit as commit, sha256, startHubServer } from "../../test/support/hub-server.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { identityOf, type LocateOptions, locateSources } from "./source-files.ts";
import { readDocuments } from "./sources.ts";

const rows = (name: string) => gzipSync([1, 2, 3].map((i) => JSON.stringify({ text: `${name} ${i}` })).join("\n"));
const big = Buffer.from(Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `line ${i}` })).join("\n"));

const hub = await startHubServer("datasets", "org/set");
const { url } = hub;
afterAll(() => hub.close());
beforeEach(() =>
  hub.reset({
    "README.md": { bytes: Buffer.from("# a data set") },
    "data/train/b.jsonl.gz": { bytes: rows("b"), large: true },
    "data/train/a.jsonl.gz": { bytes: rows("a"), large: true },
    "data/test/c.jsonl.gz": { bytes: rows("c") },
    "data/train/notes.pdf": { bytes: Buffer.from("no text") },
    "big.jsonl": { bytes: big, large: true },
  }),
);

function options(more: LocateOptions["hub"] = {}): LocateOptions {
  const cacheFolder = temporaryFolder();
  return { cacheFolder, hub: { url, cacheFolder, offline: false, ...more } };
}
async function textsOf(path: string, remote: LocateOptions) {
  const texts: string[] = [];
  for await (const text of readDocuments(path, { remote })) texts.push(text);
  return texts;
}

test("a folder, a file and a pattern of a data set are listed, fetched and read, in the order of their names", async () => {
  const at = options();
  const abc = ["a", "b"].flatMap((name) => [1, 2, 3].map((i) => `${name} ${i}`));
  expect(await textsOf("hf://datasets/org/set/data/train", at)).toEqual(abc);
  expect(await textsOf("hf://datasets/org/set@main/data/**/[bc].jsonl.gz", at)).toEqual(
    ["c", "b"].flatMap((name) => [1, 2, 3].map((i) => `${name} ${i}`)),
  );
  expect(await textsOf("hf://datasets/org/set/data/test/c.jsonl.gz", at)).toEqual(["c 1", "c 2", "c 3"]);
  hub.asked = [];
  await textsOf("hf://datasets/org/set/data/train", at);
  expect(hub.asked.filter((path) => path.includes("/resolve/"))).toEqual([]);
});

test("names, sizes and checksums are known before a byte is fetched; the token goes with every question", async () => {
  const files = await locateSources(["hf://datasets/org/set/data"], options({ token: "hf_abc" }));
  expect(files.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual(
    ["test/c", "train/a", "train/b"].map((name) => [
      `hf://datasets/org/set@${commit}/data/${name}.jsonl.gz`,
      rows(name.slice(-1)).length,
    ]),
  );
  expect(await Promise.all(files.map(identityOf))).toEqual([
    `git:${"a".repeat(40)}`,
    sha256(rows("a")),
    sha256(rows("b")),
  ]);
  expect(hub.asked.some((path) => path.includes("/resolve/"))).toBe(false);
  expect(new Set(hub.tokens)).toEqual(new Set(["Bearer hf_abc"]));
});

test("a download that broke off goes on where it stopped, and is compared with the hub's SHA-256", async () => {
  const at = options();
  hub.cutAfter = 100_000;
  await expect(textsOf("hf://datasets/org/set/big.jsonl", at)).rejects.toThrow(/big\.jsonl: /);
  const target = join(at.cacheFolder!, "datasets--org--set", commit, "big.jsonl");
  const had = readFileSync(`${target}.part`).length;
  expect(had).toBeGreaterThan(0);
  hub.cutAfter = null;
  hub.asked = [];
  expect(await textsOf("hf://datasets/org/set/big.jsonl", at)).toHaveLength(20_000);
  expect(hub.asked.some((path) => path.includes(`big.jsonl bytes=${had}-`))).toBe(true);
  const other = options();
  hub.wrongByte = true;
  await expect(textsOf("hf://datasets/org/set/big.jsonl", other)).rejects.toThrow("its SHA-256 is not the one");
  expect(existsSync(join(other.cacheFolder!, "datasets--org--set", commit, "big.jsonl.part"))).toBe(false);
});

test("without a network the error names the option for a local copy; a list and files from before serve", async () => {
  const at = options();
  const path = "hf://datasets/org/set/data/test";
  const gone = { ...at, hub: { ...at.hub, url: "http://127.0.0.1:9" } };
  await expect(textsOf(path, gone)).rejects.toThrow(
    /^hf:\/\/datasets\/org\/set\/data\/test: http:\/\/127\.0\.0\.1:9 cannot be reached \(.*\); fetch it elsewhere .* --local-copy$/,
  );
  await expect(textsOf(path, { ...at, hub: { ...at.hub, offline: true } })).rejects.toThrow(
    /HF_HUB_OFFLINE .*--local-copy/,
  );
  await textsOf(path, at);
  expect(await textsOf(path, gone)).toEqual(["c 1", "c 2", "c 3"]);
  expect(await textsOf(path, { ...at, hub: { ...at.hub, offline: true } })).toEqual(["c 1", "c 2", "c 3"]);
});

test("a local copy is taken instead of the hub, for data sets and addresses; nobody is asked", async () => {
  const folder = temporaryFolder();
  for (const root of [folder, join(folder, "org/set")]) {
    mkdirSync(join(root, "data/train"), { recursive: true });
    writeFileSync(join(root, "data/train/a.jsonl"), JSON.stringify({ text: root === folder ? "flat" : "named" }));
  }
  writeFileSync(join(folder, "x.txt"), "by address");
  expect(await textsOf("hf://datasets/org/set/data", { localCopy: folder })).toEqual(["named"]);
  expect(await textsOf("hf://datasets/other/name/data", { localCopy: folder })).toEqual(["flat"]);
  expect(await textsOf("https://example.org/deep/x.txt", { localCopy: folder })).toEqual(["by address"]);
  await expect(textsOf("hf://datasets/other/name/none", { localCopy: folder })).rejects.toThrow(
    "has no file whose name ends",
  );
  expect(hub.asked).toEqual([]);
});

test("refusals are told in words, and a list that leads out of its folder is none", async () => {
  const path = "hf://datasets/org/set";
  hub.status = 404;
  await expect(textsOf(path, options())).rejects.toThrow(`${path}: no such data set, revision or folder on ${url}`);
  hub.status = 403;
  await expect(textsOf(path, options())).rejects.toThrow("set HF_TOKEN to a token that may read it");
  hub.status = null;
  hub.files["../../evil.jsonl"] = { bytes: big };
  await expect(textsOf(path, options())).rejects.toThrow("the hub's list of files is wrong at ../../evil.jsonl");
  for (const name of ["hf://models/org/name", "hf://datasets/org", "hf://datasets/org/set/../x"])
    await expect(textsOf(name, options())).rejects.toThrow("is no address of a data set");
});

test("an address is fetched once, goes on after a break, and is fetched anew when the server's file changes", async () => {
  const at = options();
  const address = `${url}/big.jsonl?download=true`;
  hub.cutAfter = 150_000;
  await expect(textsOf(address, at)).rejects.toThrow(/big\.jsonl.*: the connection (ended|broke)/);
  hub.cutAfter = null;
  hub.asked = [];
  expect(await textsOf(address, at)).toHaveLength(20_000);
  expect(hub.asked.some((path) => /GET \/big\.jsonl bytes=\d+-/.test(path))).toBe(true);
  hub.asked = [];
  expect(await textsOf(address, at)).toHaveLength(20_000);
  expect(hub.asked).toEqual(["HEAD /big.jsonl"]);
  hub.etag = '"two"';
  hub.files["big.jsonl"] = { bytes: Buffer.from('{"text":"new"}') };
  expect(await textsOf(address, at)).toEqual(["new"]);
  await expect(textsOf(`${url}/none.jsonl`, at)).rejects.toThrow(/status 404; .*--local-copy/);
  await expect(textsOf("http://127.0.0.1:9/a.txt", at)).rejects.toThrow(/cannot be reached \(.*--local-copy/);
  await expect(textsOf(`${url}/picture.png`, at)).rejects.toThrow("unknown kind of file");
});

test("the token comes from the environment, goes to the hub, and to no other address", async () => {
  vi.stubEnv("HF_TOKEN", "hf_environment");
  try {
    await textsOf("hf://datasets/org/set/data/train", options());
    expect(new Set(hub.tokens)).toEqual(new Set(["Bearer hf_environment"]));
    hub.tokens = [];
    await textsOf(`${url}/big.jsonl`, options());
    expect(new Set(hub.tokens)).toEqual(new Set([undefined]));
  } finally {
    vi.unstubAllEnvs();
  }
});
