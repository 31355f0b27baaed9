/**
 * Does bfloat16 in backward change what is learned: the same 300 steps of `tiny` twice, with bfloat16 and with float32
 * products, same weights, same tokens of TinyStories in the same order. `npm run bench -- losses` (by name alone: minutes).
 * Every tenth step's loss is logged; the two must stay within 1 %.
 *
 *   --batch 8 --steps 300 --data FILE
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { provenance, writeResult } from "./machine.ts";

const here = import.meta.dirname;
const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    batch: { type: "string" },
    sequence: { type: "string" },
    steps: { type: "string" },
    threads: { type: "string", default: "2" },
    data: { type: "string" },
  },
});
const { quick } = options;
const steps = Number(options.steps ?? (quick ? 3 : 300));
const batch = options.batch ?? (quick ? "1" : "8");
const sequence = options.sequence ?? (quick ? "32" : "256");
const stories = resolve(here, "../../shared/data/tinystories");
const data = options.data ?? resolve(stories, quick ? "valid.txt" : "train.txt.gz");
if (!existsSync(data)) {
  console.log(`left out: losses: ${data} is not there (--data FILE)`);
  process.exit(0);
}

const run = (program: string, args: string[]) => {
  const { status, stderr } = spawnSync(process.execPath, ["--import", "tsx", resolve(here, program), ...args], {
    encoding: "utf8",
    stdio: ["ignore", "inherit", "pipe"],
  });
  if (status !== 0) throw new Error(`${program} ${args[0]}: ${stderr.trim()}`);
};
const folder = mkdtempSync(join(tmpdir(), "bitnet-losses-"));
try {
  const [tokenizer, batches] = [join(folder, "tokenizer.json"), join(folder, "batches.i32")];
  const shape = ["--batch", batch, "--sequence", sequence, "--steps", `${steps}`];
  run("../src/cli/main.ts", ["tokenizer", "train", "--data", data, "--vocab-size", "2048", "-o", tokenizer]);
  run("curve.ts", ["export", "--data", data, "--tokenizer", tokenizer, "--batches", batches, ...shape]);
  const series = (["bf16", "fp32"] as const).map((precision) => {
    const out = join(folder, `${precision}.json`);
    const settings = ["--micro", batch, "--threads", options.threads, "--precision", precision];
    run("curve.ts", ["train", "--batches", batches, "--out", out, ...shape, ...settings]);
    const { log } = JSON.parse(readFileSync(out, "utf8")) as { log: { step: number; loss: number }[] };
    return log.filter(({ step }) => step === 1 || step % 10 === 0);
  });
  const rows = series[0].map(({ step, loss }, i) => {
    const float32 = series[1][i].loss;
    return { step, bfloat16: loss, float32, difference: loss / float32 - 1 };
  });
  const worst = rows.reduce((a, b) => (Math.abs(b.difference) > Math.abs(a.difference) ? b : a));
  console.log(
    `furthest apart at step ${worst.step}: ${worst.bfloat16.toFixed(4)} and ${worst.float32.toFixed(4)} (${(100 * worst.difference).toFixed(2)} %)`,
  );
  writeResult(
    "performance-losses",
    {
      ...provenance(["npm run bench -- losses", ...process.argv.slice(2)].join(" ")),
      ...{ preset: "tiny", batch: Number(batch), sequence: Number(sequence), steps, worst, rows },
    },
    quick,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
