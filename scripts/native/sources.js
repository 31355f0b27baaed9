/**
 * What build-native.js and build-wasm.js share: finding the kernels, writing the one translation unit that holds them
 * all, and running compilers. Plain JavaScript: it runs before TypeScript is built, and as an install script.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's folder; compilers run in it, so that their messages name files from there. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/**
 * Every KERNEL(name) of <ops>/<op>/kernel.cc, by name. A KERNEL made by another macro is not seen.
 *
 * @param {{ ops?: string, only?: string[] }} which  the folder, src/ops unless told; and of its ops, these alone
 * @returns {{ files: string[], kernels: { name: string, op: string }[] }}
 */
export function collectKernels({ ops = "src/ops", only } = {}) {
  const folders = readdirSync(join(root, ops), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(root, ops, entry.name, "kernel.cc")))
    .map((entry) => entry.name)
    .sort();
  for (const name of only ?? [])
    if (!folders.includes(name))
      throw new Error(`--only ${name}: no ${ops}/${name}/kernel.cc; there are: ${folders.join(", ") || "none"}`);
  const files = [];
  const seen = new Map();
  for (const folder of folders) {
    if (only && !only.includes(folder)) continue;
    const file = `${ops}/${folder}/kernel.cc`;
    files.push(file);
    for (const [, name] of readFileSync(join(root, file), "utf8").matchAll(/^[ \t]*KERNEL\((\w+)\)/gm)) {
      if (seen.has(name)) throw new Error(`KERNEL(${name}) is in ${seen.get(name).file} and in ${file}; rename one`);
      seen.set(name, { name, file, op: namespaceOf(file) });
    }
  }
  const kernels = [...seen.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { files, kernels: kernels.map(({ name, op }) => ({ name, op })) };
}

const namespaceOf = (file) => `op_${basename(dirname(file)).replaceAll(/\W/g, "_")}`;

/**
 * The translation unit of all kernels for one instruction set. What native/ shares is compiled once, in the namespace
 * of the instruction set; each op then has a namespace inside it, so that two ops may both have a helper `row`, and
 * inlining still crosses files.
 */
export function unitySource(isa, { files, kernels }) {
  const shared = readdirSync(join(root, "native"))
    .filter((name) => name.endsWith(".h"))
    .sort();
  const lines = [`#define ISA_NS ${isa}`, ...shared.map((name) => `#include "native/${name}"`)];
  for (const file of files)
    lines.push("#undef ISA_NS", `#define ISA_NS ${isa}::${namespaceOf(file)}`, `#include "${file}"`);
  lines.push(
    "#undef ISA_NS",
    `namespace bitnet::${isa} {`,
    "// The last entry ends the table, which may be empty otherwise.",
    "extern const ::bitnet::KernelFunction kernels[];",
    "const ::bitnet::KernelFunction kernels[] = {",
    ...kernels.map(({ name, op }) => `    ${op}::${name},`),
    "    nullptr};",
    `}  // namespace bitnet::${isa}`,
  );
  return `${lines.join("\n")}\n`;
}

/**
 * sha256 of everything that a build depends on: the kernels' files, the headers beside them, other files and the files
 * right inside other folders (`parts`), and flags and versions (`also`).
 */
export function hashSources(kernelFiles, parts, also) {
  const hash = createHash("sha256").update(JSON.stringify(also));
  const inFolder = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `${folder}/${entry.name}`);
  const headers = kernelFiles.flatMap((file) => inFolder(dirname(file)).filter((name) => name.endsWith(".h")));
  const others = parts.flatMap((part) => (statSync(join(root, part)).isDirectory() ? inFolder(part) : [part]));
  for (const file of [...kernelFiles, ...headers, ...others].sort()) {
    const bytes = readFileSync(join(root, file));
    hash.update(`${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex").slice(0, 32);
}

/** Puts a built file in its place, whole: builds may overlap, and a running process keeps what it loaded. */
export function putInPlace(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, `${to}.${process.pid}`);
  renameSync(`${to}.${process.pid}`, to);
}

/** The first of `candidates` (command lines; empty ones are passed over) that runs, with the first line it says. */
export function findTool(candidates) {
  for (const candidate of candidates) {
    const [command, ...args] = (candidate ?? "").trim().split(/\s+/);
    if (!command) continue;
    const result = spawnSync(command, [...args, "--version"], { encoding: "utf8" });
    if (result.status === 0) return { command, args, version: result.stdout.split("\n")[0].trim() };
  }
  return null;
}

/** A compiler that said no: `output` is all that it wrote, `message` the first line with an error in it. */
export class ToolError extends Error {
  constructor(command, status, output) {
    const line = output.split("\n").find((text) => /error/i.test(text)) ?? output.split("\n")[0];
    super(`${command} ended with ${status}: ${line.trim()}`);
    this.output = output;
  }
}

/** Runs a tool in the package's folder. @returns what it wrote (warnings). @throws ToolError */
export function runTool({ command, args }, more, env = process.env) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args, ...more], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    child.on("error", (error) => reject(new ToolError(command, error.message, output)));
    child.on("close", (code, signal) =>
      code === 0 ? resolve(output) : reject(new ToolError(command, signal ?? `status ${code}`, output)),
    );
  });
}
