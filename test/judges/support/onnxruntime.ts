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

/** A graph with a key-value cache, run as transformers.js does: masks, positions counted over them, present as the next past. */
export interface CachedOnnx {
  /**
   * @param tokens rows of T ids, behind what was run before
   * @param mask   rows of P + T: 0 for padding
   * @returns logits [B, T, V]
   */
  step(tokens: readonly number[][], mask: readonly number[][]): Promise<OnnxTensor>;
}

/** @param cache layers, key/value heads and their width */
export async function openCachedOnnx(path: string, cache: { L: number; G: number; D: number }): Promise<CachedOnnx> {
  const { InferenceSession, Tensor } = runtime!;
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1 });
  const names = Array.from({ length: 2 * cache.L }, (_, i) => `${i >> 1}.${i % 2 === 0 ? "key" : "value"}`);
  const Floats = Tensor as unknown as new (type: string, data: Float32Array, dims: readonly number[]) => OnnxTensor;
  let past: Record<string, OnnxTensor> | null = null;
  return {
    async step(tokens, mask) {
      const B = tokens.length;
      const ints = (rows: readonly number[][]) =>
        new Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [B, rows[0].length]);
      const positions = mask.map((row, b) => {
        let seen = 0;
        const all = row.map((one) => (one === 0 ? 1 : seen++));
        return all.slice(-tokens[b].length);
      });
      past ??= Object.fromEntries(
        names.map((name) => [name, new Floats("float32", new Float32Array(0), [B, cache.G, 0, cache.D])]),
      );
      const before = Object.entries(past).map(([name, tensor]) => [`past_key_values.${name}`, tensor]);
      const feeds = { input_ids: ints(tokens), attention_mask: ints(mask), position_ids: ints(positions) };
      const out = await session.run({ ...feeds, ...Object.fromEntries(before) });
      past = Object.fromEntries(names.map((name) => [name, out[`present.${name}`]]));
      return out.logits;
    },
  };
}
