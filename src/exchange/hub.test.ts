// Downloads from the hub. Oracle: a stand-in server with the hub's documented routes, whose files are known.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { hubCommit as commit, startHubServer } from "../../test/support/hub-server.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { downloadModel, isHubName } from "./hub.ts";

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251));
const hub = await startHubServer("models", "org/name");
const { url } = hub;
afterAll(() => hub.close());
beforeEach(() =>
  hub.reset({
    "config.json": { bytes: Buffer.from("{}") },
    "tokenizer.json": { bytes: Buffer.from('{"t":1}') },
    "model.safetensors": { bytes: weights, large: true },
    "README.md": { bytes: Buffer.from("# no need of it") },
    "onnx/model.onnx": { bytes: Buffer.from("nor of this") },
    "pytorch_model.bin": { bytes: weights, large: true },
  }),
);

const options = () => ({ url, cacheFolder: temporaryFolder(), offline: false });

test("what a model needs is downloaded, checked and kept; the second time only the commit is asked", async () => {
  const at = options();
  const progress: number[] = [];
  const folder = await downloadModel("org/name", { ...at, onProgress: ({ doneBytes }) => progress.push(doneBytes) });
  expect(readdirSync(folder).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  expect(progress.at(-1)).toBe(weights.length + 9);
  hub.asked = [];
  expect(await downloadModel("org/name", at)).toBe(folder);
  expect(hub.asked.filter((path) => path.includes("/resolve/"))).toEqual([]);
});

test("a download that broke off goes on where it stopped", async () => {
  const at = options();
  hub.cutAfter = 100_000;
  await expect(downloadModel("org/name", at)).rejects.toThrow(/org\/name: model.safetensors/);
  const partial = join(at.cacheFolder, "models--org--name", commit, "model.safetensors.part");
  const had = readFileSync(partial).length;
  expect(had).toBeGreaterThan(0);
  hub.cutAfter = null;
  hub.asked = [];
  const folder = await downloadModel("org/name", at);
  expect(hub.asked.some((path) => path.endsWith(`model.safetensors bytes=${had}-${weights.length - 1}`))).toBe(true);
  expect(readFileSync(join(folder, "model.safetensors")).equals(weights)).toBe(true);
  expect(existsSync(partial)).toBe(false);
});

test("shards are taken where there is no single file, and nothing else of that kind", async () => {
  const index = { weight_map: { a: "model-00001-of-00002.safetensors" } };
  delete hub.files["model.safetensors"];
  hub.files["model.safetensors.index.json"] = { bytes: Buffer.from(JSON.stringify(index)) };
  for (const name of ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "other.safetensors"])
    hub.files[name] = { bytes: Buffer.from(name), large: true };
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
    hub.wrongByte = true;
    await expect(downloadModel("org/name", at)).rejects.toThrow(
      /org\/name: model.safetensors: its SHA-256 is not the one that the hub states/,
    );
    expect(readdirSync(join(at.cacheFolder, "models--org--name", commit))).not.toContain("model.safetensors.part");
  });

  test("a model without safetensors", async () => {
    delete hub.files["model.safetensors"];
    await expect(downloadModel("org/name", options())).rejects.toThrow(/has no safetensors .* it has config.json/);
  });

  test("a name that the hub does not know, or does not give out; the token is sent where there is one", async () => {
    hub.status = 404;
    await expect(downloadModel("org/name", options())).rejects.toThrow(
      /no folder of this name here, and no such model/,
    );
    hub.status = 401;
    await expect(downloadModel("org/name", options())).rejects.toThrow(/private or gated; set HF_TOKEN/);
    await expect(downloadModel("org/name", { ...options(), token: "hf_abc" })).rejects.toThrow(/HF_TOKEN may not read/);
    expect(hub.tokens.at(-1)).toBe("Bearer hf_abc");
    hub.status = 503;
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
    hub.asked = [];
    expect(await downloadModel("org/name", { ...at, url, offline: true })).toBe(folder);
    expect(hub.asked).toEqual([]);
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
