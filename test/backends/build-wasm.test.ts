// The committed wasm/bitnet.wasm against its sources. Oracles: the hash in wasm/bitnet.json, everywhere; and where the
// very Clang and LLD that built it are here, the bytes that they make now.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runBuild } from "./build.ts";

const committed = resolve(import.meta.dirname, "../../wasm/bitnet.wasm");
const about = JSON.parse(readFileSync(committed.replace(/wasm$/, "json"), "utf8"));

const version = (tool: string) =>
  /\d+\.\d+\.\d+/.exec(spawnSync(tool, ["--version"], { encoding: "utf8" }).stdout ?? "")?.[0];
const major = about.clang.split(".")[0];
const clang = [`clang-${major}`, "clang"].find((tool) => version(tool) === about.clang);
const lld = [`wasm-ld-${major}`, "wasm-ld"].find((tool) => version(tool) === about.lld);

test("no source has changed since it was built", () => {
  expect(runBuild("build-wasm", ["--check"])).toEqual({
    status: 0,
    stdout: "wasm/bitnet.wasm is up to date\n",
    stderr: "",
  });
});

const missing = clang && lld ? "" : ` (skipped: Clang ${about.clang} or LLD ${about.lld} is not here)`;
test.skipIf(missing)(`building it again gives the same bytes${missing}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-wasm-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const out = join(folder, "again.wasm");
  const { status, stderr } = runBuild("build-wasm", ["--out", out], { CLANG: clang, WASM_LD: lld });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(readFileSync(out).equals(readFileSync(committed))).toBe(true);
});

test("names no file of the machine that built it", () => {
  const text = readFileSync(committed).toString("latin1");
  expect(text).not.toMatch(/kernel\.cc|\/home\/|\/root\/|\/tmp\/|\/usr\//);
});

test("without Clang, the build says what is missing", () => {
  const { status, stderr } = runBuild("build-wasm", [], { CLANG: "no-such-clang" });
  expect(status).toBe(1);
  expect(stderr).toContain("Clang (clang-19, clang; or CLANG) or LLD (wasm-ld-19, wasm-ld; or WASM_LD) was not found");
});
