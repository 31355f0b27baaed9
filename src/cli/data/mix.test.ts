// Oracle: shares worked out by hand; a model's own loss on its data; the library's planMixture counts what training draws.
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { loadModel } from "../../exchange/index.ts";
import { createBatches, openScores, openSplit } from "../../data/index.ts";
import { DataError, FormatError, UsageError } from "../../platform/errors.ts";
import { createRandom } from "../../platform/random.ts";
import { Runtime } from "../../tensor/index.ts";
import { train } from "../../train/index.ts";
import { dataCommand } from "./data.ts";
import { throwErrors } from "../support/run.ts";
import { tokenizerCommand } from "../tokenizer.ts";

async function runCommand(command: ReturnType<typeof dataCommand>, args: string[]) {
  let [out, err] = ["", ""];
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(((chunk: string) => {
      out += chunk;
      return true;
    }) as never),
    vi.spyOn(process.stderr, "write").mockImplementation(((chunk: string) => {
      err += chunk;
      return true;
    }) as never),
  ];
  try {
    await throwErrors(command).parseAsync(args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return { out, err };
}
const run = (...args: string[]) => runCommand(dataCommand(), args);

const words = ["one", "two", "three", "four", "five", "six"];
function text(documents: number, seed: number): string {
  const random = createRandom(seed);
  const document = () => Array.from({ length: 4 + random.integer(20) }, () => words[random.integer(6)]).join(" ");
  return Array.from({ length: documents }, document).join("<|endoftext|>");
}

/** Two datasets of one tokenizer. */
async function datasets() {
  const folder = temporaryFolder();
  const files = { big: join(folder, "big.txt"), small: join(folder, "small.txt") };
  writeFileSync(files.big, text(90, 1));
  writeFileSync(files.small, text(20, 2));
  const tokenizer = join(folder, "tokenizer.json");
  await runCommand(tokenizerCommand(), ["train", "--data", files.big, "--vocab-size", "270", "-o", tokenizer]);
  for (const [name, file] of Object.entries(files))
    await run("prepare", file, "-t", tokenizer, "--threads", "0", "-o", join(folder, name));
  return { folder, tokenizer, big: join(folder, "big"), small: join(folder, "small") };
}

test("mix tells tokens and epochs of each source, and which would be passed over too often", async () => {
  const { folder, big, small } = await datasets();
  const file = join(folder, "mix.yaml");
  writeFileSync(
    file,
    "sources:\n  - { name: big, weight: 3, path: big }\n  - { name: small, weight: 1, path: small }\n",
  );
  const plan = ["--sequence", "16", "--steps", "100", "--batch", "4"];
  const { out } = await run("mix", file, ...plan, "--json");
  const { draws, tokens, sources } = JSON.parse(out);
  expect([draws, tokens]).toEqual([400, 6400]);
  expect(sources.map(({ drawnTokens }: { drawnTokens: number }) => drawnTokens)).toEqual([4800, 1600]);
  const count = (of: string) => {
    const split = openSplit(of);
    const { count } = split.sequences(16);
    split.close();
    return count;
  };
  expect(sources[1]).toMatchObject({ name: "small", share: 0.25, sequences: count(small), epochs: 100 / count(small) });
  const longer = ["--sequence", "16", "--steps", "1000", "--batch", "4"];
  const shown = await run("mix", "--mix", `big=3:${big},small=1:${small}`, ...longer);
  expect(shown.out).toMatch(/^big +75\.00 % +[\d,]+ +48,000 +[\d.]+$/m);
  expect(shown.out).toMatch(/^all +100\.00 % +64,000/m);
  expect(shown.err).toMatch(/source "small" would be passed over [\d.]+ times; more than 4 add little/);
  // One pass over everything there is.
  const pass = JSON.parse((await run("mix", file, "--sequence", "16", "--json")).out);
  expect(pass.draws).toBe(count(big) + count(small));
});

test("mix plans sources that are not there yet, and says so; it refuses what is no mixture", async () => {
  const { out, err } = await run("mix", "--mix", "a=1:/nowhere/a,b=3:/nowhere/b", "--tokens", "8192", "--json");
  expect(err).toContain('source "a": no prepared dataset at /nowhere/a');
  expect(JSON.parse(out).sources[1]).toMatchObject({ name: "b", drawnTokens: 6144, epochs: null, tokens: null });
  await expect(run("mix", "--mix", "a=1:/nowhere/a")).rejects.toThrow(/one pass has no length/);
  await expect(run("mix")).rejects.toThrow(/name a mixture.yaml, or its sources/);
  await expect(run("mix", "--mix", "a=0:x", "--tokens", "1")).rejects.toThrow(UsageError);
});

test("score by length and by a model's loss are kept beside the shards; a loss is the model's own", async () => {
  const { folder, tokenizer, small, big } = await datasets();
  const first = await run("score", small, "--by", "length", "--sequence", "16", "--json");
  expect(JSON.parse(first.out)).toMatchObject({
    by: "length",
    sequence: 16,
    detail: "mean length of documents, in tokens",
  });
  const { folder: model } = await train({
    config: {
      preset: "tiny",
      model: { vocabSize: 270, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16 },
      data: { files: [big], validFraction: 0, prefetch: 0 },
      tokenizer: { file: tokenizer },
      train: { batch: 4, sequence: 16, steps: 8 },
      backend: { name: "reference" },
    },
    runFolder: join(folder, "run"),
  });
  const args = ["score", small, "--by", "loss", "-m", model, "--sequence", "16", "--backend", "reference"];
  const { out } = await run(...args);
  expect(out).toMatch(/^of +mean loss of .*step_000008, step 8, nats$/m);
  const split = openSplit(small);
  const sequences = split.sequences(16);
  const scores = openScores({ folder: small, split: "train", sequence: 16, name: "loss" }, sequences);
  const { model: opened } = await loadModel(model, new Runtime(createReferenceBackend()));
  const batches = createBatches({ tokens: split.tokens, batch: 1, sequence: 16, seed: 0, shuffle: false });
  for (let i = 0; i < scores.sequences; i++) {
    const { tokens_BT: tokens, targets_BT } = batches.next();
    const loss = opened.runtime.scope(() => opened.loss({ tokens, batch: 1, length: 16 }, targets_BT).loss);
    // The mean of 16 losses in float32, in another order.
    expect(scores.scoreOf(i)).toBeCloseTo((await opened.runtime.readFloats(loss))[0], 5);
    loss.dispose();
  }
  scores.close();
  split.close();
  // A curriculum finds them.
  const file = join(folder, "paced.yaml");
  writeFileSync(
    file,
    "sources: [{ name: small, weight: 1, path: small }]\ncurriculum: { by: loss, pacing: root, start: 0.25, tokens: 4000 }\n",
  );
  expect((await run("mix", file, "--sequence", "16")).out).toMatch(
    /curriculum by loss, root: the easiest 25 % at 0, .*, 100 % at 4,000 tokens/,
  );
  // A length that was not scored, data of another tokenizer, a model too small, scores that are not there.
  await expect(run("mix", file, "--sequence", "8")).rejects.toThrow(DataError);
  await expect(run(...args.slice(0, -4), "--sequence", "32", "--backend", "reference")).rejects.toThrow(
    /sequences have 32 tokens, but the model's context is 16/,
  );
  await expect(run("score", small, "--by", "loss", "--sequence", "16")).rejects.toThrow(/wants a model/);
  await expect(run("score", small, "--by", "length")).rejects.toThrow(/was not packed for one sequence length/);
  await expect(run("score", small, "--by", "score", "--sequence", "16")).rejects.toThrow(/have no scores/);
  const other = join(folder, "other.json");
  await runCommand(tokenizerCommand(), [
    "train",
    "--data",
    join(folder, "small.txt"),
    "--vocab-size",
    "260",
    "-o",
    other,
  ]);
  await run("prepare", join(folder, "small.txt"), "-t", other, "--threads", "0", "-o", join(folder, "foreign"));
  await expect(run("score", join(folder, "foreign"), ...args.slice(2))).rejects.toThrow(FormatError);
  expect(existsSync(join(folder, "foreign", "scores"))).toBe(false);
  expect(readdirSync(join(small, "scores")).sort()).toEqual(["train-T16-length.bin", "train-T16-loss.bin"]);
});
