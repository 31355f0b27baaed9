/**
 * The benches' own addon (native/helper.cc), built when it is first needed: OpenBLAS's sgemm beside our kernels in one
 * process, and the machine's peak rates. Where there is no compiler, or no OpenBLAS, it says which.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

interface Helper {
  openBlas(path: string, threads: number): string;
  sgemm(
    transA: 0 | 1,
    transB: 0 | 1,
    m: number,
    n: number,
    k: number,
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
  ): number;
  allocate(bytes: number): ArrayBuffer;
  peak(unit: Unit, threads: number): number;
  readRate(threads: number): number;
}

export type Unit = "float32" | "bfloat16" | "int8";

/** What the machine gives at most: thousand million operations a second by unit (0: no such instruction), GB/s read. */
export interface Peaks {
  threads: number;
  float32: number;
  bfloat16: number;
  int8: number;
  readGBs: number;
}

const source = resolve(import.meta.dirname, "native/helper.cc");
const flags = "-std=gnu++17 -O2 -mtune=native -fPIC -shared -pthread -Wall -Wextra".split(" ");

/** @throws Error with the compiler's first line where it does not build */
export async function loadHelper(): Promise<Helper> {
  const text = readFileSync(source);
  const hash = createHash("sha256").update(text).update(flags.join()).digest("hex").slice(0, 16);
  const build = resolve(import.meta.dirname, "../build");
  const out = resolve(build, `bench-helper-${hash}.node`);
  const require = createRequire(import.meta.url);
  if (!existsSync(out)) {
    mkdirSync(build, { recursive: true });
    const made = `${out}.${process.pid}`;
    const headers: string = require("node-api-headers").include_dir;
    const compiler = process.env.CXX ?? "c++";
    const args = [...flags, "-isystem", headers, source, "-o", made, "-ldl"];
    const { status, stderr, error } = spawnSync(compiler, args, { encoding: "utf8" });
    if (status !== 0)
      throw new Error(`${compiler}: ${error?.message ?? stderr.split("\n").find((line) => /error/i.test(line))}`);
    renameSync(made, out);
  }
  return require(out) as Helper;
}

/** Where Debian keeps OpenBLAS; the OpenMP build first, which is the faster. BENCH_OPENBLAS names another file. */
const places = [
  ...["openmp", "pthread"].map((kind) => `/usr/lib/x86_64-linux-gnu/openblas-${kind}/libopenblas.so.0`),
  ...["openmp", "pthread"].map((kind) => `/usr/lib/aarch64-linux-gnu/openblas-${kind}/libopenblas.so.0`),
];

export interface OpenBlas {
  path: string;
  config: string;
  /** Thread teams of OpenMP wait actively for some milliseconds; a turn of ours starts after that. */
  settle(): Promise<void>;
  sgemm: Helper["sgemm"];
  floats(count: number): Float32Array;
}

/** OpenBLAS with this many threads, or why there is none. */
export async function openOpenBlas(threads: number): Promise<OpenBlas | { reason: string }> {
  const path = process.env.BENCH_OPENBLAS ?? places.find((place) => existsSync(place));
  if (!path || !existsSync(path))
    return { reason: `OpenBLAS: ${path ?? "libopenblas.so.0"} is not there (Debian: libopenblas0-openmp)` };
  // Read by OpenMP and OpenBLAS as they are loaded.
  process.env.OMP_NUM_THREADS = String(threads);
  process.env.OPENBLAS_NUM_THREADS = String(threads);
  process.env.OPENBLAS_THREAD_TIMEOUT ??= "22"; // of the pthread build: spins 2^22 cycles, about a millisecond
  try {
    const helper = await loadHelper();
    const config = helper.openBlas(path, threads);
    return {
      path,
      config,
      settle: () => new Promise((done) => setTimeout(done, 20)),
      sgemm: helper.sgemm,
      floats: (count) => new Float32Array(helper.allocate(4 * count)),
    };
  } catch (error) {
    return { reason: `OpenBLAS: ${(error as Error).message}` };
  }
}

/** The machine's peaks, measured now; or why not. */
export async function measurePeaks(threads: number): Promise<Peaks | { reason: string }> {
  try {
    const helper = await loadHelper();
    const of = (unit: Unit) => helper.peak(unit, threads);
    const peaks = { threads, float32: of("float32"), bfloat16: of("bfloat16"), int8: of("int8") };
    if (peaks.float32 === 0) return { reason: "the machine's peaks: there is no such loop for this processor" };
    return { ...peaks, readGBs: helper.readRate(threads) };
  } catch (error) {
    return { reason: `the machine's peaks: ${(error as Error).message}` };
  }
}
