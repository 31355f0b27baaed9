/** Runs the build scripts of scripts/native/ as a person would, for the tests of this folder. */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

export interface BuildResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** @param env  added to this process's; undefined takes a variable away */
export function runBuild(
  script: "build-native" | "build-wasm",
  args: readonly string[],
  env: Record<string, string | undefined> = {},
): BuildResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, `scripts/native/${script}.js`), ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

/** Where the addon and the module with the kernels of ./kernels are built; kept, and built anew where sources change. */
export const testAddon = join(root, "build/test/bitnet.node");
export const testModule = join(root, "build/test/bitnet.wasm");

/** Builds what the tests launch. Returns why there is none, or null. */
export const buildTestAddon = (): string | null => refusal(runBuild("build-native", [...kernels, "--out", testAddon]));
export const buildTestModule = (): string | null => refusal(runBuild("build-wasm", [...kernels, "--out", testModule]));

const kernels = ["--ops", "test/backends/kernels"];

function refusal({ status, stderr }: BuildResult): string | null {
  if (status === 0) return null;
  if (/no C\+\+ compiler|was not found|no native kernels for/.test(stderr)) return stderr.trim();
  throw new Error(`the test kernels do not build:\n${stderr}`);
}
