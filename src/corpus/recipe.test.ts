// Oracle: the recipes' own files, read here as plain YAML; documents written here.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { estimatePreparation } from "./prepare-estimate.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import { isRecipe, readRecipe, recipeNames, recipeText } from "./recipe.ts";
import { optionsOfRecipe } from "./recipe-run.ts";

const bytes: DocumentEncoder = {
  vocabSize: 257,
  endOfText: 256,
  hash: "bytes",
  encode: (text) => new TextEncoder().encode(text),
};

test("each tier is a recipe that reads whole, with a licence for each source, and can be copied", async () => {
  for (const name of recipeNames) {
    expect(isRecipe(name)).toBe(true);
    const file = resolve(import.meta.dirname, `../../recipes/${name}.yaml`);
    const { recipe, path } = await readRecipe(name);
    expect(path).toBe(file);
    expect(recipe).toEqual(parse(readFileSync(file, "utf8")));
    expect(recipeText(name)).toBe(readFileSync(file, "utf8"));
    for (const { licence } of recipe.sources) expect(licence.length).toBeGreaterThan(2);
    const copy = join(temporaryFolder(), "mine.yaml");
    writeFileSync(copy, recipeText(name));
    expect((await readRecipe(copy)).recipe).toEqual(recipe);
  }
});

test("the tiers are of the sizes that they say: 8 shards, 100 of 100M, 1000 and more of 100M", async () => {
  const [one, two, three] = await Promise.all(recipeNames.map(async (name) => (await readRecipe(name)).recipe));
  expect(one.shards).toEqual({ count: 8 });
  expect(two.shards).toEqual({ tokens: 100e6, most: 100 });
  // Left after filters and limit, in tokens of 4.3 bytes: more than the shards hold.
  expect(two.sources[0].limit!.textBytes! / 4.3).toBeGreaterThan(1.05 * 100 * 100e6);
  expect(three.shards).toEqual({ tokens: 100e6 });
  const text = three.sources.reduce((sum, { expected }) => sum + expected!.textBytes!, 0);
  expect(text / 4.3 / 100e6).toBeGreaterThan(1000);
  for (const { validation } of [one, two, three]) expect(validation).toBe(0.01);
});

const mine = `
name: mine
about: a recipe
licence: CC0-1.0
sources:
  - name: a
    paths: [a.jsonl]
    licence: CC0-1.0
    fields: { text: [title, body], join: " ", score: quality }
    filters: [{ score: { min: 2 } }]
  - name: b
    lists: addresses.txt
    addressesAreVersions: true
    licence: MIT
    format: jsonl
filters: [unicode]
dedup: { near: true, threshold: 0.7 }
decontaminate:
  - { name: exam, paths: exam.txt, licence: MIT }
tokenizer: { file: tokenizer.json }
packing: { kind: best-fit, sequence: 64 }
shuffle: null
shards: { tokens: 6400, most: 9 }
validation: 0.02
`;

function setup(text = mine) {
  const folder = temporaryFolder();
  const path = join(folder, "mine.yaml");
  writeFileSync(path, text);
  writeFileSync(
    join(folder, "addresses.txt"),
    "https://example.org/v1/x.jsonl\n\nhttps://example.org/v1/y.jsonl.zst\n",
  );
  return { folder, path };
}

test("a recipe becomes options: paths from its folder, fields, addresses out of lists, filters of one source and of all", async () => {
  const { folder, path } = setup();
  const options = await optionsOfRecipe(await readRecipe(path), { limit: 10 });
  expect(options).toMatchObject({
    inputs: [
      {
        name: "a",
        paths: [join(folder, "a.jsonl")],
        licence: "CC0-1.0",
        read: { fields: { text: ["title", "body"], join: " ", score: "quality" } },
        stages: [{ name: "score" }],
        limit: { documents: 10 },
      },
      {
        name: "b",
        paths: ["https://example.org/v1/x.jsonl", "https://example.org/v1/y.jsonl.zst"],
        addressesAreVersions: true,
      },
    ],
    stages: [{ name: "unicode" }],
    dedup: { near: true, threshold: 0.7 },
    heldOut: [{ name: "exam", paths: [join(folder, "exam.txt")], limit: undefined }],
    packing: { kind: "best-fit", sequence: 64 },
    shuffle: null,
    shardTokens: 6400,
    maxShards: 9,
    validFraction: 0.02,
    about: { recipe: "mine", licence: "CC0-1.0" },
  });
  const local = await optionsOfRecipe(await readRecipe(path), {
    local: { b: ["here/b.parquet"] },
    without: ["exam"],
    only: ["b"],
  });
  // A copy's own name tells what it is; it is seen from where the command runs.
  expect(local.inputs).toMatchObject([{ name: "b", paths: ["here/b.parquet"], read: { format: undefined } }]);
  expect(local.heldOut).toEqual([]);
  await expect(optionsOfRecipe(await readRecipe(path), { without: ["c"] })).rejects.toThrow(
    'has no source "c"; its sources are: a, b, exam',
  );
  await expect(optionsOfRecipe(await readRecipe(path), { without: ["a", "b"] })).rejects.toThrow("no source is left");
});

test.for([
  ["a key that is none", `${mine}shufle: 1\n`, /mine\.yaml: recipe: Unrecognized key: "shufle"/],
  ["a filter that is none", mine.replace("[unicode]", "[unicod]"), /unknown filter "unicod"/],
  ["a source's filter that is none", mine.replace("min: 2", "mni: 2"), /mine\.yaml: a: score: Unrecognized key/],
  ["neither paths nor lists", mine.replace("lists: addresses.txt", ""), /sources\.1: name either paths or lists/],
  ["two sources of one name", mine.replace("name: exam", "name: a"), /two sources are called a/],
  ["packing without a length", mine.replace(", sequence: 64", ""), /best-fit needs the tokens of a sequence/],
  ["two sizes of shards", mine.replace("most: 9", "count: 9"), /shards: name tokens or count, not both/],
  ["decontamination alone", mine.replace(/dedup:.*/, ""), /add dedup: \{ near: false \}/],
  ["no YAML", mine.replace("filters: [unicode]", "filters: [unicode"), /mine\.yaml: .* at line \d+/],
  ["no licence", mine.replace("    licence: MIT\n    format", "    format"), /sources\.1\.licence/],
] as const)("a recipe with %s is refused, naming it", async ([, text, message]) => {
  await expect(readRecipe(setup(text).path)).rejects.toThrow(message);
});

test("a name that is no recipe is told which there are; a file of a tier's name is a file", async () => {
  await expect(readRecipe("tier9")).rejects.toThrow("no such recipe; they are tier1, tier2, tier3, or a YAML file");
  expect(isRecipe("stories.txt")).toBe(false);
  expect(isRecipe("mine.yml")).toBe(true);
});

const clock = (() => {
  let now = 0;
  return { monotonicMs: () => (now += 100) };
})();

test("an estimate counts what is on this disk, takes the publisher's word for what is not, and reaches for nothing", async () => {
  const { folder, path } = setup();
  const rows = Array.from({ length: 50 }, (_, i) =>
    JSON.stringify({ title: "T", body: "x".repeat(97), quality: i % 5 }),
  );
  writeFileSync(join(folder, "a.jsonl"), `${rows.join("\n")}\n`);
  writeFileSync(join(folder, "exam.txt"), "exam");
  const options = await optionsOfRecipe(await readRecipe(path), {}, false);
  const prepare = { ...options, tokenizer: bytes, outDir: join(folder, "never") };
  const estimate = await estimatePreparation({ ...prepare, inputs: options.inputs.slice(0, 1) }, {}, clock);
  // 99 bytes of text each; three of five have a score of 2 and more.
  expect(estimate).toMatchObject({
    sources: [{ name: "a", files: 1, textBytes: 4950, keptBytes: 2970, unreachable: null }],
    // And an end of text behind each.
    tokens: 3000,
    shards: 1,
    measuredOn: "sample",
  });
  expect(estimate.bytesPerToken.measured).toBe(true);
  expect(estimate.heldOut).toEqual([{ name: "exam", files: 1, unreachable: null }]);
  // A column that is missing is no reason to say that a file is empty.
  const [first] = options.inputs;
  const other = { ...first, read: { field: "words", onBadRecord: "skip" as const } };
  await expect(estimatePreparation({ ...prepare, inputs: [other] }, {}, clock)).rejects.toThrow(
    /50 bad records were passed over, the first: .*a\.jsonl: line 1: has no field "words"/,
  );
  const unreachable = await estimatePreparation(
    {
      ...prepare,
      inputs: [{ name: "gone", paths: [join(folder, "gone.txt")], hint: "name a copy", limit: { textBytes: 42e6 } }],
      heldOut: [{ name: "no-exam", paths: [join(folder, "no-exam.txt")], hint: "leave it out" }],
    },
    { gone: { bytes: 1e9, textBytes: 2e9 } },
    clock,
  );
  expect(unreachable.sources).toMatchObject([
    { files: null, bytes: 1e9, textBytes: 2e9, keptBytes: 42e6, sample: null },
  ]);
  expect(unreachable.sources[0].unreachable).toMatch(/gone\.txt.*no such file or folder; or name a copy/);
  expect(unreachable.heldOut[0]).toMatchObject({ name: "no-exam", files: null });
  expect(unreachable.heldOut[0].unreachable).toMatch(/no-exam\.txt.*; or leave it out/);
  // 4.2 bytes a token, but nine shards of 6,400 at most.
  expect(unreachable).toMatchObject({ tokens: 9 * 6400, shards: 9, measuredOn: "pages" });
});
