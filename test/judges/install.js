/**
 * Installs the judges beside this file: what package.json names, and of node-llama-cpp's prebuilt binaries only this
 * machine's for the CPU (its optional packages for every GPU have some gigabytes, and its scripts fetch from elsewhere).
 *
 *   node test/judges/install.js [openai]    exits 1, saying why, where they cannot be had
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const { dependencies } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const binary = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "darwin-arm64": "mac-arm64-metal",
  "darwin-x64": "mac-x64",
  "win32-x64": "win-x64",
  "win32-arm64": "win-arm64",
}[`${process.platform}-${process.arch}`];
if (!binary) fail(`node-llama-cpp has no binary for ${process.platform}-${process.arch}`);

const wanted = [...Object.keys(dependencies), `@node-llama-cpp/${binary}`];
const installed = (name) => {
  const manifest = join(here, "node_modules", name, "package.json");
  const version = dependencies[name] ?? dependencies["node-llama-cpp"];
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version.replace(/^[\^~]/, "");
};
// With names behind it: these alone are looked for; all are installed where one is missing.
const asked = process.argv.slice(2);
if (!(asked.length > 0 ? asked : wanted).every(installed)) {
  const args = [
    "install",
    "--omit=optional",
    "--no-save",
    "--no-package-lock",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
  ];
  const names = [`@node-llama-cpp/${binary}@${dependencies["node-llama-cpp"]}`];
  try {
    execFileSync("npm", [...args, ...names], {
      cwd: here,
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 300_000,
      shell: process.platform === "win32",
    });
  } catch (error) {
    fail(
      `npm could not install them (${String(error.stderr ?? error.message)
        .trim()
        .split("\n")
        .at(-1)})`,
    );
  }
}

function fail(reason) {
  process.stderr.write(`judges: ${reason}\n`);
  process.exit(1);
}
