// Oracle: the pipeline itself, over all documents at once; for a limit, adding up what it leaves.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createRandom } from "../platform/random.ts";
import { createBlockFilter } from "./filter-chunks.ts";
import { createFilters } from "./filters/index.ts";
import { defineFilter, runPipeline, type Stage } from "./pipeline.ts";
import type { TextDocument } from "./records.ts";
import { utf8Length } from "./utf8-length.ts";

const random = createRandom(5);
const words = "the of a river café naïve stone and have walked over seven bridges".split(" ");
const documents = Array.from({ length: 700 }, (_, i): TextDocument => {
  const text = Array.from({ length: 2 + random.integer(80) }, () => words[random.integer(words.length)]).join(" ");
  const more = i % 50 === 0 ? "\u200b" : i % 11 === 0 ? " bad" : "";
  return { text: text + more, id: null, language: null, score: i % 5, source: null, file: "f", place: `row ${i + 1}` };
});
// Copies, of which the samples are chosen by place.
for (let i = 0; i < 700; i += 7) documents[i] = { ...documents[i], text: "only two" };

const folder = mkdtempSync(join(tmpdir(), "bitnet-chunks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, "bad.txt"), "bad\n");
const stages = await createFilters(
  [
    "unicode",
    { score: { min: 1 } },
    { length: { minWords: 9 } },
    { c4: { badWordsFile: "bad.txt", terminalPunctuation: false, minSentences: 1 } },
  ],
  "test",
  folder,
);

async function atOnce(stages: readonly Stage[]) {
  async function* source() {
    yield* documents;
  }
  const run = runPipeline(source(), stages);
  const left: TextDocument[] = [];
  for await (const document of run.documents) left.push(document);
  return { left, stages: run.report() };
}

const filters = [0, 1, 3].map((threads) => createBlockFilter({ threads, chunkCharacters: 4000 }));
afterAll(() => Promise.all(filters.map((filter) => filter.close())));

test("chunks through threads come to what the pipeline does with all at once, whatever the threads", async () => {
  const whole = await atOnce(stages);
  const counts = (reports: typeof whole.stages) =>
    reports.map(({ dropped, ...report }) => ({
      ...report,
      dropped: Object.entries(dropped).map(([reason, { documents, characters }]) => [reason, documents, characters]),
    }));
  const outcomes = [];
  for (const filter of filters) outcomes.push(await filter.run(documents, stages, Number.POSITIVE_INFINITY));
  for (const outcome of outcomes) {
    expect(outcome).toEqual(outcomes[0]);
    expect(outcome.documents).toEqual(whole.left);
    expect(counts(outcome.stages)).toEqual(counts(whole.stages));
    expect(outcome).toMatchObject({ read: 700, kept: whole.left.length, emptied: 0 });
    expect(outcome.textBytes).toBe(whole.left.reduce((sum, { text }) => sum + utf8Length(text), 0));
  }
  expect(whole.left.length).toBeGreaterThan(50);
  expect(whole.stages.every(({ dropped }, i) => i === 0 || Object.keys(dropped).length > 0)).toBe(true);
});

test("a limit ends with the document that reaches it, and nothing behind it is counted", async () => {
  const { left } = await atOnce(stages);
  const most = 12_345;
  let [bytes, wanted] = [0, 0];
  while (bytes < most) bytes += utf8Length(left[wanted++].text);
  for (const filter of filters) {
    const outcome = await filter.run(documents, stages, most);
    expect(outcome.documents).toEqual(left.slice(0, wanted));
    expect(outcome.read).toBe(Number(/\d+/.exec(left[wanted - 1].place)));
    expect(outcome.stages[0].documentsIn).toBe(outcome.read);
  }
});

test("filters of one's own stay in this thread; what they throw is thrown, with threads and without", async () => {
  let here = 0;
  const own = defineFilter("own", {}, (document) => {
    here++;
    return document;
  });
  await filters[2].run(documents, [stages[1], own], Number.POSITIVE_INFINITY);
  expect(here).toBe(560);
  const absent = { ...stages[3], remake: { ...stages[3].remake!, folder: join(folder, "gone") } };
  await expect(filters[2].run(documents, [absent], Number.POSITIVE_INFINITY)).rejects.toThrow("no such file");
});
