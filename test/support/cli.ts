/** Runs the built `bitnet` as a process of its own, as users do. `npm test` builds before it tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";

const program = resolve(import.meta.dirname, "../../dist/cli/main.js");

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Written to the standard input, which is then closed. */
  input?: string | Uint8Array;
  /** Does something to the process while it runs. */
  meanwhile?: (child: ChildProcess) => void;
}

export function bitnet(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  if (!existsSync(program)) throw new Error(`${program} is not there; build it first: npm run build`);
  const { cwd, env, input, meanwhile } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { cwd, env: { ...process.env, ...env } });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    meanwhile?.(child);
  });
}
