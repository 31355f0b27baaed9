// Oracle: the bytes that a stand-in for the hub serves (test/support/hub-server.ts), and what it says that it was asked.
import { readFileSync } from "node:fs";
import { afterAll, beforeEach, expect, test } from "vitest";
import { hubCommit, startHubServer } from "../../test/support/hub-server.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { fetchHubFile, isHubFile } from "./hub-file.ts";

const hub = await startHubServer("models", "org/name");
afterAll(() => hub.close());
const content = Buffer.from(`{"tokens": "${"x".repeat(5000)}"}`);
beforeEach(() =>
  hub.reset({ "tokenizer.json": { bytes: content, large: true }, "sub/other.json": { bytes: Buffer.from("{}") } }),
);

const hint = "name a copy";
const options = (cacheFolder: string) => ({ cacheFolder, url: hub.url, offline: false, token: "hf_secret" });

test("a file comes whole, is found again without a download, and offline where the cache holds it", async () => {
  const at = options(temporaryFolder());
  const path = await fetchHubFile("hf://org/name/tokenizer.json", at, hint);
  expect(readFileSync(path).equals(content)).toBe(true);
  expect(path).toContain(hubCommit);
  expect(hub.tokens).toContain("Bearer hf_secret");
  expect(readFileSync(await fetchHubFile("hf://org/name@main/sub/other.json", at, hint), "utf8")).toBe("{}");
  const asked = hub.asked.filter((line) => line.includes("/resolve/")).length;
  expect(await fetchHubFile("hf://org/name/tokenizer.json", at, hint)).toBe(path);
  expect(hub.asked.filter((line) => line.includes("/resolve/"))).toHaveLength(asked);
  expect(await fetchHubFile("hf://org/name/tokenizer.json", { ...at, offline: true }, hint)).toBe(path);
  const notes: string[] = [];
  const away = { ...at, url: "http://127.0.0.1:9", onNote: (text: string) => notes.push(text) };
  expect(await fetchHubFile("hf://org/name/tokenizer.json", away, hint)).toBe(path);
  expect(notes.join()).toContain("cannot be reached; taking tokenizer.json from the cache");
});

test("a file that cannot be had is one error that says what to do", async () => {
  const at = options(temporaryFolder());
  await expect(fetchHubFile("hf://org/name/none.json", at, hint)).rejects.toThrow("org/name has no file none.json");
  await expect(fetchHubFile("hf://org/name/tokenizer.json", { ...at, offline: true }, hint)).rejects.toThrow(
    "HF_HUB_OFFLINE forbids downloads; name a copy",
  );
  await expect(
    fetchHubFile("hf://org/name/tokenizer.json", { ...at, url: "http://127.0.0.1:9" }, hint),
  ).rejects.toThrow(/cannot be reached .*; name a copy/);
  hub.status = 403;
  await expect(fetchHubFile("hf://org/name/tokenizer.json", at, hint)).rejects.toThrow("private or gated");
  hub.status = null;
  hub.wrongByte = true;
  await expect(fetchHubFile("hf://org/name/tokenizer.json", at, hint)).rejects.toThrow(/SHA-256/);
  await expect(fetchHubFile("hf://org/tokenizer.json", at, hint)).rejects.toThrow("is no file of a model repository");
  await expect(fetchHubFile("hf://org/name/../../x", at, hint)).rejects.toThrow("is no file of a model repository");
  expect([isHubFile("hf://org/name/x"), isHubFile("hf://datasets/org/name"), isHubFile("x")]).toEqual([
    true,
    false,
    false,
  ]);
});
