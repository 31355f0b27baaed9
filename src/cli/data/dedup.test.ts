// Oracle: documents put together here, whose duplicates are known; the library's own report; the contract of exit codes.
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { planText, readDedupReport, resolveDedup } from "../../corpus/index.ts";
import { dataCommand } from "./data.ts";
import { describeError, throwErrors } from "../support/run.ts";

/** Runs the command; gives what it writes to the standard output, and to the standard error. */
async function run(...args: string[]): Promise<{ out: string; err: string }> {
  const written = { out: "", err: "" };
  const spyOn = (stream: NodeJS.WriteStream, key: "out" | "err") =>
    vi.spyOn(stream, "write").mockImplementation(((chunk: string) => {
      written[key] += chunk;
      return true;
    }) as never);
  const spies = [spyOn(process.stdout, "out"), spyOn(process.stderr, "err")];
  try {
    await throwErrors(dataCommand()).parseAsync(["dedup", ...args], { from: "user" });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return written;
}

const words = (n: number, from = 0) => Array.from({ length: n }, (_, i) => `word${from + i}`).join(" ");

function corpus() {
  const folder = temporaryFolder();
  const documents = [words(80), words(80, 200), `${words(80)} end`, words(80).toUpperCase(), `So ${words(20, 700)}.`];
  const file = join(folder, "web.jsonl");
  writeFileSync(file, documents.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const exam = join(folder, "exam.txt");
  writeFileSync(exam, words(15, 702));
  return { folder, file, exam, documents, out: join(folder, "clean") };
}

test("writes what stays and a line for each dropped document, says what it did, and does nothing the second time", async () => {
  const { folder, file, exam, documents, out } = corpus();
  const args = [file, "--against", exam, "-o", out, "--threads", "0"];
  const first = await run(...args);
  expect(first.err).toMatch(/^bitnet: deduplicated in .*signatures .*write .*\n$/);
  expect(first.out).toMatch(/exact duplicates +1 +20\.00 %/);
  expect(first.out).toMatch(/holding evaluation text +1 +20\.00 %/);
  expect(first.out).toContain(`dropped ${file}:3  "word0 word1`);
  const lines = (path: string) =>
    readFileSync(path, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  expect(lines(join(out, "documents", "00000-web.jsonl"))).toMatchObject([
    { text: documents[0] },
    { text: documents[1] },
  ]);
  expect(lines(join(out, "dropped", "00000-web.jsonl"))).toMatchObject([
    { document: 3, reason: "near", kept: { source: file, document: 1 } },
    { document: 4, reason: "exact", kept: { source: file, document: 1 }, similarity: 1 },
    { document: 5, reason: "contaminated", heldOut: { source: exam, document: 1, ngrams: 3 } },
  ]);
  const again = await run(...args, "--json");
  expect(again.err).toContain("nothing to do");
  expect(JSON.parse(again.out)).toEqual({ folder: out, ...readDedupReport(out) });
  expect(readdirSync(folder).sort()).toEqual(["clean", "exam.txt", "web.jsonl"]);
});

test("options reach the library", async () => {
  const { file, out } = corpus();
  const json = async (...args: string[]) =>
    JSON.parse((await run(file, "-o", out, "--threads", "0", "--json", ...args)).out);
  expect(await json("--no-near", "--no-documents")).toMatchObject({
    kept: 4,
    dropped: { exact: 1, near: 0 },
    near: null,
  });
  expect(existsSync(join(out, "documents"))).toBe(false);
  const all = await json(
    ...["--verbatim", "--threshold", "0.7", "--shingle", "3", "--permutations", "64", "--bands", "16", "--rows", "4"],
    ...[
      "--verify",
      "signature",
      "--keep",
      "longest",
      "--ngram",
      "9",
      "--overlap",
      "2",
      "--max-bucket",
      "9",
      "--seed",
      "3",
    ],
    ...["--samples", "1", "--memory", "200MB", "--work", join(out, "..", "w"), "--keep-work"],
  );
  expect(all.options).toMatchObject({
    ...{ exactText: "verbatim", threshold: 0.7, shingle: 3, permutations: 64, bands: 16, rows: 4, verify: "signature" },
    ...{ keep: "longest", ngram: 9, overlap: 2, maxBucket: 9, seed: 3, samples: 1 },
  });
  expect(existsSync(join(out, "..", "w", "signatures"))).toBe(true);
});

test("prints the plan for an engine, whole or a stage of it, and needs no file for that", async () => {
  const location = "s3a://bucket/d";
  const plan = (options: object, more = {}) => planText(resolveDedup(options), { dialect: "spark", location, ...more });
  expect((await run("--print-plan", "--location", location)).out).toBe(plan({}));
  const part = await run(
    "--print-plan",
    "--location",
    location,
    "--stage",
    "clusters",
    "--rounds",
    "3",
    "--threshold",
    "0.9",
  );
  expect(part.out).toBe(plan({ threshold: 0.9 }, { part: "clusters", rounds: 3 }));
  expect(part.out).toContain("labels_03");
  expect(part.out).not.toContain("labels_04");
  for (const engine of ["duckdb", "generic"] as const)
    expect((await run("--print-plan", "--engine", engine, "--location", location)).out).toBe(
      plan({}, { dialect: engine }),
    );
});

test("Ctrl-C leaves a work folder that the next run goes on with", async () => {
  const { file, out } = corpus();
  const send = (name: string | symbol) => {
    if (name === "SIGINT") setImmediate(() => process.emit("SIGINT"));
  };
  process.on("newListener", send);
  const outcome = await run(file, "-o", out, "--threads", "0").catch((error) => error);
  process.off("newListener", send);
  expect(outcome).toMatchObject({ name: "Interrupted", exitCode: 130 });
  expect(existsSync(out)).toBe(false);
  expect((await run(file, "-o", out, "--threads", "0")).out).toContain("kept");
  expect(existsSync(`${out}.work`)).toBe(false);
});

test.for([
  [[], "name at least one text file or folder", 2],
  [["a.txt"], "name the result's folder with -o", 2],
  [["nowhere.txt", "-o", "x"], "nowhere.txt", 1],
  [["a.txt", "-o", "x", "--share", "3/2"], "Expected I/N with I below N", 2],
  [["a.txt", "-o", "x", "--shard", "3/2"], "Expected I/N with I below N", 2],
  [["a.txt", "-o", "x", "--shard", "1/2", "--share", "1/2"], "--shard is --share's name of before; leave it out", 2],
  [["--print-plan", "--stage", "write"], "stage write reads text and has no SQL", 2],
  [["--print-plan", "--bands", "3"], "name bands and rows both", 2],
] as const)("%j is refused in one line", async ([args, message, code]) => {
  const error = await run(...args).catch((error) => error);
  expect(describeError(error)).toMatchObject({ code, message: expect.stringContaining(message) });
  expect(describeError(error).message).not.toContain("\n");
});

test("one machine's part is --share; --shard, its name before, does the same and says so", async () => {
  const { file, out } = corpus();
  const of = (option: string) =>
    run(file, "-o", out, "--threads", "0", "--no-near", "--stage", "signatures", "--restart", option, "0/2");
  const [now, before] = [await of("--share"), await of("--shard")];
  expect(before.err.split("\n")).toContain("bitnet: --shard is called --share now; the old name still works");
  expect(now.err).not.toContain("--shard");
  expect(before.out).toBe(now.out);
});

test("takes the sources that prepare takes: Parquet by a pattern, fields, scores; bad records are counted once", async () => {
  const folder = temporaryFolder();
  for (const name of ["snappy.parquet", "zstd.parquet", "file.arrow"])
    copyFileSync(resolve(import.meta.dirname, "../../../test/fixtures/documents", name), join(folder, name));
  const out = join(folder, "out");
  const fields = ["--id-field", "id", "--score-field", "score", "--language-field", "lang"];
  const common = ["-o", out, "--threads", "0", "--json", "--keep", "score"];
  const report = JSON.parse((await run(join(folder, "*.*r*"), ...fields, ...common)).out);
  expect(report).toMatchObject({ documents: 24, kept: 8, dropped: { exact: 16 }, read: { files: 3, bad: 0 } });
  const kept = readFileSync(join(out, "documents", "00000-file.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  expect(JSON.parse(kept[3])).toMatchObject({ id: String(2 ** 40 + 3), language: "fr", score: 1.5 });
  const lines = [1, 2, 2].map((n) => JSON.stringify({ body: words(30, n * 100), quality: n }));
  const file = join(folder, "cut.jsonl");
  writeFileSync(file, `${lines[0]}\n${lines[1].slice(0, 40)}\n${lines[1]}\n${lines[2]}\n`);
  const exam = join(folder, "exam.jsonl");
  writeFileSync(exam, `{"question": "${words(20, 105)}"}\n{"question": \n`);
  const args = [file, "--field", "body", "--score-field", "quality", "--against", exam, "--against-field", "question"];
  await expect(run(...args, ...common, "--restart")).rejects.toThrow(`${exam}: line 2: is not JSON`);
  const skipped = await run(...args, ...common, "--restart", "--on-bad-record", "skip");
  expect(JSON.parse(skipped.out)).toMatchObject({
    documents: 3,
    kept: 1,
    dropped: { exact: 1, contaminated: 1 },
    read: { files: 1, documents: 3, bad: 1, badRecords: [{ file, records: 1 }] },
    heldOut: { texts: 1, bad: 1 },
  });
  const said = await run(...args, "-o", out, "--keep", "score", "--on-bad-record", "skip");
  expect(said.out).toMatch(/read +3 documents of 1 file, 1 bad record passed over\n.*cut\.jsonl: line 2: is not JSON/);
  await expect(run(file, "--keep", "score", "-o", out)).rejects.toThrow("name it with --score-field");
});
