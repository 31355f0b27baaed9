/** onnxruntime as a judge: installed beside these tests if need be. Where it cannot be had, tests are skipped with the reason. */
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { test } from "vitest";

const folder = resolve(import.meta.dirname, "..");

/** What is used of onnxruntime-node, which is not among this package's dependencies. */
interface OnnxTensor {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}
interface OnnxRuntime {
  readonly env: { readonly versions: Record<string, string> };
  readonly InferenceSession: {
    create(path: string, options: object): Promise<{ run(feeds: object): Promise<Record<string, OnnxTensor>> }>;
  };
  readonly Tensor: new (type: string, data: BigInt64Array, dims: readonly number[]) => OnnxTensor;
}

function load(): { runtime: OnnxRuntime | null; absent: string | null } {
  try {
    execFileSync(process.execPath, [join(folder, "install.js")], { stdio: ["ignore", "ignore", "pipe"] });
    return { runtime: createRequire(join(folder, "package.json"))("onnxruntime-node"), absent: null };
  } catch (error) {
    const said = String((error as { stderr?: Buffer }).stderr ?? error).trim();
    return { runtime: null, absent: said.split("\n").at(-1)! };
  }
}
const { runtime, absent } = load();

/** A test that onnxruntime judges; skipped with its reason where it is absent. */
export function testOnnx(title: string, body: () => Promise<void>): void {
  if (absent) test.skip(`${title} (skipped: ${absent})`, () => {});
  else test(title, body);
}

export interface OnnxJudge {
  /** [B, T] ids to logits [B, T, V]. */
  logits(tokens: Int32Array, batch: number): Promise<OnnxTensor>;
}

/** @param optimize false: the graph as it is written, node by node */
export async function openOnnx(path: string, { optimize = true } = {}): Promise<OnnxJudge> {
  const { InferenceSession, Tensor } = runtime!;
  const session = await InferenceSession.create(path, {
    intraOpNumThreads: 1,
    graphOptimizationLevel: optimize ? "all" : "disabled",
  });
  return {
    async logits(tokens, batch) {
      const ids = new Tensor("int64", BigInt64Array.from(tokens, BigInt), [batch, tokens.length / batch]);
      return (await session.run({ input_ids: ids })).logits;
    },
  };
}
