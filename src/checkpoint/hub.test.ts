// Downloads from the hub. Oracle: a stand-in server with the hub's documented routes (model info, tree, resolve with
// ranges), whose files are known; nothing outside this machine is asked.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { downloadModel, isHubName } from "./hub.ts";

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251));
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const commit = "0123456789abcdef0123456789abcdef01234567";

interface Served {
  bytes: Buffer;
  /** Kept outside git, with a SHA-256. */
  large?: boolean;
}
let files: Record<string, Served>;
/** What was asked: "GET /path" and the range, where there was one. */
let asked: string[];
/** Cuts the next answers to weights off after so many bytes. */
let cutAfter: number | null;
let wrongByte: boolean;
let status: number | null;
let tokens: (string | undefined)[];

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  const { pathname } = new URL(request.url!, "http://x");
  asked.push(`${pathname}${request.headers.range ? ` ${request.headers.range}` : ""}`);
  tokens.push(request.headers.authorization);
  if (status !== null) return void response.writeHead(status).end("no");
  const json = (value: unknown) =>
    void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (/^\/api\/models\/org\/name(\/revision\/[^/]+)?$/.test(pathname))
    return json({ _id: "1", id: "org/name", sha: commit, private: false, downloads: 0, likes: 0, gated: false });
  if (pathname === `/api/models/org/name/tree/${commit}`)
    return json(
      Object.entries(files).map(([path, { bytes, large }]) => ({
        type: "file",
        path,
        oid: "a".repeat(40),
        size: bytes.length,
        ...(large ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
      })),
    );
  const path = new RegExp(`^/org/name/resolve/${commit}/(.+)$`).exec(pathname)?.[1];
  const found = path === undefined ? undefined : files[path];
  if (!found) return void response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
  const { bytes } = found;
  const [, from = "0", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  const start = Number(from);
  const end = to === "" ? bytes.length - 1 : Math.min(Number(to), bytes.length - 1);
  const body = Buffer.from(bytes.subarray(start, end + 1));
  if (wrongByte && found.large && body.length > 1) body[body.length - 1] ^= 1;
  response.writeHead(request.headers.range ? 206 : 200, {
    etag: `"${sha256(bytes).slice(0, 40)}"`,
    "content-length": body.length,
    "content-range": `bytes ${start}-${end}/${bytes.length}`,
  });
  if (cutAfter !== null && found.large && body.length > cutAfter) {
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
    "config.json": { bytes: Buffer.from("{}") },
    "tokenizer.json": { bytes: Buffer.from('{"t":1}') },
    "model.safetensors": { bytes: weights, large: true },
    "README.md": { bytes: Buffer.from("# no need of it") },
    "onnx/model.onnx": { bytes: Buffer.from("nor of this") },
    "pytorch_model.bin": { bytes: weights, large: true },
  };
  asked = [];
  tokens = [];
  cutAfter = null;
  wrongByte = false;
  status = null;
});

const options = () => ({ url, cacheFolder: temporaryFolder(), offline: false });

test("what a model needs is downloaded, checked and kept; the second time only the commit is asked", async () => {
  const at = options();
  const progress: number[] = [];
  const folder = await downloadModel("org/name", { ...at, onProgress: ({ doneBytes }) => progress.push(doneBytes) });
  expect(readdirSync(folder).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  expect(progress.at(-1)).toBe(weights.length + 9);
  asked = [];
  expect(await downloadModel("org/name", at)).toBe(folder);
  expect(asked.filter((path) => path.includes("/resolve/"))).toEqual([]);
});

test("a download that broke off goes on where it stopped", async () => {
  const at = options();
  cutAfter = 100_000;
  await expect(downloadModel("org/name", at)).rejects.toThrow(/org\/name: model.safetensors/);
  const partial = join(at.cacheFolder, "models--org--name", commit, "model.safetensors.part");
  const had = readFileSync(partial).length;
  expect(had).toBeGreaterThan(0);
  cutAfter = null;
  asked = [];
  const folder = await downloadModel("org/name", at);
  expect(asked.some((path) => path.endsWith(`model.safetensors bytes=${had}-${weights.length - 1}`))).toBe(true);
  expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  expect(existsSync(partial)).toBe(false);
});

test("shards are taken where there is no single file, and nothing else of that kind", async () => {
  const index = { weight_map: { a: "model-00001-of-00002.safetensors" } };
  delete files["model.safetensors"];
  files["model.safetensors.index.json"] = { bytes: Buffer.from(JSON.stringify(index)) };
  for (const name of ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "other.safetensors"])
    files[name] = { bytes: Buffer.from(name), large: true };
  const folder = await downloadModel("org/name", options());
  expect(readdirSync(folder).filter((name) => name.includes("safetensors"))).toEqual([
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
  ]);
});

describe("is refused, saying what to do:", () => {
  test("bytes that are not the hub's; they are removed", async () => {
    const at = options();
    wrongByte = true;
    await expect(downloadModel("org/name", at)).rejects.toThrow(
      /org\/name: model.safetensors: its SHA-256 is not the one that the hub states/,
    );
    expect(readdirSync(join(at.cacheFolder, "models--org--name", commit))).not.toContain("model.safetensors.part");
  });

  test("a model without safetensors", async () => {
    delete files["model.safetensors"];
    await expect(downloadModel("org/name", options())).rejects.toThrow(/has no safetensors .* it has config.json/);
  });

  test("a name that the hub does not know, or does not give out; the token is sent where there is one", async () => {
    status = 404;
    await expect(downloadModel("org/name", options())).rejects.toThrow(
      /no folder of this name here, and no such model/,
    );
    status = 401;
    await expect(downloadModel("org/name", options())).rejects.toThrow(/private or gated; set HF_TOKEN/);
    await expect(downloadModel("org/name", { ...options(), token: "hf_abc" })).rejects.toThrow(/HF_TOKEN may not read/);
    expect(tokens.at(-1)).toBe("Bearer hf_abc");
    status = 503;
    await expect(downloadModel("org/name", options())).rejects.toThrow(/answered with status 503; try again later/);
  });

  test("no network: one error that names a local folder as the way out; a copy from before is used", async () => {
    const at = { ...options(), url: "http://127.0.0.1:9" };
    await expect(downloadModel("org/name", at)).rejects.toThrow(
      /^org\/name: there is no folder of this name here, and http:\/\/127.0.0.1:9 cannot be reached \(.*\); give the path of a local folder/,
    );
    await expect(downloadModel("org/name", { ...at, offline: true })).rejects.toThrow(/HF_HUB_OFFLINE forbids/);
    const folder = await downloadModel("org/name", { ...at, url });
    const notes: string[] = [];
    expect(await downloadModel("org/name", { ...at, onNote: (text) => notes.push(text) })).toBe(folder);
    expect(notes[0]).toMatch(/cannot be reached; using the copy/);
    asked = [];
    expect(await downloadModel("org/name", { ...at, url, offline: true })).toBe(folder);
    expect(asked).toEqual([]);
  });
});

test("a hub's name is org/name, with nothing of that name here", () => {
  const here = process.cwd();
  try {
    process.chdir(temporaryFolder());
    mkdirSync("runs");
    writeFileSync("file", "");
    const names = ["org/name", "org/name@v1.0", "microsoft/bitnet-b1.58-2B-4T", "org/name@refs/pr/1"];
    expect(names.map(isHubName)).toEqual([true, true, true, true]);
    const paths = ["runs/tiny", "file", "name", "/a/b", "./a/b", "a/b/c", "../a", "a/../b", "model.gguf", "org/..", ""];
    expect(paths.filter(isHubName)).toEqual([]);
  } finally {
    process.chdir(here);
  }
});
