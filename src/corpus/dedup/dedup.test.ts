// Oracles: planted duplicates judged by exact Jaccard similarity of sets of strings (test/support/planted-duplicates.ts);
// union-find for connected components; the same folder of an uninterrupted run, byte for byte; DuckDB's own reading of the
// printed script.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import {
  jaccardOfSets,
  plantedCorpus,
  scoreDeduplication,
  shingleSet,
} from "../../../test/support/planted-duplicates.ts";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createRandom } from "../../platform/random.ts";
import {
  type DedupDocument,
  type DedupReport,
  type DedupSource,
  type DroppedDocument,
  deduplicate,
  type DeduplicateOptions,
  fileSources,
  planText,
  readDropped,
  resolveDedup,
  withoutDropped,
} from "./index.ts";
import { openEngine } from "./engine.ts";
import { dedupPlan } from "./plan.ts";
import { parquetBytes } from "./parquet.ts";

const sourceOfDocuments = (name: string, documents: (string | DedupDocument)[]): DedupSource => ({
  name,
  identity: JSON.stringify(documents).length.toString(),
  documents: () => documents,
});

/** All files below a folder, by name. */
function filesBelow(folder: string, at = ""): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(join(folder, at)).sort()) {
    const path = join(at, name);
    if (statSync(join(folder, path)).isDirectory()) for (const [k, v] of filesBelow(folder, path)) files.set(k, v);
    else files.set(path, readFileSync(join(folder, path), "latin1"));
  }
  return files;
}

async function droppedOf(folder: string, report: DedupReport): Promise<DroppedDocument[]> {
  const all: DroppedDocument[] = [];
  for (const { name } of report.sources) for await (const one of readDropped(folder, name)) all.push(one);
  return all;
}

const run = async (options: Omit<DeduplicateOptions, "outDir"> & { outDir?: string }) => {
  const outDir = options.outDir ?? join(temporaryFolder(), "out");
  const { report } = await deduplicate({ threads: 0, ...options, outDir });
  return { outDir, report: report!, dropped: await droppedOf(outDir, report!) };
};

test("finds 98 % of 6,000 documents' planted pairs at 0.8, and 99 % of what it drops has such a twin", async () => {
  const corpus = plantedCorpus(6000, 1);
  function* documents() {
    for (let i = 0; i < corpus.documents; i++) yield corpus.at(i).text;
  }
  const sources = [{ name: "planted", identity: "1", documents }];
  const { report, dropped } = await run({ sources, documents: false, threads: 2, memory: "500MB" });
  const kept = new Map(dropped.map((one) => [one.document - 1, one.kept!.document - 1]));
  const score = scoreDeduplication(corpus, kept, 0.8);
  expect(score.pairs).toBeGreaterThan(1500);
  expect(score.decoys).toBeGreaterThan(150);
  expect(score.recall).toBeGreaterThanOrEqual(0.98);
  expect(score.precision).toBeGreaterThanOrEqual(0.99);
  expect(report.kept + report.dropped.exact + report.dropped.near).toBe(6000);
  // Each similarity that is told is the sets' own.
  const told = dropped.filter(({ similarity }) => typeof similarity === "number");
  for (const { document, kept, similarity } of told.slice(0, 200)) {
    const [a, b] = [document, kept!.document].map((n) => shingleSet(corpus.at(n - 1).text));
    expect(similarity).toBe(jaccardOfSets(a, b));
  }
  expect(report.near!.curve[7].probability).toBeGreaterThan(0.99);
});

function smallSources(): DedupSource[] {
  const corpus = plantedCorpus(240, 5);
  const part = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => ({
      id: `d${from + i}`,
      text: corpus.at(from + i).text,
      score: (from + i) % 7,
    }));
  return [
    sourceOfDocuments("a", part(0, 100)),
    sourceOfDocuments("b", part(100, 110)),
    sourceOfDocuments("c", part(110, 240)),
  ];
}
const smallHeldOut = () => {
  const corpus = plantedCorpus(240, 5);
  return [sourceOfDocuments("exam", ["a short one", corpus.at(23).text.split(" ").slice(10, 40).join(" ")])];
};

test("order of sources, threads and memory do not change a byte of the result", async () => {
  const [sources, heldOut] = [smallSources(), smallHeldOut()];
  const first = await run({ sources, heldOut });
  const second = await run({ sources: [...sources].reverse(), heldOut, threads: 2, memory: "100MB" });
  expect(filesBelow(second.outDir)).toEqual(filesBelow(first.outDir));
  expect(first.report.dropped.contaminated).toBeGreaterThan(0);
  expect(first.report.dropped.near).toBeGreaterThan(10);
  expect(existsSync(`${first.outDir}.work`)).toBe(false);
});

test("ended at every step and started again, it goes on and gives the same bytes", async () => {
  const [sources, heldOut] = [smallSources(), smallHeldOut()];
  const whole = await run({ sources, heldOut });
  const outDir = join(temporaryFolder(), "out");
  const stages = new Set<string>();
  let runs = 0;
  let steps = 0;
  let done = false;
  while (!done) {
    const controller = new AbortController();
    let left = 1 + 3 * runs++;
    const onProgress = ({ stage }: { stage: string }) => {
      steps++;
      if (--left > 0) return;
      stages.add(stage);
      controller.abort(new Error("ended"));
    };
    const options = { sources, heldOut, outDir, threads: 0, signal: controller.signal };
    await deduplicate({ ...options, onProgress }).then(
      () => {
        done = true;
      },
      (error) => {
        expect(error.message).toBe("ended");
        expect(existsSync(outDir)).toBe(false);
        // A killed process leaves such a name behind.
        mkdirSync(join(`${outDir}.work`, "signatures"), { recursive: true });
        writeFileSync(join(`${outDir}.work`, "signatures", "f00000-b00000.parquet.tmp-1-1"), "half");
      },
    );
  }
  expect(runs).toBeGreaterThan(4);
  expect(steps).toBeGreaterThan(20);
  const last = await deduplicate({ sources, heldOut, outDir, threads: 0 });
  expect(last.report).toEqual(whole.report);
  expect(filesBelow(outDir)).toEqual(filesBelow(whole.outDir));
  expect([...stages]).toEqual(expect.arrayContaining(["candidates", "clusters"]));
});

test("every document is kept or dropped with a reason; the kept one of its cluster is kept", async () => {
  const sources = smallSources();
  const { outDir, report, dropped } = await run({ sources, heldOut: smallHeldOut() });
  const key = (source: string, document: number) => `${source}:${document}`;
  const gone = new Set(dropped.map(({ source, document }) => key(source, document)));
  let kept = 0;
  for (const source of sources) {
    const documents = source.documents() as DedupDocument[];
    const stays = documents.filter((_, i) => !gone.has(key(source.name, i + 1)));
    const file = report.sources.find(({ name }) => name === source.name)!.file;
    const lines = readFileSync(join(outDir, "documents", file), "utf8")
      .trimEnd()
      .split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(stays);
    const left: DedupDocument[] = [];
    const heard: string[] = [];
    for await (const one of withoutDropped(documents, readDropped(outDir, source.name), (d) => void heard.push(d.id!)))
      left.push(one);
    expect(left).toEqual(stays);
    expect(heard.length + left.length).toBe(documents.length);
    kept += stays.length;
  }
  expect(report).toMatchObject({ documents: 240, kept });
  for (const { kept: stays, reason, heldOut, cluster } of dropped) {
    if (reason === "contaminated") expect(heldOut).toMatchObject({ source: "exam", document: 2 });
    else expect([gone.has(key(stays!.source, stays!.document)), typeof cluster]).toEqual([false, "string"]);
  }
  const members = report.clusters.sizes.reduce((sum, { members, clusters }) => sum + members * clusters, 0);
  expect(members - report.clusters.count).toBe(report.dropped.exact + report.dropped.near);
  expect(new Set(report.pairs.map(({ reason }) => reason))).toEqual(new Set(["exact", "near", "contaminated"]));
  for (const { dropped, other } of report.pairs) expect(dropped.text.length * other.text.length).toBeGreaterThan(0);
});

const words = (n: number, from = 0) => Array.from({ length: n }, (_, i) => `word${from + i}`).join(" ");

test("the keep rules: first, longest, highest score; ties go to the first", async () => {
  const documents = [
    { text: words(100), score: 1 },
    { text: `${words(100)} and more`, score: 3 },
    { text: `${words(100)} and`, score: 3 },
    { text: `  ${words(100).toUpperCase()}`, score: 2 },
    { text: words(100, 500), score: 0 },
  ];
  const stays = async (keep: "first" | "longest" | "score") => {
    const { dropped } = await run({ sources: [sourceOfDocuments("s", documents)], keep });
    return [1, 2, 3, 4, 5].filter((n) => !dropped.some(({ document }) => document === n));
  };
  expect(await stays("first")).toEqual([1, 5]);
  expect(await stays("longest")).toEqual([2, 5]);
  expect(await stays("score")).toEqual([2, 5]);
  const unscored = [sourceOfDocuments("s", [{ text: "a", score: 1 }, "b"])];
  await expect(run({ sources: unscored, keep: "score" })).rejects.toThrow("s: document 2 has no score");
});

test("short documents have exact duplicates only; verbatim minds case; scripts without spaces have near duplicates", async () => {
  const chinese =
    "北京是中华人民共和国的首都，也是全国的政治、文化和国际交往中心，历史悠久，名胜古迹众多，每年吸引大量游客前来参观。";
  const documents = ["2 + 2 = 4", "2 - 2 = 4", "2 + 2  = 4", "Yes", "yes", chinese, `${chinese}好`];
  const reasons = async (options: Partial<DeduplicateOptions>) => {
    const { dropped } = await run({ sources: [sourceOfDocuments("s", documents)], ...options });
    return dropped.map(({ document, reason }) => [document, reason]);
  };
  expect(await reasons({})).toEqual([
    [3, "exact"],
    [5, "exact"],
    [7, "near"],
  ]);
  expect(await reasons({ exactText: "verbatim" })).toEqual([[7, "near"]]);
  expect(await reasons({ near: false })).toEqual([
    [3, "exact"],
    [5, "exact"],
  ]);
});

test("groups over the limit are linked through their first member and counted", async () => {
  const documents = Array.from({ length: 60 }, (_, i) => `${words(120)} tail${i}`);
  const { report, dropped } = await run({ sources: [sourceOfDocuments("s", documents)], maxBucket: 8 });
  expect(report.near!.largeBuckets.groups).toBeGreaterThan(0);
  expect(dropped).toHaveLength(59);
  expect(report.clusters).toEqual({ count: 1, largest: 60, sizes: [{ members: 60, clusters: 1 }] });
  expect(report.near!.pairs).toBeLessThan((60 * 59) / 2);
});

test("labels by SQL are the components that union-find gives, whatever their shape", async () => {
  const folder = temporaryFolder();
  const random = createRandom(11);
  const edges: [number, number][] = Array.from({ length: 300 }, () => [random.integer(400), random.integer(400)]);
  for (let i = 0; i < 200; i++) edges.push([1000 + i, 1001 + i]); // a chain
  const parent = new Map<number, number>();
  const find = (x: number): number => (parent.get(x) === undefined ? x : find(parent.get(x)!));
  const simple = edges.filter(([a, b]) => a !== b).map(([a, b]) => [Math.min(a, b), Math.max(a, b)]);
  for (const [a, b] of simple) {
    const [low, high] = [find(a), find(b)].sort((x, y) => x - y);
    if (low !== high) parent.set(high, low);
  }
  const column = (k: number) => BigInt64Array.from(simple, (edge) => BigInt(edge[k]));
  writeFileSync(
    join(folder, "edges.parquet"),
    new Uint8Array(
      parquetBytes([
        { name: "a", data: column(0) },
        { name: "b", data: column(1) },
      ]),
    ),
  );
  const engine = await openEngine({ memory: "100MB", threads: 1, spillFolder: join(folder, "spill") });
  try {
    await engine.run(`CREATE VIEW edges AS SELECT * FROM read_parquet('${join(folder, "edges.parquet")}')`);
    const plan = dedupPlan(resolveDedup({}));
    let round = 0;
    const create = (r: number) => engine.run(`CREATE TABLE ${plan.labels(r).name} AS ${plan.labels(r).select}`);
    await create(0);
    do await create(++round);
    while (Number((await engine.rows(plan.changed(round)))[0].changed) > 0);
    const rows = await engine.rows(`SELECT * FROM ${plan.labels(round).name}`);
    expect(rows.length).toBe(new Set(simple.flat()).size);
    for (const { doc, label } of rows) expect(label).toBe(find(Number(doc)));
    expect(round).toBeLessThan(25); // the chain alone is 200 steps long
  } finally {
    engine.close();
  }
});

test.for(["exact", "signature"] as const)(
  "the printed script gives the same decisions on an engine of its own (%s)",
  async (verify) => {
    const sources = smallSources();
    const folder = temporaryFolder();
    const outDir = join(folder, "out");
    await deduplicate({ sources, outDir, threads: 0, verify, keepWork: true });
    const script = planText(resolveDedup({ verify }), { dialect: "duckdb", location: `${outDir}.work` });
    const { DuckDBInstance } = await import("@duckdb/node-api");
    const connection = await (await DuckDBInstance.create(":memory:")).connect();
    await connection.run(script);
    const query = (path: string) => `SELECT * FROM read_parquet('${path}') ORDER BY doc`;
    const rows = async (path: string) => (await connection.runAndReadAll(query(path))).getRowsJS();
    const decisions = await rows(`${outDir}.work/decisions/*.parquet`);
    expect(decisions).toEqual(await rows(`${outDir}.work/tables/decisions.parquet`));
    expect(decisions.length).toBeGreaterThan(20);
    connection.closeSync();
  },
);

test("the SQL that docs/dedup.md shows is in the script for each engine", () => {
  const page = readFileSync(resolve(import.meta.dirname, "../../../docs/dedup.md"), "utf8");
  const shown = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql.trim().replace(/;$/, ""));
  expect(shown.length).toBeGreaterThan(1);
  for (const dialect of ["spark", "duckdb", "generic"] as const) {
    const script = planText(resolveDedup({}), { dialect, location: "x" });
    for (const sql of shown) expect(script).toContain(sql);
  }
});

test("stage by stage on two machines' shares: the same documents as at once", async () => {
  const sources = smallSources();
  const whole = await run({ sources });
  const folder = temporaryFolder();
  const [outDir, workDir] = [join(folder, "out"), join(folder, "work")];
  const share = (index: number) => ({ index, count: 2 });
  const at = { sources, outDir, workDir, threads: 0, keepWork: true };
  await expect(deduplicate({ ...at, stage: "candidates" })).rejects.toThrow("has no signatures of 3 of 3 sources");
  await deduplicate({ ...at, stage: "signatures", shard: share(0) }); // its name before
  await expect(deduplicate({ ...at, stage: "candidates" })).rejects.toThrow('(first: b); run the stage "signatures"');
  await deduplicate({ ...at, stage: "signatures", share: share(1) });
  await expect(deduplicate({ ...at, stage: "clusters" })).rejects.toThrow("no shingles of 3 of 3");
  await deduplicate({ ...at, stage: "candidates" });
  for (const index of [0, 1]) await deduplicate({ ...at, stage: "shingles", share: share(index) });
  await deduplicate({ ...at, stage: "clusters" });
  const { report } = await deduplicate({ ...at, stage: "write", share: share(1) });
  expect(report).toMatchObject({ share: "1/2", documents: 10 });
  expect([...filesBelow(outDir)].filter(([name]) => name !== "report.json")).toEqual(
    [...filesBelow(whole.outDir)].filter(([name]) => name.includes("00001-b")),
  );
});

test("what contradicts is refused, and nothing that is there is lost", async () => {
  const folder = temporaryFolder();
  const outDir = join(folder, "out");
  const sources = [sourceOfDocuments("s", [words(50), words(50)])];
  const twice = [...sources, ...sources];
  await expect(deduplicate({ sources: twice, outDir })).rejects.toThrow("s is given twice");
  await expect(deduplicate({ sources: [], outDir })).rejects.toThrow("name at least one source");
  await expect(deduplicate({ sources, outDir, memory: "lots" })).rejects.toThrow('the memory limit is "lots"');
  await expect(deduplicate({ sources, outDir, threshold: 0.7 })).rejects.toThrow(
    /out\.work: holds an unfinished deduplication with other threshold.*--restart/,
  );
  await deduplicate({ sources, outDir, threads: 0, threshold: 0.7, restart: true });
  expect((await deduplicate({ sources, outDir, threads: 0, threshold: 0.7 })).reused).toBe(true);
  expect((await deduplicate({ sources, outDir, threads: 0 })).reused).toBe(false);
  mkdirSync(join(folder, "mine"));
  writeFileSync(join(folder, "mine", "thesis.txt"), "mine");
  await expect(deduplicate({ sources, outDir: join(folder, "mine") })).rejects.toThrow("holds no deduplication");
  await expect(
    deduplicate({ sources: [sourceOfDocuments("none", [])], outDir: join(folder, "new"), threads: 0 }),
  ).rejects.toThrow("none: hold no document");
});

/** Word 5-grams as strings, in regular expressions: words of letters, without the marks and quotes between them. */
function asciiShingles(text: string): Set<string> {
  const plain = text.toLowerCase().replace(/â€[œ™˜“”\u009d]?|[^ -~\n]/g, " ");
  const words = plain.match(/[a-z0-9]+/g) ?? [];
  return new Set(words.slice(0, Math.max(0, words.length - 4)).map((_, i) => words.slice(i, i + 5).join(" ")));
}

const twins = [
  "data/tinystories/slices/v1-train.first-2MiB.txt.gz",
  "data/tinystories/slices/v1-train.first-4MB.lowercased.txt.gz",
];
testShared(
  "shared: TinyStories and its lower-cased twin: 99 % of the stories and of all pairs at 0.8 found, at most 1 % false",
  twins,
  async () => {
    const text = (path: string) => gunzipSync(readFileSync(sharedPath(path))).toString("utf8");
    const stories = text(twins[0])
      .split("<|endoftext|>")
      .map((story) => story.trim())
      .filter((story) => story !== "");
    stories.pop(); // cut
    // Nothing stands between the twin's stories, so they are found by where each one begins.
    const squeeze = (story: string) => story.toLowerCase().replace(/â€[œ™˜“”\u009d]?|[^a-z]/g, "");
    const lowered = text(twins[1]);
    const places: number[] = [];
    const letters = lowered.replace(/â€[œ™˜“”\u009d]?|[^a-z]|[a-z]/g, (found, at: number) => {
      if (found.length > 1 || found < "a" || found > "z") return "";
      places.push(at);
      return found;
    });
    const starts = stories.map((story) => letters.indexOf(squeeze(story).slice(0, 90)));
    const found = stories.flatMap((_, i) => (starts[i] >= 0 ? [i] : []));
    expect(found.length).toBeGreaterThan(0.99 * stories.length);
    const sorted = [...new Set(starts.filter((at) => at >= 0))].sort((a, b) => a - b);
    const after = new Map(sorted.map((at, i) => [at, sorted[i + 1] ?? at + squeeze(stories.at(-1)!).length]));
    const originals = found.map((i) => stories[i]);
    const twinTexts = found.map((i) => lowered.slice(places[starts[i]], places[after.get(starts[i])!]));
    const sources = [sourceOfDocuments("1", originals), sourceOfDocuments("2", twinTexts)];
    // Verbatim, so that the twins are near duplicates and not exact ones.
    const { dropped } = await run({ sources, documents: false, exactText: "verbatim", threads: 2 });
    const clusterOf = new Map(
      dropped.map((one) => [`${one.source}:${one.document}`, `${one.kept!.source}:${one.kept!.document}`]),
    );
    const cluster = (source: number, k: number) => clusterOf.get(`${source}:${k + 1}`) ?? `${source}:${k + 1}`;
    const together = found.filter((_, k) => cluster(1, k) === cluster(2, k)).length;
    const sets = [originals, twinTexts].map((texts) => texts.map((one) => asciiShingles(one)));
    // Exact Jaccard of all pairs, of both files together: each story of a sample with every story.
    const all = sets.flatMap((list, s) => list.map((set, k) => ({ set, s: s + 1, k })));
    const counts = { close: 0, joined: 0, claimed: 0, wrong: 0 };
    for (const a of all.filter((_, i) => i % 40 === 0))
      for (const b of all) {
        if (a === b) continue;
        const least = Math.min(a.set.size, b.set.size);
        const near = least >= 0.8 * Math.max(a.set.size, b.set.size) && jaccardOfSets(a.set, b.set) >= 0.8;
        const same = cluster(a.s, a.k) === cluster(b.s, b.k);
        if (near) counts.close++;
        if (near && same) counts.joined++;
        if (same) counts.claimed++;
        if (same && !near) counts.wrong++;
      }
    expect(together / found.length).toBeGreaterThanOrEqual(0.99);
    const page = readFileSync(resolve(import.meta.dirname, "../../../docs/dedup.md"), "utf8").replace(/\s+/g, " ");
    expect(page).toContain(`first ${stories.length.toLocaleString("en-US")} stories and their lower-cased twins`);
    expect(page).toContain(`found as ${together.toLocaleString("en-US")} clusters`);
    expect(counts.close).toBeGreaterThan(100);
    expect(counts.joined / counts.close).toBeGreaterThanOrEqual(0.99);
    expect(counts.wrong / counts.claimed).toBeLessThanOrEqual(0.01);
  },
  120_000,
);

testShared(
  "Data-Juicer's demonstration of duplicates in three languages",
  ["data/text/datajuicer_demo-dataset-deduplication.jsonl"],
  async () => {
    const path = sharedPath("data/text/datajuicer_demo-dataset-deduplication.jsonl");
    const { report, dropped } = await run({ sources: await fileSources([path]) });
    const texts = readFileSync(path, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).text as string);
    expect(report.documents).toBe(14);
    const seen = new Set<string>();
    const copies = texts.flatMap((text, i) => (seen.size === seen.add(text).size ? [i + 1] : []));
    expect(dropped.map(({ document }) => document)).toEqual(expect.arrayContaining(copies));
    expect(report.dropped.exact).toBeGreaterThanOrEqual(copies.length);
    expect(report.dropped.near).toBeGreaterThan(0);
  },
);
