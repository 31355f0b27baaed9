#!/usr/bin/env node
/**
 * Builds wasm/bitnet.wasm, which is committed, so that nobody needs this to use the package: the kernels as 128-bit WASM
 * SIMD over shared memory. It takes Clang and LLD (CLANG and WASM_LD name others). The committed bytes come out again
 * from the version in wasm/bitnet.json; another one builds a module that works.
 *
 *   node scripts/native/build-wasm.js                       writes wasm/bitnet.wasm, and beside it bitnet.json
 *   node scripts/native/build-wasm.js --check               builds nothing: exits 1 if a source has changed since
 *   ... --ops test/backends/kernels --out build/test.wasm   the kernels of another folder than src/ops, to another place
 */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { collectKernels, findTool, hashSources, putInPlace, root, runTool, ToolError, unitySource } from "./sources.js";

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

/** What the JSON beside a module says of its sources. */
function hashOf({ files }) {
  const parts = ["native", "native/wasm", "scripts/native/sources.js", "scripts/native/build-wasm.js"];
  return hashSources(files, parts, [compileFlags, linkFlags]);
}

async function build({ ops, out }) {
  const compiler = findTool(process.env.CLANG ? [process.env.CLANG] : ["clang-19", "clang"]);
  const linker = findTool(process.env.WASM_LD ? [process.env.WASM_LD] : ["wasm-ld-19", "wasm-ld"]);
  if (!compiler || !linker)
    throw new Error("Clang (clang-19, clang; or CLANG) or LLD (wasm-ld-19, wasm-ld; or WASM_LD) was not found");
  const sources = collectKernels({ ops });
  const work = join(root, "build", `wasm-${process.pid}`);
  const inWork = (name) => relative(root, join(work, name));
  mkdirSync(work, { recursive: true });
  try {
    const list = sources.kernels.map(({ name }) => `X(${name}) `).join("");
    writeFileSync(join(work, "kernels.h"), `#define BITNET_KERNELS(X) ${list}\n`);
    writeFileSync(join(work, "simd128.cc"), unitySource("simd128", sources));
    const compile = (from, to) => runTool(compiler, ["-c", ...compileFlags, `-I${inWork("")}`, from, "-o", inWork(to)]);
    const warnings = await Promise.all([
      compile(inWork("simd128.cc"), "simd128.o"),
      compile("native/wasm/wasm.cc", "wasm.o"),
    ]);
    const objects = [inWork("simd128.o"), inWork("wasm.o")];
    warnings.push(await runTool(linker, [...linkFlags, ...objects, "-o", inWork("bitnet.wasm")]));
    const sizeBytes = statSync(join(work, "bitnet.wasm")).size;
    const about = { clang: versionOf(compiler), lld: versionOf(linker), sources: hashOf(sources), sizeBytes };
    writeFileSync(join(work, "bitnet.json"), `${JSON.stringify(about, null, 2)}\n`);
    putInPlace(join(work, "bitnet.wasm"), out);
    putInPlace(join(work, "bitnet.json"), aboutFile(out));
    process.stderr.write(warnings.join(""));
    return `${relative(root, out)}: ${sources.kernels.length} kernels, ${sizeBytes} bytes, built by ${compiler.version}`;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const aboutFile = (out) => out.replace(/(\.wasm)?$/, ".json");
const versionOf = ({ version }) => /\d+\.\d+\.\d+/.exec(version)?.[0] ?? version;

function check({ ops, out }) {
  const built = JSON.parse(readFileSync(aboutFile(out), "utf8"));
  if (built.sources !== hashOf(collectKernels({ ops })))
    throw new Error(`${relative(root, out)} is older than its sources; \`npm run build:wasm\` builds it anew`);
  return `${relative(root, out)} is up to date`;
}

try {
  const text = { type: "string" };
  const { values } = parseArgs({ options: { check: { type: "boolean" }, ops: text, out: text } });
  const what = { ops: values.ops, out: resolve(root, values.out ?? "wasm/bitnet.wasm") };
  console.log(values.check ? check(what) : await build(what));
} catch (error) {
  console.error(error instanceof ToolError ? `${error.output}\n${error.message}` : error.message);
  process.exitCode = 1;
}
