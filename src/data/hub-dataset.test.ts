// Data sets of the hub and files behind addresses. Oracle: a stand-in server with the hub's documented routes (dataset info,
// tree, resolve with ranges), whose files are known; nothing outside this machine is asked.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeEach, expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { identityOf, type LocateOptions, locateSources } from "./source-files.ts";
import { readDocuments } from "./sources.ts";

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const commit = "0123456789abcdef0123456789abcdef01234567";
const rows = (name: string) => gzipSync([1, 2, 3].map((i) => JSON.stringify({ text: `${name} ${i}` })).join("\n"));
const big = Buffer.from(Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `line ${i}` })).join("\n"));

let files: Record<string, { bytes: Buffer; large?: boolean }>;
let asked: string[];
let tokens: (string | undefined)[];
let cutAfter: number | null;
let wrongByte: boolean;
let status: number | null;
let etag: string;

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  const { pathname } = new URL(request.url!, "http://x");
  asked.push(`${request.method} ${pathname}${request.headers.range ? ` ${request.headers.range}` : ""}`);
  tokens.push(request.headers.authorization);
  if (status !== null) return void response.writeHead(status).end("no");
  const json = (value: unknown) =>
    void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (/^\/api\/datasets\/org\/set(\/revision\/[^/]+)?$/.test(pathname))
    return json({ _id: "1", id: "org/set", sha: commit, private: false, downloads: 0, likes: 0, gated: false });
  const tree = new RegExp(`^/api/datasets/org/set/tree/${commit}/?(.*)$`).exec(pathname);
  if (tree)
    return json(
      Object.entries(files)
        .filter(([path]) => path.startsWith(tree[1]))
        .map(([path, { bytes, large }]) => ({
          type: "file",
          path,
          oid: "a".repeat(40),
          size: bytes.length,
          ...(large ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
        })),
    );
  const path = new RegExp(`^/datasets/org/set/resolve/${commit}/(.+)$`).exec(pathname)?.[1] ?? pathname.slice(1);
  const found = files[path];
  if (!found) return void response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
  const bytes = Buffer.from(found.bytes);
  if (wrongByte) bytes[5] ^= 1;
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  const start = from ? Number(from) : 0;
  const end = to ? Math.min(Number(to), bytes.length - 1) : bytes.length - 1;
  const body = bytes.subarray(start, end + 1);
  response.writeHead(request.headers.range ? 206 : 200, {
    etag,
    "content-length": body.length,
    "content-range": `bytes ${start}-${end}/${bytes.length}`,
  });
  if (request.method === "HEAD") return void response.end();
  if (cutAfter !== null && body.length > cutAfter) {
    response.write(body.subarray(0, cutAfter), () => setTimeout(() => response.destroy(), 20));
    return;
  }
  response.end(body);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
afterAll(() => server.close());

beforeEach(() => {
  files = {
    "README.md": { bytes: Buffer.from("# a data set") },
    "data/train/b.jsonl.gz": { bytes: rows("b"), large: true },
    "data/train/a.jsonl.gz": { bytes: rows("a"), large: true },
    "data/test/c.jsonl.gz": { bytes: rows("c") },
    "data/train/notes.pdf": { bytes: Buffer.from("no text") },
    "big.jsonl": { bytes: big, large: true },
  };
  asked = [];
  tokens = [];
  cutAfter = null;
  wrongByte = false;
  status = null;
  etag = '"one"';
});

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
  asked = [];
  await textsOf("hf://datasets/org/set/data/train", at);
  expect(asked.filter((path) => path.includes("/resolve/"))).toEqual([]);
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
  expect(asked.some((path) => path.includes("/resolve/"))).toBe(false);
  expect(new Set(tokens)).toEqual(new Set(["Bearer hf_abc"]));
});

test("a download that broke off goes on where it stopped, and is compared with the hub's SHA-256", async () => {
  const at = options();
  cutAfter = 100_000;
  await expect(textsOf("hf://datasets/org/set/big.jsonl", at)).rejects.toThrow(/big\.jsonl: /);
  const target = join(at.cacheFolder!, "datasets--org--set", commit, "big.jsonl");
  const had = readFileSync(`${target}.part`).length;
  expect(had).toBeGreaterThan(0);
  cutAfter = null;
  asked = [];
  expect(await textsOf("hf://datasets/org/set/big.jsonl", at)).toHaveLength(20_000);
  expect(asked.some((path) => path.includes(`big.jsonl bytes=${had}-`))).toBe(true);
  const other = options();
  wrongByte = true;
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
  expect(asked).toEqual([]);
});

test("refusals are told in words, and a list that leads out of its folder is none", async () => {
  const path = "hf://datasets/org/set";
  status = 404;
  await expect(textsOf(path, options())).rejects.toThrow(`${path}: no such data set, revision or folder on ${url}`);
  status = 403;
  await expect(textsOf(path, options())).rejects.toThrow("set HF_TOKEN to a token that may read it");
  status = null;
  files["../../evil.jsonl"] = { bytes: big };
  await expect(textsOf(path, options())).rejects.toThrow("the hub's list of files is wrong at ../../evil.jsonl");
  for (const name of ["hf://models/org/name", "hf://datasets/org", "hf://datasets/org/set/../x"])
    await expect(textsOf(name, options())).rejects.toThrow("is no address of a data set");
});

test("an address is fetched once, goes on after a break, and is fetched anew when the server's file changes", async () => {
  const at = options();
  const address = `${url}/big.jsonl?download=true`;
  cutAfter = 150_000;
  await expect(textsOf(address, at)).rejects.toThrow(/big\.jsonl.*: the connection (ended|broke)/);
  cutAfter = null;
  asked = [];
  expect(await textsOf(address, at)).toHaveLength(20_000);
  expect(asked.some((path) => /GET \/big\.jsonl bytes=\d+-/.test(path))).toBe(true);
  asked = [];
  expect(await textsOf(address, at)).toHaveLength(20_000);
  expect(asked).toEqual(["HEAD /big.jsonl"]);
  etag = '"two"';
  files["big.jsonl"] = { bytes: Buffer.from('{"text":"new"}') };
  expect(await textsOf(address, at)).toEqual(["new"]);
  await expect(textsOf(`${url}/none.jsonl`, at)).rejects.toThrow(/status 404; .*--local-copy/);
  await expect(textsOf("http://127.0.0.1:9/a.txt", at)).rejects.toThrow(/cannot be reached \(.*--local-copy/);
  await expect(textsOf(`${url}/picture.png`, at)).rejects.toThrow("unknown kind of file");
});
