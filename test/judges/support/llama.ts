/**
 * llama.cpp as a judge: installed beside these tests if need be, asked in a process of its own. Where it cannot be had,
 * tests are skipped with the reason.
 */
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "vitest";
import { sharedPath } from "../../support/shared.ts";

const folder = resolve(import.meta.dirname, "..");

/** Why there is no judge; null where there is. Installing takes half a minute, once. */
export const absent: string | null = (() => {
  try {
    execFileSync(process.execPath, [join(folder, "install.js")], { stdio: ["ignore", "ignore", "pipe"] });
    return null;
  } catch (error) {
    return String((error as { stderr?: Buffer }).stderr ?? error)
      .trim()
      .split("\n")
      .at(-1)!;
  }
})();

/** A test that llama.cpp judges, and that may need files under shared/; skipped with its reason where one is absent. */
export function testJudge(
  title: string,
  shared: readonly string[],
  body: () => Promise<void>,
  timeoutMs = 120_000,
): void {
  const missing = shared.find((path) => !existsSync(sharedPath(path)));
  const reason = absent ?? (missing && `../shared/${missing} is absent`);
  if (reason) test.skip(`${title} (skipped: ${reason})`, () => {});
  else test(title, body, timeoutMs);
}

export interface JudgeRequest {
  model: string;
  /** Load the vocabulary alone, of a file without tensors. */
  vocabOnly?: boolean;
  contextSize?: number;
  /** Texts to tokenise, special tokens as ordinary text. */
  lines?: readonly string[];
  /** Which of the first so many tokens end generation. */
  ends?: number;
  /** Continue each prompt by the likeliest token, up to `count` or the end of text. */
  greedy?: { prompts: readonly (readonly number[])[]; count: number };
  /** Logits after every token of these texts. */
  logits?: readonly (readonly number[])[];
}

export interface JudgeAnswer {
  architecture: string;
  tokens?: number[][];
  ends?: number[];
  greedy?: number[][];
  logits?: number[][][];
}

/** One process for all requests of a test file; a new one where it has died. */
let judge: { child: ChildProcess; said: string } | null = null;

function startJudge(): { child: ChildProcess; said: string } {
  const child = fork(join(folder, "llama-judge.js"), { cwd: folder, silent: true });
  const started = { child, said: "" };
  child.stderr!.setEncoding("utf8").on("data", (text) => {
    started.said = (started.said + text).slice(-4000);
  });
  child.on("exit", () => {
    if (judge === started) judge = null;
  });
  return started;
}

/** @throws Error with llama.cpp's last words where it refuses the file, or ends */
export function askLlama(request: JudgeRequest): Promise<JudgeAnswer> {
  judge ??= startJudge();
  const { child } = judge;
  const asked = judge;
  asked.said = "";
  return new Promise<JudgeAnswer>((done, failed) => {
    const words = () => asked.said.trim().split("\n").slice(-6).join(" | ");
    const settle = (end: () => void) => {
      child.off("message", onMessage).off("exit", onExit);
      end();
    };
    const onMessage = (message: unknown) => {
      const { answer, error } = message as { answer?: JudgeAnswer; error?: string };
      settle(() => (answer ? done(answer) : failed(new Error(`llama.cpp: ${error}; it said: ${words()}`))));
    };
    const onExit = (code: number | null, signal: string | null) =>
      settle(() => failed(new Error(`llama.cpp ended with ${code ?? signal}; it said: ${words()}`)));
    child.on("message", onMessage).on("exit", onExit);
    child.send(request);
  });
}

/** Ends the judge's process: for afterAll. */
export function dismissLlama(): void {
  judge?.child.disconnect();
  judge = null;
}
