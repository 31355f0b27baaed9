#!/usr/bin/env node
/**
 * Builds wasm/bitnet.wasm, which is committed, so that nobody needs this to use the package: the kernels as 128-bit WASM
 * SIMD over shared memory. It needs Clang and LLD of the version in wasm/bitnet.json for the committed bytes to come out
 * again (test/backends/wasm-build.test.ts); another 19.x builds a module that works.
 *
 *   node scripts/native/build-wasm.js              writes wasm/bitnet.wasm and wasm/bitnet.json
 *   node scripts/native/build-wasm.js --out DIR    writes both there
 *
 * CLANG and WASM_LD name other tools.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { collectKernels, findTool, hashSources, root, runTool, ToolError, unitySource } from "./sources.js";

const compileFlags = [
  ..."--target=wasm32-unknown-unknown -std=gnu++17 -O3 -ffp-contract=off -fno-math-errno -fno-exceptions -fno-rtti".split(
    " ",
  ),
  ..."-ffreestanding -nostdlib -fvisibility=hidden -msimd128 -matomics -mbulk-memory -Wall -Wextra -I. -Inative".split(
    " ",
  ),
];
const linkFlags = [
  ..."--no-entry --import-memory --shared-memory --max-memory=4294967296 --stack-first -z stack-size=1048576".split(
    " ",
  ),
  // The stack pointer is exported because each thread needs another; __heap_base is where JavaScript's layout begins.
  ..."--export=__stack_pointer --export=__heap_base --strip-all --gc-sections".split(" "),
];

/** What wasm/bitnet.json says of the sources as they are now. */
export function wasmSourcesHash() {
  const parts = ["native", "native/wasm", "scripts/native/sources.js", "scripts/native/build-wasm.js"];
  return hashSources(collectKernels().files, parts, [compileFlags, linkFlags]);
}

/** The tools, or null where one is missing. `version` is of the compiler: three numbers. */
export function findWasmTools() {
  const compiler = findTool([process.env.CLANG, "clang-19", "clang"]);
  const linker = findTool([process.env.WASM_LD, "wasm-ld-19", "wasm-ld"]);
  return compiler && linker && { compiler, linker, version: /\d+\.\d+\.\d+/.exec(compiler.version)?.[0] ?? "unknown" };
}

export async function buildWasm(out) {
  const tools = findWasmTools();
  if (!tools)
    throw new Error("Clang and LLD for WASM were not found (CLANG, clang-19, clang; WASM_LD, wasm-ld-19, wasm-ld)");
  const sources = collectKernels();
  const work = join(root, "build", `wasm-${process.pid}`);
  const inWork = (name) => relative(root, join(work, name));
  mkdirSync(work, { recursive: true });
  mkdirSync(out, { recursive: true });
  try {
    writeFileSync(
      join(work, "kernels.h"),
      `#define BITNET_KERNELS(X) ${sources.kernels.map(({ name }) => `X(${name}) `).join("")}\n`,
    );
    writeFileSync(join(work, "simd128.cc"), unitySource("simd128", sources));
    const compile = (from, to) =>
      runTool(tools.compiler, ["-c", ...compileFlags, `-I${inWork("")}`, from, "-o", inWork(to)]);
    const warnings = await Promise.all([
      compile(inWork("simd128.cc"), "simd128.o"),
      compile("native/wasm/wasm.cc", "wasm.o"),
    ]);
    const objects = [inWork("simd128.o"), inWork("wasm.o")];
    warnings.push(await runTool(tools.linker, [...linkFlags, ...objects, "-o", inWork("bitnet.wasm")]));
    const sizeBytes = readFileSync(join(work, "bitnet.wasm")).length;
    const about = { clang: tools.version, sources: wasmSourcesHash(), sizeBytes };
    writeFileSync(join(work, "bitnet.json"), `${JSON.stringify(about, null, 2)}\n`);
    for (const name of ["bitnet.wasm", "bitnet.json"]) renameSync(join(work, name), join(out, name));
    const line = `${relative(root, out)}/bitnet.wasm: ${sources.kernels.length} kernels, ${sizeBytes} bytes, built by ${tools.compiler.version}`;
    return `${warnings.join("")}${line}`;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({ options: { out: { type: "string" } } });
  try {
    console.log(await buildWasm(resolve(root, values.out ?? "wasm")));
  } catch (error) {
    console.error(error instanceof ToolError ? `${error.output}\n${error.message}` : error.message);
    process.exitCode = 1;
  }
}
