#!/usr/bin/env node
/**
 * Builds build/bitnet.node: every kernel for every instruction set of this processor's family, the thread pool and the
 * N-API binding. It needs a C++ compiler (GCC 11 or Clang 12, or newer) and nothing else; docs/log.md says why not node-gyp.
 *
 *   node scripts/native/build-native.js               build; a failure prints the compiler's message and exits 1
 *   node scripts/native/build-native.js --optional    (npm's postinstall) a failure is one line and exit 0: WASM serves
 *   ... --only fill,rms-norm --out build/mine.node    some ops only, while writing a kernel (BITNET_ADDON loads it)
 *   ... --ops test/backends/kernels --out FILE        the kernels of another folder than src/ops
 *
 * CXX names another compiler. npm may be set not to run the install scripts of dependencies; then the addon is built by
 * `npm rebuild bitnet.ts`, or by running this very file with node.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { collectKernels, findTool, hashSources, putInPlace, root, runTool, ToolError, unitySource } from "./sources.js";

// The processor families; the addon (native/addon/cpu.h) decides at run time which of a family's to use.
const instructionSets = {
  x64: {
    x86_64_v2: ["-march=x86-64-v2"],
    avx2: ["-march=x86-64-v3"],
    // Zen 4, Sapphire Rapids and later. An AVX-512 processor without VNNI, VBMI or BF16 takes avx2.
    avx512: ["-march=x86-64-v4", "-mavx512vnni", "-mavx512vbmi", "-mavx512bf16"],
  },
  arm64: { neon: ["-march=armv8-a"] },
};

// No -ffast-math: NaN and infinity mean something. A product and a sum become one FMA only where simd.h's fma() asks, so
// that results do not hang on the compiler. Square roots need not set errno (else each would be a call into libm).
const compileFlags = [
  ..."-std=gnu++17 -O3 -ffp-contract=off -fno-math-errno -fno-exceptions -fno-rtti".split(" "),
  ..."-fPIC -fvisibility=hidden -pthread -I. -Inative".split(" "),
  ..."-Wall -Wextra -Wno-psabi".split(" "),
];
// GCC 12 finds fault with its own AVX-512 header (its bug 105593).
const gccFlags = ["-Wno-maybe-uninitialized"];
const linkFlags = process.platform === "darwin" ? ["-bundle", "-undefined", "dynamic_lookup"] : ["-shared", "-pthread"];

function includeFolder() {
  const ofNode = join(dirname(process.execPath), "..", "include", "node");
  try {
    readFileSync(join(ofNode, "node_api.h"));
    return ofNode;
  } catch {
    return createRequire(import.meta.url)("node-api-headers").include_dir;
  }
}

/** @returns {Promise<{ line: string, warnings: string }>} */
async function build({ ops, only, out }) {
  const sets = instructionSets[process.arch];
  if (!sets || process.platform === "win32")
    throw new Error(`there are no native kernels for ${process.platform} on ${process.arch}`);
  const candidates = process.env.CXX ? [process.env.CXX] : ["c++", "g++", "clang++"];
  const compiler = findTool(candidates);
  if (!compiler) throw new Error(`no C++ compiler: ${candidates.join(", ")} did not run; CXX can name one`);
  const sources = collectKernels({ ops, only });
  const isas = Object.keys(sets);
  const what = `${relative(root, out)}: ${sources.kernels.length} kernels for ${isas.join(", ")}`;

  // The hash is inside the addon, so that there is no second file to fall out of step.
  const parts = ["native", "native/addon", "scripts/native/sources.js", "scripts/native/build-native.js"];
  const ownFlags = [...compileFlags, ...(/clang/i.test(compiler.version) ? [] : gccFlags)];
  const flags = [compiler, ownFlags, linkFlags, sets, process.platform, process.arch];
  const hash = `bitnet-sources:${hashSources(sources.files, parts, flags)}`;
  try {
    if (readFileSync(out).includes(hash)) return { line: `${what} is up to date`, warnings: "" };
  } catch {} // not built yet

  const work = join(root, "build", `native-${process.pid}`);
  const inWork = (name) => relative(root, join(work, name));
  mkdirSync(work, { recursive: true });
  const start = Date.now();
  try {
    const quoted = (list) => list.map((name) => `X(${name}) `).join("");
    writeFileSync(
      join(work, "kernels.h"),
      `#define BITNET_KERNELS(X) ${quoted(sources.kernels.map(({ name }) => name))}\n` +
        `#define BITNET_ISAS(X) ${quoted(isas)}\n#define BITNET_SOURCES "${hash}"\n`,
    );
    const jobs = isas.map((isa) => {
      writeFileSync(join(work, `${isa}.cc`), unitySource(isa, sources));
      return [inWork(`${isa}.cc`), ["-c", ...ownFlags, ...sets[isa], inWork(`${isa}.cc`), "-o", inWork(`${isa}.o`)]];
    });
    const headers = ["-isystem", includeFolder(), `-I${inWork("")}`];
    jobs.push([
      "native/addon/addon.cc",
      ["-c", ...ownFlags, ...headers, "native/addon/addon.cc", "-o", inWork("addon.o")],
    ]);
    const warnings = await inParallel(
      jobs.map(
        ([, args]) =>
          () =>
            runTool(compiler, args),
      ),
    );
    // The least set first: of a function that all of them have a copy of, the linker keeps the first.
    const objects = [...isas, "addon"].map((name) => inWork(`${name}.o`));
    warnings.push(await runTool(compiler, [...linkFlags, ...objects, "-o", inWork("bitnet.node")]));
    putInPlace(join(work, "bitnet.node"), out);
    const seconds = ((Date.now() - start) / 1000).toFixed(1);
    const line = `${what}, built in ${seconds} s by ${compiler.version}`;
    return { line, warnings: [...new Set(warnings)].join("") };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Runs the jobs, as many at a time as there are processors; the first failure is thrown once the running ones end. */
async function inParallel(jobs) {
  const results = [];
  const queue = jobs.map((job, i) => ({ job, i }));
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      try {
        results[next.i] = await next.job();
      } catch (error) {
        queue.length = 0;
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: availableParallelism() }, worker));
  const failed = ended.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
  return results;
}

let optional = false;
try {
  const text = { type: "string" };
  const { values } = parseArgs({ options: { optional: { type: "boolean" }, ops: text, only: text, out: text } });
  optional = values.optional ?? false;
  const { line, warnings } = await build({
    ops: values.ops,
    only: values.only?.split(","),
    out: resolve(root, values.out ?? "build/bitnet.node"),
  });
  if (!optional) process.stderr.write(warnings);
  console.log(line);
} catch (error) {
  if (optional) {
    console.log(`bitnet.ts: native kernels were not built (${error.message}); the WASM backend will serve.`);
  } else {
    const aside = "(--only OP,OP --out FILE builds those ops alone, and BITNET_ADDON=FILE loads it)";
    console.error(error instanceof ToolError ? `${error.output}\n${error.message}\n${aside}` : error.message);
    process.exitCode = 1;
  }
}
