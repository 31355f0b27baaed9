/** Starts `bitnet` from its sources as a process of its own; with a moment, it is sent a signal there (signal-at.js). */
import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** Before the count-th call of a function of node:fs on a path that holds `path`. */
export interface Moment {
  call: "openSync" | "renameSync" | "mkdirSync" | "writeSync";
  path: string;
  count: number;
  /** The path ends with `path`. */
  ends?: boolean;
  /** Of writeSync: half of the bytes are written first. */
  torn?: boolean;
  /** Default SIGKILL. */
  signal?: "SIGKILL" | "SIGINT";
}

export interface StartedProcess {
  child: ChildProcess;
  /** What came from both outputs so far. */
  said: string[];
  /** Exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>;
}

const root = resolve(import.meta.dirname, "../..");
const preload = pathToFileURL(resolve(import.meta.dirname, "signal-at.js")).href;

export function startBitnet(args: readonly string[], moment?: Moment): StartedProcess {
  const { signal = "SIGKILL", ...rest } = moment ?? {};
  const child = spawn(
    process.execPath,
    [...["--import", "tsx", ...(moment ? ["--import", preload] : [])], ...[resolve(root, "src/cli/main.ts"), ...args]],
    {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, BITNET_TEST_SIGNAL: JSON.stringify({ signal, ...rest }) },
    },
  );
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => said.push(data.toString()));
  const ended = new Promise<number | NodeJS.Signals>((done) =>
    child.on("close", (code, endedBy) => done(endedBy ?? code!)),
  );
  return { child, said, ended };
}
