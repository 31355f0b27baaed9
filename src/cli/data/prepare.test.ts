// Oracle: documents written here; what lies in the shards, turned back into text by the dataset's own tokenizer.
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { openShards, readManifest } from "../../data/index.ts";
import { loadTokenizer } from "../../tokenizer/index.ts";
import { prepareCommand } from "./prepare.ts";
import { describeError, throwErrors } from "../support/run.ts";

async function run(...args: string[]): Promise<{ out: string; err: string }> {
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
    await throwErrors(prepareCommand()).parseAsync(args, { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return { out, err };
}

const names = ["cat", "dog", "hen", "fox"];
const stories = Array.from(
  { length: 300 },
  (_, i) => `The ${names[i % 4]} number ${i} sat on the mat, and sang ${i * 7} songs.`,
);

function setup() {
  const folder = temporaryFolder();
  const file = join(folder, "stories.txt");
  // Ten of them twice.
  writeFileSync(file, [...stories, ...stories.slice(0, 10)].join("<|endoftext|>"));
  const recipe = join(folder, "mine.yaml");
  writeFileSync(
    recipe,
    `
name: mine
about: stories
licence: CC0-1.0
sources:
  - { name: stories, paths: "hf://datasets/org/stories/all.txt", licence: CC0-1.0, expected: { textBytes: 1.0e+9 } }
dedup: { near: false }
tokenizer: { train: bpe, vocabSize: 300 }
packing: { kind: best-fit, sequence: 64 }
shuffle: 1
shards: { count: 3 }
validation: 0.1
`,
  );
  return { folder, file, recipe, out: join(folder, "set"), local: `stories=${file}` };
}

test("a recipe with a copy on this disk makes its shards, with the tokenizer beside them", async () => {
  const { recipe, out, local } = setup();
  const { err, out: said } = await run(recipe, "--local", local, "-o", out, "--threads", "0");
  expect(err).toMatch(/^bitnet: prepared in .*text .*signatures .*tokenizer .*encode .*shards .*tokens\/s\n$/);
  expect(said).toContain("CC0-1.0");
  expect(said).toMatch(/packing +best-fit, \d+ sequences of 64 tokens: [\d.]+ % filled up; [\d.]+ % of documents cut/);
  expect(said).toMatch(/exact duplicates +10\n/);
  const { splits, counts, about } = readManifest(out);
  expect(splits.train.shards).toHaveLength(3);
  expect(counts).toMatchObject({ read: 310, duplicates: { exact: 10, near: 0, contaminated: 0 } });
  expect(about).toMatchObject({ recipe: "mine" });
  const tokenizer = loadTokenizer(out);
  const texts = (["train", "valid"] as const).flatMap((split) =>
    openShards(out, split).flatMap((shard) =>
      Array.from({ length: shard.header.documentCount }, (_, i) => tokenizer.decode(shard.document(i).subarray(0, -1))),
    ),
  );
  expect(texts.sort()).toEqual([...stories].sort());
  expect((await run(recipe, "--local", local, "-o", out, "--threads", "0")).err).toContain("nothing to do");
  expect(existsSync(`${out}.work`)).toBe(false);
});

test("a dry run tells what would happen and writes nothing, with a copy and without a network", async () => {
  const { folder, recipe, out, local } = setup();
  const before = readdirSync(folder);
  const { out: said } = await run(recipe, "--local", local, "-o", out, "--dry-run", "--threads", "0");
  expect(said).toMatch(/would prepare +mine: stories\n/);
  expect(said).toMatch(/tokens +about [\d,]+, at [\d.]+ bytes a token \(measured on the sample\)/);
  expect(said).toMatch(/shards +3, best-fit sequences of 64/);
  expect(said).toContain("100.00 % of 310");
  const limited = JSON.parse((await run(recipe, "--local", local, "--dry-run", "--limit", "20", "--json")).out);
  expect(limited.sources[0].sample.documents).toBe(20);
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  vi.stubEnv("BITNET_CACHE", join(folder, "cache"));
  const away = await run(recipe, "--dry-run", "--threads", "0");
  expect(away.out).toContain("not reached, so what the publisher says stands in");
  expect(away.out).toContain("name a copy on this disk with --local stories=PATH");
  expect(away.out).toContain("measured on the package's own pages");
  const error = await run(recipe, "-o", out).catch((error) => error);
  expect(describeError(error)).toMatchObject({ code: 1, message: expect.stringContaining("--local stories=PATH") });
  vi.unstubAllEnvs();
  expect(readdirSync(folder)).toEqual(before);
});

test("options stand over the recipe's; a limit takes so many documents", async () => {
  const { folder, recipe, local } = setup();
  const json = async (...args: string[]) =>
    JSON.parse((await run(recipe, "--local", local, "--threads", "0", "--json", ...args)).out);
  const set = await json("-o", join(folder, "a"), "--limit", "100", "--packing", "concatenate", "--sequence", "32");
  expect(set).toMatchObject({ counts: { read: 100 }, packing: { kind: "concatenate", sequence: 32 } });
  const other = await json("-o", join(folder, "b"), "--sequence", "128", "--shards", "2", "--dedup", "none");
  expect(other).toMatchObject({ packing: { kind: "best-fit", sequence: 128 }, counts: { duplicates: {} } });
  expect(other.splits.train.shards).toHaveLength(2);
});

test("a recipe is printed to be copied", async () => {
  const { out } = await run("tier2", "--print-recipe");
  expect(out).toContain("name: tier2");
  expect(out).toContain("fineweb-edu");
});

test("an unfinished run tells where it stays, and is refused other settings", async () => {
  const { folder, file, out } = setup();
  const recipe = join(folder, "big.yaml");
  writeFileSync(
    recipe,
    `
name: big
about: more than the text has
licence: CC0-1.0
sources: [{ name: stories, paths: stories.txt, licence: CC0-1.0 }]
tokenizer: { train: bpe, vocabSize: 30000 }
packing: { kind: documents }
shuffle: null
shards: { tokens: 5000 }
validation: 0
`,
  );
  const args = [recipe, "-o", out, "--threads", "0"];
  await expect(run(...args)).rejects.toThrow("the text supports a vocabulary of");
  expect(existsSync(join(`${out}.work`, "text"))).toBe(true);
  const refused = run(...args, "--shuffle", "4");
  await expect(refused).rejects.toThrow("other shuffle (null, now 4); finish that one");
  await expect(run(...args, "--shuffle", "4", "--restart")).rejects.toThrow("the text supports");
  expect(existsSync(file)).toBe(true);
});

test.for([
  [["tier1", "tier2"], "a recipe stands alone", 2],
  [["tier1", "--field", "body"], "--field is the recipe's to say; copy it", 2],
  [["tier1", "--local", "x"], "Expected NAME=PATH", 2],
  [["tier1", "--local", "other=x.txt", "-o", "x"], 'has no source "other"; its sources are: tinystories', 2],
  [["none.yaml"], "no such recipe; they are tier1, tier2, tier3", 2],
  [["a.txt", "--only", "b"], "--only is for recipes", 2],
  [["a.txt", "--print-recipe"], "is no recipe", 2],
  [["tier1", "--share", "4/4"], "Expected I/N with I below N", 2],
] as const)("%j is refused in one line", async ([args, message, code]) => {
  const error = await run(...args).catch((error) => error);
  expect(describeError(error)).toMatchObject({ code, message: expect.stringContaining(message) });
  expect(describeError(error).message).not.toContain("\n");
});
