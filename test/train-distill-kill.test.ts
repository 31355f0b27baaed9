// A real process, really killed (SIGKILL), that learns from a teacher: between steps, amid a checkpoint, amid the writing of the
// teacher's targets. Oracle: the same command, left alone. Whatever the moment, `--resume` must come to the same losses and weights.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readScalars } from "../src/train/scalars.ts";
import { type Moment, startBitnet } from "./support/signalled.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-distill-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = join(folder, "text.txt");
const words = ["one", "two", "three", "four", "five"];
writeFileSync(text, Array.from({ length: 900 }, (_, i) => words[(i * i + (i >> 3)) % 5]).join(" "));
const teacher = join(folder, "teacher");

function start(run: string, moment: Moment | undefined, ...more: string[]) {
  const sizes = { layers: 2, heads: 2, kvHeads: 1, contextLength: 16 };
  return startBitnet(
    [
      ...["train", "tiny", "--data", text, "--run-dir", run, "--backend", "reference"],
      ...Object.entries(sizes).map(([key, value]) => `--model.${key}=${value}`),
      ...["--train.batch=4", "--train.sequence=16", "--seed", "2", "--samples.every=null", "--evaluation.every=null"],
      ...["--evaluation.batches=1", "--checkpoints.every=4", "--data.cacheDir", join(folder, "cache")],
      ...more,
    ],
    moment,
  );
}

beforeAll(async () => {
  const wide = ["--model.width=24", "--model.hiddenWidth=40", "--variant", "full", "--tokenizer.kind=characters"];
  const { ended, said } = start(teacher, undefined, ...wide, "--steps", "20");
  expect(await ended, said.join("")).toBe(0);
});

const losses = (run: string) =>
  readScalars(join(run, "metrics", "scalars.jsonl")).map(({ step, loss, losses, val_loss, grad_norm }) => ({
    ...{ step, loss, losses, val_loss, grad_norm },
  }));
const weights = (run: string) => readFileSync(join(run, "checkpoints", "step_000012", "model.safetensors"));
const student = ["--model.width=16", "--model.hiddenWidth=24", "--steps", "12", "--teacher", teacher];

async function comesToTheSame(name: string, moments: readonly Moment[], options: (run: string) => string[]) {
  const [left, run] = [join(folder, `${name}-left-alone`), join(folder, `${name}-killed`)];
  const whole = start(left, undefined, ...student, ...options(left));
  expect(await whole.ended, whole.said.join("")).toBe(0);
  for (const moment of moments) {
    const killed = start(run, moment, ...student, ...options(run), "--resume", "auto");
    expect(await killed.ended, `${JSON.stringify(moment)}: ${killed.said.join("")}`).toBe("SIGKILL");
  }
  const last = start(run, undefined, ...student, ...options(run), "--resume", "auto");
  expect(await last.ended, last.said.join("")).toBe(0);
  expect(losses(run)).toEqual(losses(left));
  expect(weights(run).equals(weights(left))).toBe(true);
}

test("with a teacher, relations and a projection that is trained", async () => {
  const moments: Moment[] = [
    { call: "writeSync", path: "scalars.jsonl", count: 7, torn: true },
    { call: "writeSync", path: "/checkpoints/", count: 3, torn: true },
  ];
  await comesToTheSame("states", moments, () => [
    ...["--distill.alpha", "0.3", "--distill.temperature", "2", "--distill.tokenWeights", "1"],
    ...["--distill.hidden.weight", "0.5", "--distill.relations.weight", "0.2"],
  ]);
});

test("with kept targets, killed while they are written too", async () => {
  const cache = (run: string) => join(run, "..", `targets-${run.endsWith("killed")}`);
  const moments: Moment[] = [
    { call: "writeSync", path: "part-00000.bin", count: 1, torn: true },
    { call: "renameSync", path: "targets.json", count: 1 },
    { call: "writeSync", path: "scalars.jsonl", count: 6, torn: true },
  ];
  await comesToTheSame("targets", moments, (run) => ["--distill.cache", cache(run)]);
  const parts = [true, false].map((killed) => {
    const root = join(folder, `targets-${killed}`);
    const [key] = readdirSync(root);
    expect(readdirSync(join(root, key)).sort()).toEqual(["part-00000.bin", "targets.json"]);
    return readFileSync(join(root, key, "part-00000.bin"));
  });
  expect(parts[0].equals(parts[1])).toBe(true);
});
