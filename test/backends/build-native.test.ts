// What a person sees of scripts/native/build-native.js, and the addon inside worker threads. Oracle: its exit status and
// the lines that it prints.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { buildTestAddon, runBuild, testAddon } from "./build.ts";

const absent = buildTestAddon();

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-build-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

test("without a compiler, --optional is one line and succeeds; without it, it fails", () => {
  const out = join(temporaryFolder(), "none.node");
  const optional = runBuild("build-native", ["--optional", "--out", out], { CXX: "no-such-compiler" });
  expect(optional).toEqual({
    status: 0,
    stdout:
      "bitnet.ts: native kernels were not built (no C++ compiler: no-such-compiler did not run; CXX can name one); the WASM backend will serve.\n",
    stderr: "",
  });
  const wanted = runBuild("build-native", ["--out", out], { CXX: "no-such-compiler" });
  expect(wanted.status).toBe(1);
  expect(wanted.stderr).toContain("no C++ compiler: no-such-compiler did not run");
  expect(existsSync(out)).toBe(false);
});

test("finds no compiler on an empty PATH", () => {
  const empty = temporaryFolder();
  const { status, stdout } = runBuild("build-native", ["--optional"], { CXX: undefined, PATH: empty });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^bitnet\.ts: .*no C\+\+ compiler: c\+\+, g\+\+, clang\+\+ did not run.*\n$/);
});

test("refuses an unknown option and an unknown op, naming it", () => {
  expect(runBuild("build-native", ["--fast"]).stderr).toContain("--fast");
  const { status, stderr } = runBuild("build-native", ["--ops", "test/backends/kernels", "--only", "nope"]);
  expect(status).toBe(1);
  expect(stderr).toContain("--only nope: no test/backends/kernels/nope/kernel.cc; there are: other, team");
});

describe.skipIf(absent)(absent ? `with a compiler (${absent})` : "with a compiler", () => {
  const broken = ["--ops", "test/backends/broken"];

  test("a kernel that does not compile fails with the compiler's message, which names the file", () => {
    const out = join(temporaryFolder(), "broken.node");
    const { status, stderr } = runBuild("build-native", [...broken, "--out", out]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/test\/backends\/broken\/wrong\/kernel\.cc:6:\d+: error: .*no_such_function/);
    expect(existsSync(out)).toBe(false);
  });

  test("the same with --optional is one line and succeeds", () => {
    const out = join(temporaryFolder(), "broken.node");
    const { status, stdout, stderr } = runBuild("build-native", ["--optional", ...broken, "--out", out]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(
      /^bitnet\.ts: native kernels were not built \(.*kernel\.cc:6.*\); the WASM backend will serve\.\n$/,
    );
  });

  test("builds nothing when no source has changed, and says so in one line", () => {
    const before = readFileSync(testAddon);
    const { status, stdout, stderr } = runBuild("build-native", [
      ...["--ops", "test/backends/kernels", "--out", testAddon],
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^build\/test\/bitnet\.node: 5 kernels for .* is up to date\n$/);
    expect(readFileSync(testAddon).equals(before)).toBe(true);
  });

  test("an addon of older sources is built anew", () => {
    const out = join(temporaryFolder(), "stale.node");
    writeFileSync(out, "bitnet-sources:0123456789abcdef0123456789abcdef");
    const args = ["--ops", "test/backends/kernels", "--only", "other", "--out", out];
    const { stdout } = runBuild("build-native", args);
    expect(stdout).toMatch(/1 kernels for .*, built in .* s by .*\n$/);
    expect(readFileSync(out).length).toBeGreaterThan(1000);
  });

  // What the addon itself refuses: src/backends/processor.ts stops users earlier, so it is called directly.
  describe("the addon", () => {
    // biome-ignore lint/suspicious/noExplicitAny: called with wrong arguments on purpose
    let addon: any;
    beforeAll(() => {
      const module = { exports: {} };
      process.dlopen(module, testAddon);
      addon = module.exports;
    });

    test("refuses addresses, ranges, pools, kernels and instruction sets that are not its own", () => {
      const address = addon.allocate(64);
      const pool = addon.createPool(2);
      const isa = addon.supported.lastIndexOf(true);
      const none = new Float64Array(0);
      expect(() => addon.write(address, 60, new Float32Array(2))).toThrow("bytes outside an allocation");
      expect(() => addon.read(address, 65, new Uint8Array(0))).toThrow("bytes outside an allocation");
      expect(() => addon.write(address + 64, 0, new Uint8Array(1))).toThrow("bytes outside an allocation");
      expect(() => addon.write(address, 0, [1])).toThrow("not a typed array");
      expect(() => addon.write(address, -1, new Uint8Array(1))).toThrow("not a whole number");
      expect(() => addon.launch(pool, isa, addon.kernels.length, none, none)).toThrow("no such kernel");
      expect(() => addon.launch(pool, addon.isas.length, 0, none, none)).toThrow("no such instruction set");
      expect(() => addon.launch(pool + 1, isa, 0, none, none)).toThrow("no such pool");
      expect(() => addon.launch(pool, isa, 0, Float64Array.of(address + 1), none)).toThrow("an unknown address");
      expect(() => addon.launch(pool, isa, 0, Float64Array.of(Number.NaN), none)).toThrow("an unknown address");
      expect(() => addon.launch(pool, isa, 0, new Float64Array(33), none)).toThrow("at most 32");
      expect(() => addon.createPool(0)).toThrow("threads must be 1 to 256");
      addon.closePool(pool);
      expect(() => addon.closePool(pool)).toThrow("no such pool");
      addon.free(address);
      expect(() => addon.free(address)).toThrow("free of an unknown address");
      expect(addon.allocate(2 ** 50)).toBe(0);
    });

    test("gives a freed large block back to the system, all of it", () => {
      const mebibyte = 2 ** 20;
      // Not a multiple of a page, so that rounding is at work.
      const data = new Uint8Array(64 * mebibyte + 64).fill(1);
      const usage = () => {
        const status = existsSync("/proc/self/statm") ? readFileSync("/proc/self/statm", "utf8") : null;
        return { resident: process.memoryUsage.rss(), mapped: Number(status?.split(" ")[0] ?? 0) * 4096 };
      };
      const before = usage();
      for (let i = 0; i < 20; i++) {
        const address = addon.allocate(data.length);
        addon.write(address, 0, data);
        if (i === 0) expect(usage().resident - before.resident).toBeGreaterThan(60 * mebibyte);
        addon.free(address);
      }
      expect(usage().resident - before.resident).toBeLessThan(20 * mebibyte);
      expect(usage().mapped - before.mapped).toBeLessThan(20 * mebibyte);
    });

    test("works in several worker threads at once, each with a pool and memory that end with it", async () => {
      const kernel = addon.kernels.indexOf("team_barriers");
      const isa = addon.supported.lastIndexOf(true);
      // A worker leaves its pool and memory behind on purpose; the next ones find nothing of them.
      const code = `
        const { parentPort, workerData } = require("node:worker_threads");
        const module_ = { exports: {} };
        process.dlopen(module_, workerData.path);
        const addon = module_.exports;
        const pool = addon.createPool(3);
        const wrong = addon.allocate(64);
        addon.write(wrong, 0, new Int32Array(3).fill(-1));
        for (let i = 0; i < 50; i++)
          addon.launch(pool, workerData.isa, workerData.kernel, Float64Array.of(wrong), Float64Array.of(5));
        const counts = new Int32Array(3);
        addon.read(wrong, 0, counts);
        parentPort.postMessage({ pool, counts: [...counts] });
      `;
      const run = () =>
        new Promise((resolve, reject) => {
          let message: unknown;
          const worker = new Worker(code, { eval: true, workerData: { path: testAddon, isa, kernel }, execArgv: [] });
          worker.on("message", (value) => {
            message = value;
          });
          worker.on("error", reject);
          worker.on("exit", () => resolve(message));
        });
      for (let i = 0; i < 2; i++)
        expect(await Promise.all([run(), run(), run()])).toEqual(Array(3).fill({ pool: 0, counts: [0, 0, 0] }));
    });
  });
});
