// Oracles: a local server that answers as the Hugging Face hub does (its tree listing and file addresses), a Parquet file
// that PyArrow wrote (../shared), and CPython's draws for the few-shot examples.
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { TransformerEngine } from "../infer/index.ts";
import { presets, Transformer } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import { findWikiText, tasksIn } from "./find-tasks.ts";
import { toHarnessResults, toHarnessTask } from "./harness-results.ts";
import { evaluateTask } from "./run-tasks.ts";
import { readTaskRows } from "./task-rows.ts";
import { openTaskData } from "./task-source.ts";
import { findTask } from "./tasks/index.ts";

const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const question = (i: number) => ({ query: `q${i}`, choices: ["a", "b"], gold: i % 2 });
const openbookqa = findTask("openbookqa");

describe("a folder", () => {
  test("is searched for the task's names; the training file gives the few-shot examples", async () => {
    const path = temporaryFolder();
    writeFileSync(join(path, "openbook_qa.test.jsonl"), lines([question(1)]));
    writeFileSync(join(path, "openbook_qa.train.jsonl"), lines([question(2), question(3)]));
    writeFileSync(join(path, "openbook_qa.notes.txt"), "x");
    writeFileSync(join(path, "copa.jsonl"), lines([question(4)]));
    const data = await openTaskData(openbookqa, { path, cacheDir: path }, true);
    expect(data.rows.map(({ value }) => value)).toEqual([question(1)]);
    expect(data.fewshotRows?.map(({ value }) => value)).toEqual([question(2), question(3)]);
    expect((await openTaskData(findTask("copa"), { path, cacheDir: path }, true)).fewshotRows).toBeNull();
    writeFileSync(join(path, "openbookqa.jsonl"), lines([question(5)]));
    await expect(openTaskData(openbookqa, { path, cacheDir: path }, false)).rejects.toThrow(
      "has openbook_qa.test.jsonl and openbookqa.jsonl; give one of them with --task-data",
    );
    await expect(openTaskData(findTask("piqa"), { path, cacheDir: path }, false)).rejects.toThrow(
      /has no file for piqa; wanted one of piqa\.jsonl, plain_text\/validation\/\*\.parquet, or give the file itself with --task-data/,
    );
  });

  test("PIQA's labels are read from the file beside it, line to line", async () => {
    const path = temporaryFolder();
    writeFileSync(join(path, "piqa.valid.jsonl"), lines([1, 2].map((i) => ({ goal: `g${i}`, sol1: "a", sol2: "b" }))));
    const open = () => openTaskData(findTask("piqa"), { path, cacheDir: path }, false);
    await expect(open()).rejects.toThrow("piqa.valid-labels.lst is not beside it");
    writeFileSync(join(path, "piqa.valid-labels.lst"), "1\n0\n");
    expect((await open()).rows.map((row) => findTask("piqa").read(row))).toMatchObject([{ gold: 1 }, { gold: 0 }]);
    writeFileSync(join(path, "piqa.valid-labels.lst"), "1\n0\n1\n");
    await expect(open()).rejects.toThrow(/piqa\.valid-labels\.lst: has 3 labels, .*piqa\.valid\.jsonl has 2 rows/);
  });
});

test("several places: each file is found by its name, and what two places have is refused", async () => {
  const [a, b] = [temporaryFolder(), temporaryFolder()];
  writeFileSync(join(a, "copa.jsonl"), lines([question(1)]));
  writeFileSync(join(b, "openbook_qa.jsonl"), lines([question(2)]));
  writeFileSync(join(b, "wiki.valid.tokens"), " = A = \n");
  writeFileSync(join(b, "wiki.valid.raw"), " = A = \n");
  expect(tasksIn([a, b])).toEqual(["openbookqa", "copa", "wikitext"]);
  expect(tasksIn([join(a, "copa.jsonl")])).toEqual(["copa"]);
  expect(findWikiText([a, b])).toBe(join(b, "wiki.valid.raw"));
  expect(findWikiText([a])).toBeNull();
  const { rows, sha256 } = await openTaskData(openbookqa, { path: [a, b], cacheDir: a }, false);
  expect(rows.map(({ value }) => value)).toEqual([question(2)]);
  const bytes = readFileSync(join(b, "openbook_qa.jsonl"));
  expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
  writeFileSync(join(b, "copa.jsonl"), lines([question(3)]));
  expect(() => tasksIn([a, b])).toThrow(/are both of copa; give one/);
});

test("StoryCloze has no source but the user", async () => {
  const cacheDir = temporaryFolder();
  await expect(openTaskData(findTask("storycloze_2016"), { cacheDir }, false)).rejects.toThrow(
    "its licence lets nobody pass the data on; get the file from its authors and give it with --task-data FILE",
  );
});

describe("the hub", () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  /** Serves one Parquet file as `allenai/openbookqa` main/test/0000.parquet. */
  async function serve(parquet: Uint8Array, sizeBytes = parquet.length) {
    const asked: string[] = [];
    server = createServer((request, response) => {
      const url = decodeURIComponent(request.url ?? "");
      asked.push(`${request.method} ${url} ${request.headers.authorization ?? ""}`.trim());
      const path = "main/test/0000.parquet";
      if (url.startsWith("/api/datasets/allenai/openbookqa/tree/refs/convert/parquet/main/test")) {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify([{ type: "file", path, size: sizeBytes, oid: "0".repeat(40) }]));
      } else if (url.startsWith(`/datasets/allenai/openbookqa/resolve/refs/convert/parquet/${path}`)) {
        const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
        const part = from === undefined ? parquet : parquet.subarray(Number(from), Number(to) + 1);
        if (from !== undefined) response.setHeader("content-range", `bytes ${from}-${to}/${parquet.length}`);
        response.setHeader("etag", '"abc"');
        response.setHeader("content-length", part.length);
        response.statusCode = from === undefined ? 200 : 206;
        response.end(part);
      } else {
        response.statusCode = 404;
        response.end("{}");
      }
    });
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  testShared(
    "is asked once: the file is kept, and read without it next time",
    ["data/text/redpajama_v2_fdedup_8.parquet"],
    async () => {
      const cacheDir = temporaryFolder();
      const source = sharedPath("data/text/redpajama_v2_fdedup_8.parquet");
      const { asked, url } = await serve(readFileSync(source));
      const downloads: string[] = [];
      const hub = { url, accessToken: "hf_secret", onDownload: ({ path }: { path: string }) => downloads.push(path) };
      const { rows, source: said } = await openTaskData(openbookqa, { cacheDir, hub }, false);
      expect(rows).toHaveLength(2);
      expect(rows.map(({ value }) => value)).toEqual((await readTaskRows(source)).map(({ value }) => value));
      expect(said).toBe("allenai/openbookqa main test");
      expect(downloads).toEqual(["main/test/0000.parquet"]);
      expect(asked[0]).toContain("Bearer hf_secret");
      const before = asked.length;
      server?.close();
      expect((await openTaskData(openbookqa, { cacheDir, hub }, false)).rows).toHaveLength(2);
      expect(asked).toHaveLength(before);
      // The folder that was kept is one that --task-data takes.
      const path = temporaryFolder();
      mkdirSync(join(path, "main", "test"), { recursive: true });
      copyFileSync(source, join(path, "main", "test", "0000.parquet"));
      expect((await openTaskData(openbookqa, { path, cacheDir }, false)).rows).toHaveLength(2);
      // Its rows are no questions, and are named so.
      expect(() => openbookqa.read(rows[1])).toThrow(/0000\.parquet: row 2: /);
    },
  );

  test("a download that is cut short is refused, and leaves nothing that a later run would take", async () => {
    const cacheDir = temporaryFolder();
    const { url } = await serve(new Uint8Array(100), 200);
    await expect(openTaskData(openbookqa, { cacheDir, hub: { url } }, false)).rejects.toThrow(
      /openbookqa: cannot download allenai\/openbookqa \(main, test\).*give a file or folder with --task-data PATH/,
    );
    expect(readdirSync(cacheDir, { recursive: true }).filter((name) => /files\.json/.test(String(name)))).toEqual([]);
  });

  test("nobody there, or nothing there: one error that names the option for a file", async () => {
    const cacheDir = temporaryFolder();
    await expect(openTaskData(openbookqa, { cacheDir, hub: { url: "http://127.0.0.1:9" } }, false)).rejects.toThrow(
      /cannot download .*--task-data PATH/,
    );
    const { url } = await serve(new Uint8Array(1));
    await expect(openTaskData(findTask("boolq"), { cacheDir, hub: { url } }, false)).rejects.toThrow(
      /boolq: cannot download aps\/super_glue \(boolq, validation\).*--task-data PATH/,
    );
  });
});

describe("a small model", () => {
  async function open(seed = 1) {
    const { tokenizer } = await trainCharacters(["abqQ0123456789 \n:Answer."]);
    const config = {
      ...presets.tiny,
      vocabSize: tokenizer.vocabSize,
      width: 16,
      layers: 1,
      heads: 2,
      kvHeads: 1,
      hiddenWidth: 24,
      contextLength: 64,
    };
    return {
      tokenizer,
      engine: new TransformerEngine(new Transformer(new Runtime(createReferenceBackend()), config, seed)),
    };
  }
  const rowsOf = (count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => ({ where: `t.jsonl: line ${i + 1}`, value: question(i + from) }));
  const options = { batch: 4, startToken: null, samples: true };

  test("few-shot examples are those that random.Random(seed).sample draws, item by item", async () => {
    const { engine, tokenizer } = await open();
    const data = { rows: rowsOf(2, 5), fewshotRows: rowsOf(10), source: "here", sha256: "" };
    const shot = (i: number) => `q${i} ${"ab"[i % 2]}\n\n`;
    const run = async (name: string) =>
      (await evaluateTask(engine, tokenizer, findTask(name), data, { ...options, fewshot: 2 })).samples;
    // random.Random(1234): sample(range(10), 2) is 7, 1; then 0, 1.
    const contexts = (await run("openbookqa"))?.map(({ arguments: [[context]] }) => context);
    expect(contexts).toEqual([`${shot(7)}${shot(1)}q5`, `${shot(0)}${shot(1)}q6`]);
  });

  test("from its own rows, one more is drawn and the item itself left out", async () => {
    const { engine, tokenizer } = await open();
    const data = { rows: rowsOf(4), fewshotRows: null, source: "here", sha256: "" };
    const result = await evaluateTask(engine, tokenizer, openbookqa, data, { ...options, fewshot: 3 });
    for (const [
      i,
      {
        arguments: [[context]],
      },
    ] of (result.samples ?? []).entries()) {
      const drawn = [...context.matchAll(/q(\d) [ab]\n\n/g)].map(([, d]) => Number(d)).sort();
      expect(drawn).toEqual([0, 1, 2, 3].filter((k) => k !== i));
      expect(context.endsWith(`\n\nq${i}`)).toBe(true);
    }
    await expect(evaluateTask(engine, tokenizer, openbookqa, data, { ...options, fewshot: 4 })).rejects.toThrow(
      "4 examples are wanted before each item, but there are 4 rows to draw them from, the item itself among them; give a file of examples with --fewshot-data",
    );
  });

  test("results have the harness's keys; accuracies are those of the logged likelihoods", async () => {
    const { engine, tokenizer } = await open();
    const data = { rows: rowsOf(9), fewshotRows: null, source: "here", sha256: "" };
    const result = await evaluateTask(engine, tokenizer, openbookqa, data, { ...options, limit: 7 });
    const right = (result.samples ?? []).filter(
      ({ resps, target }) => String(resps[0][0] >= resps[1][0] ? 0 : 1) === target,
    );
    const p = right.length / 7;
    const run = { startedSeconds: 1.5, elapsedSeconds: 20.25, commit: "abc", contextLength: 64 };
    const harness = toHarnessResults([toHarnessTask(result)], { path: "org/m:1" }, { limit: 7 }, run);
    expect(harness.results.openbookqa["acc,none"]).toBeCloseTo(p, 12);
    expect(harness.results.openbookqa["acc_stderr,none"]).toBeCloseTo(Math.sqrt((p * (1 - p)) / 6), 12);
    expect(Object.keys(harness.results.openbookqa)).toEqual([
      "alias",
      "acc,none",
      "acc_stderr,none",
      "acc_norm,none",
      "acc_norm_stderr,none",
    ]);
    expect(harness).toMatchObject({
      versions: { openbookqa: 1 },
      "n-shot": { openbookqa: 0 },
      higher_is_better: { openbookqa: { acc: true, acc_norm: true } },
      "n-samples": { openbookqa: { original: 9, effective: 7 } },
      config: { limit: 7 },
      model_source: "bitnet.ts",
      model_name: "org/m:1",
      model_name_sanitized: "org__m__1",
      git_hash: "abc",
      date: 1.5,
      max_length: 64,
      total_evaluation_time_seconds: "20.25",
    });
    expect(harness.task_hashes).toEqual({ openbookqa: expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  // Oracle: CPython's hashlib over json.dumps(row, indent=2, ensure_ascii=False), what lm_eval's evaluator.py hashes; on 50 rows of
  // ARC-Easy, lm_eval 0.4.13 itself gave the `task_hashes` that `bitnet eval` gives.
  test("items are hashed as the harness does: row, prompt and target", async () => {
    const { engine, tokenizer } = await open();
    const data = { rows: rowsOf(3), fewshotRows: null, source: "here", sha256: "" };
    const { samples = [], itemsHash } = await evaluateTask(engine, tokenizer, openbookqa, data, options);
    const hash = (text: string) => createHash("sha256").update(text).digest("hex");
    expect(samples[0].doc_hash).toBe("d0fd73ed9cc365e2686db24d2f30a64a56b23357519dd48cc8103b6c05256d06");
    expect(samples[0].target_hash).toBe(hash(samples[0].target));
    expect(samples[0].prompt_hash).toBe(hash(samples[0].arguments[0][0]));
    expect(itemsHash).toBe(hash(samples.map((one) => one.doc_hash + one.prompt_hash + one.target_hash).join("")));
    // And with the samples left out it is the same.
    const bare = await evaluateTask(engine, tokenizer, openbookqa, data, { ...options, samples: false });
    expect([bare.itemsHash, bare.samples]).toEqual([itemsHash, undefined]);
  });
});
