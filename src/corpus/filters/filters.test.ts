// Each rule of each filter, on texts made for it. Oracles: the papers' numbers (named in the filters); on real text, counts
// made here in another way, DCLM's labels by people, and the languages that the data sets state.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { runPipeline, type Stage, type StageReport } from "../pipeline.ts";
import type { FieldMap, TextDocument } from "../records.ts";
import { readTextDocuments } from "../sources.ts";
import {
  c4Filter,
  createFilters,
  gopherQuality,
  gopherRepetition,
  languageFilter,
  loadLanguageDetector,
  linesFilter,
  maskFilter,
  readFilters,
  scoreFilter,
  unicodeFilter,
} from "./index.ts";

const documentOf = (text: string, more: Partial<TextDocument> = {}): TextDocument => ({
  text,
  id: null,
  language: null,
  score: null,
  source: null,
  file: "test",
  place: "document 1",
  ...more,
});

/** What a filter makes of a text: the reason for which it drops it, or the text it leaves. */
function verdict(stage: Stage, text: string, more: Partial<TextDocument> = {}) {
  const counts: Record<string, number> = {};
  const count = (name: string, by = 1) => {
    counts[name] = (counts[name] ?? 0) + by;
  };
  const result = stage.judge!(documentOf(text, more), { count });
  return "drop" in result ? { drop: result.drop } : { text: result.text, counts };
}

const prose =
  "The history of the town is that of its river. It was to be a place with mills, and the mills have made it rich. ";
const good = prose.repeat(3).trim();
const words = (count: number, word: string) => Array(count).fill(word).join(" ");
const phrase = (k: number) => Array.from({ length: 6 }, (_, i) => `p${k}${i}q`).join(" ");
/** Different words, so that nothing repeats. */
const various = (count: number) => Array.from({ length: count }, (_, i) => `w${i.toString(36)}x`).join(" ");

test.for([
  ["too-few-words", `the of and to ${various(45)}`],
  ["words-too-short", `the of ${words(60, "a")}`],
  ["words-too-long", `the of ${words(60, "abcdefghijklmnop")}`],
  ["too-many-hashes", `the of and ${various(50)} ${words(7, "#tags")}`],
  ["too-many-ellipses", `the of and ${various(50)} ${words(7, "so...")}`],
  ["bullet-lines", Array.from({ length: 20 }, (_, i) => `• the reason of point ${i} explained`).join("\n")],
  [
    "ellipsis-lines",
    Array.from({ length: 10 }, (_, i) => `the words of line ${i} ${various(12)}${i > 5 ? "..." : "."}`).join("\n"),
  ],
  ["too-few-letters", `the of ${various(40)} ${words(12, "1234")}`],
  ["too-few-stop-words", `the the ${various(60)}`],
])("gopher-quality drops %s", ([reason, text]) => {
  expect(verdict(gopherQuality(), text)).toEqual({ drop: reason });
  expect(verdict(gopherQuality(), good)).toMatchObject({ text: good });
});

test("gopher-quality's limits are the paper's, to the word", () => {
  const text = (count: number) => `the of ${various(count - 2)}`;
  expect(verdict(gopherQuality(), text(49))).toEqual({ drop: "too-few-words" });
  expect(verdict(gopherQuality(), text(50))).toHaveProperty("text");
  expect(verdict(gopherQuality(), text(100_000))).toHaveProperty("text");
  expect(verdict(gopherQuality(), text(100_001))).toEqual({ drop: "too-many-words" });
  expect(verdict(gopherQuality({ minStopWords: 3 }), text(60))).toEqual({ drop: "too-few-stop-words" });
});

test.for([
  ["repeated-lines", [...Array(4).fill("short"), various(30)].concat(["x y", "z"]).join("\n")],
  ["repeated-line-characters", ["one", "two", "three", "four", "five", various(9), various(9)].join("\n")],
  ["repeated-paragraphs", [...Array(4).fill("a\nb"), various(60).replaceAll(" ", "\n")].join("\n\n")],
  ["top-2-gram", `${words(12, "alpha beta")} ${Array.from({ length: 40 }, (_, i) => `v${i}`).join(" alpha beta ")}`],
  [
    "repeated-5-grams",
    [0, 1, 2, 0, 1, 2].map((k, i) => `${phrase(k)} ${various(8).replaceAll("x", `f${i}`)}`).join(" "),
  ],
])("gopher-repetition drops %s", ([reason, text]) => {
  const found = verdict(gopherRepetition(), text);
  expect(found.drop).toBe(reason);
  expect(verdict(gopherRepetition(), various(200))).toHaveProperty("text");
});

test("c4 keeps lines that end as sentences do, and drops pages of programs, fillers and few sentences", () => {
  const page = `Home About\n${prose}\nCopyright 2019\nRead our privacy policy here.\nPlease enable JavaScript now.\nTo go on...\nOk then.\nIt is said [1] "so".\n${prose}`;
  const found = verdict(c4Filter(), page);
  expect(found).toEqual({
    text: `${prose.trim()}\nIt is said  "so".\n${prose.trim()}`,
    counts: {
      "lines: no terminal punctuation": 3,
      "lines: policy notice": 1,
      "lines: javascript": 1,
      "lines: few words": 1,
    },
  });
  expect(verdict(c4Filter(), `${good}\nfunction () { return; } is all.`)).toEqual({ drop: "curly-bracket" });
  expect(verdict(c4Filter(), `${good}\nLorem ipsum dolor sit amet.`)).toEqual({ drop: "lorem-ipsum" });
  expect(verdict(c4Filter(), "This is one. And this is two.")).toEqual({ drop: "too-few-sentences" });
  expect(verdict(c4Filter(), "Menu\nAbout us")).toEqual({ drop: "no-line-left" });
  const bad = c4Filter({ badWords: ["river", "two words"] });
  expect(verdict(bad, good)).toEqual({ drop: "bad-word" });
  expect(verdict(bad, good.replaceAll("river", "riverside"))).toHaveProperty("text");
});

test("score keeps what is at least min; what has none is dropped by that name", () => {
  const scores = [null, 2.9, 3, 4.5, 6].map((score) => verdict(scoreFilter({ max: 5 }), "x", { score }));
  expect(scores.map((found) => found.drop ?? "kept")).toEqual(["no-score", "low-score", "kept", "kept", "high-score"]);
  expect(() => scoreFilter({ min: 3, max: 2 })).toThrow("max is 2, below min");
});

test("lines leaves out counters, controls and lines without letters, and drops a page that is mostly such", () => {
  const page = `Skip to content\n\n\n\n${good}  \n12 comments\n1.2K Likes\n* * *\nShare\n\n\n`;
  expect(verdict(linesFilter({ maxRemovedWords: 0.5 }), page)).toEqual({
    text: good,
    counts: { "lines: control": 2, "lines: counter": 2, "lines: no letter": 1 },
  });
  expect(verdict(linesFilter(), page)).toEqual({ drop: "mostly-removed" });
  expect(verdict(linesFilter({ maxRemovedWords: 1 }), "Share\n12 comments")).toEqual({ drop: "no-line-left" });
  const repeated = linesFilter({ repeatedFrom: 10, maxRemovedWords: 1, maxUpperCase: 0.5 });
  expect(verdict(repeated, "a long line\nshort\na long line\nshort\nSHOUTING ALL THE WAY")).toMatchObject({
    text: "a long line\nshort\nshort",
  });
});

test("unicode composes, takes away what is invisible, and drops text that was decoded wrongly", () => {
  const text = "cafe\u0301\u200b soft\u00adhy\u0000phen\r\nnext\u2028line\ufeff 👩\u200d👧";
  expect(verdict(unicodeFilter(), text)).toMatchObject({ text: "café softhyphen\nnext\nline 👩\u200d👧" });
  expect(verdict(unicodeFilter({ form: "NFKC" }), "ﬁne ①")).toMatchObject({ text: "fine 1" });
  expect(verdict(unicodeFilter(), `${good}`)).toEqual({ text: good, counts: {} });
  expect(verdict(unicodeFilter(), "caf\ufffd")).toEqual({ drop: "wrong-encoding" });
  expect(verdict(unicodeFilter(), "\u200b\u00ad")).toEqual({ drop: "nothing-visible" });
});

test("mask hides addresses and numbers, and nothing that only looks a little like them", () => {
  const found = verdict(
    maskFilter(),
    "Write to jo.doe+x@mail.example.co.uk or (555) 123-4567, +49 30 1234567; from 192.168.10.1 or 2001:0db8:0000:0000:0000:ff00:0042:8329.",
  );
  expect(found).toEqual({
    text: "Write to |||EMAIL_ADDRESS||| or |||PHONE_NUMBER|||, |||PHONE_NUMBER|||; from |||IP_ADDRESS||| or |||IP_ADDRESS|||.",
    counts: { emails: 1, "phone numbers": 2, "IP addresses": 2 },
  });
  for (const text of [
    "version 1.2.3.4.5",
    "300.1.2.3",
    "1999-2005",
    "pages 100-200",
    "3.14159265",
    "a@b",
    "@name",
    "10:30",
    "ISBN 978-3-16-148410-0",
  ])
    expect(verdict(maskFilter(), text)).toEqual({ text, counts: {} });
  expect(verdict(maskFilter({ email: false, ipAs: "[ip]" }), "a@b.org at 10.0.0.1")).toMatchObject({
    text: "a@b.org at [ip]",
  });
  expect(verdict(maskFilter({ maxMasked: 1 }), "a@b.org, c@d.org")).toEqual({ drop: "too-many-masked" });
});

test("language keeps what is asked for, by detection or by field", async () => {
  const french =
    "Le petit village se trouve au bord de la rivière, et ses habitants parlent de la pluie tous les jours.";
  expect(verdict(await languageFilter(), good)).toHaveProperty("text");
  expect(verdict(await languageFilter(), french)).toEqual({ drop: "other-language" });
  expect(verdict(await languageFilter({ languages: ["fr", "de"] }), french)).toHaveProperty("text");
  expect(verdict(await languageFilter({ threshold: 0.999 }), good)).toEqual({ drop: "uncertain-language" });
  expect(verdict(await languageFilter(), "12 + 7 = 19")).toEqual({ drop: "no-language" });
  const byField = await languageFilter({ by: "field", languages: ["xx"] });
  expect(verdict(byField, "x", { language: "XX" })).toHaveProperty("text");
  expect(verdict(byField, "x", { language: "en" })).toEqual({ drop: "other-language" });
  await expect(languageFilter({ languages: ["xx"] })).rejects.toThrow('"xx" is not detected; languages are: am, ar');
});

test("a configuration names filters with options; what is wrong in it is named", async () => {
  const folder = temporaryFolder();
  const file = (text: string) => {
    const path = join(folder, "filters.yaml");
    writeFileSync(path, text);
    return path;
  };
  writeFileSync(join(folder, "bad.txt"), "# list\nriver\n\n");
  const stages = await readFilters(
    file("filters:\n  - unicode\n  - score: { min: 2.5 }\n  - c4: { badWordsFile: bad.txt }\n"),
  );
  expect(stages.map(({ name }) => name)).toEqual(["unicode", "score", "c4"]);
  expect(stages[1].options).toEqual({ min: 2.5 });
  expect(verdict(stages[2], good)).toEqual({ drop: "bad-word" });
  expect((await readFilters("unicode, gopher-quality")).map(({ name }) => name)).toEqual(["unicode", "gopher-quality"]);
  await expect(readFilters("unicode,gopher")).rejects.toThrow(
    '--filters: unknown filter "gopher"; expected one of unicode, length,',
  );
  await expect(readFilters(file("- score: { minimum: 3 }"))).rejects.toThrow(
    /score: .*minimum.*; its options are: min, max/,
  );
  await expect(readFilters(file("- score: { min: high }"))).rejects.toThrow("score.min");
  await expect(readFilters(file("- [unclosed"))).rejects.toThrow("filters.yaml: ");
  await expect(readFilters(file("steps: 3"))).rejects.toThrow(
    'has no list of filters; expected one, or "filters:" with one',
  );
  await expect(readFilters(join(folder, "none.yaml"))).rejects.toThrow("no such file");
  await expect(createFilters([{ a: 1, b: 2 }])).rejects.toThrow("filter 1: expected a name");
});

async function filter(file: string, stages: readonly Stage[], fields?: FieldMap) {
  const kept: TextDocument[] = [];
  const run = runPipeline(readTextDocuments(sharedPath(`data/text/${file}`), { fields }), stages);
  for await (const document of run.documents) kept.push(document);
  return { kept, reports: run.report() };
}
const droppedBy = (report: StageReport) =>
  Object.fromEntries(Object.entries(report.dropped).map(([reason, { documents }]) => [reason, documents]));

const real = ["c4_sample.jsonl.gz", "dolma_commoncrawl_2019-30.jsonl.gz", "dclm_quality_majority.jsonl.gz"];
testShared(
  "shared: what gopher-quality drops of C4, Dolma and DCLM is what an independent count says",
  real.map((name) => `data/text/${name}`),
  async () => {
    for (const name of real) {
      const { kept, reports } = await filter(name, [gopherQuality()]);
      const expected: Record<string, number> = {};
      let left = 0;
      for await (const { text } of readTextDocuments(sharedPath(`data/text/${name}`))) {
        const reason = gopherByHand(text);
        if (reason === null) left++;
        else expected[reason] = (expected[reason] ?? 0) + 1;
      }
      expect([name, droppedBy(reports[0])]).toEqual([name, expected]);
      expect(kept).toHaveLength(left);
      expect(left).toBeGreaterThan(100);
    }
  },
);

/** The paper's rules once more: over code points and split(), without regular expressions of the filter. */
function gopherByHand(text: string): string | null {
  const words = text.split(/\s+/).filter(Boolean);
  const count = words.length;
  if (count < 50) return "too-few-words";
  if (count > 100_000) return "too-many-words";
  const mean = words.map((word) => Array.from(word).length).reduce((a, b) => a + b) / count;
  if (mean < 3) return "words-too-short";
  if (mean > 10) return "words-too-long";
  if (text.split("#").length - 1 > count / 10) return "too-many-hashes";
  if (text.split("...").length + text.split("…").length - 2 > count / 10) return "too-many-ellipses";
  const lines = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").split("\n");
  if (lines.length > 1 && lines.at(-1) === "") lines.pop();
  const bullets = lines
    .map((line) => line.trimStart())
    .filter(
      (line) =>
        "•‣▶◀◦■□▪▫".includes(line.charAt(0) || "x") ||
        ["- ", "* "].includes(`${line.slice(0, 1)}${line.slice(1, 2).trim() === "" && line.length > 1 ? " " : "?"}`),
    );
  if (bullets.length > 0.9 * lines.length) return "bullet-lines";
  const ends = lines.map((line) => line.trimEnd()).filter((line) => line.endsWith("...") || line.endsWith("…"));
  if (ends.length > 0.3 * lines.length) return "ellipsis-lines";
  if (words.filter((word) => /\p{Alphabetic}/u.test(word) && /\p{L}/u.test(word)).length < 0.8 * count)
    return "too-few-letters";
  const spoken = new Set(
    words.map((word) => word.toLowerCase().match(/[\p{L}\p{N}].*[\p{L}\p{N}]|[\p{L}\p{N}]/u)?.[0]),
  );
  return ["the", "be", "to", "of", "and", "that", "have", "with"].filter((word) => spoken.has(word)).length < 2
    ? "too-few-stop-words"
    : null;
}

testShared(
  "shared: of DCLM's pages, people liked more of those that Gopher's and C4's rules leave than of those they drop",
  ["data/text/dclm_quality_agreement.jsonl.gz", "data/text/dclm_quality_majority.jsonl.gz"],
  async () => {
    const rates = { kept: [0, 0], dropped: [0, 0] };
    for (const name of ["dclm_quality_agreement.jsonl.gz", "dclm_quality_majority.jsonl.gz"]) {
      const all = await filter(name, [], { score: "label" });
      const { kept } = await filter(name, [gopherQuality(), gopherRepetition(), c4Filter()], { score: "label" });
      const places = new Set(kept.map(({ place }) => place));
      for (const { place, score } of all.kept) {
        const side = places.has(place) ? rates.kept : rates.dropped;
        side[0] += score!;
        side[1]++;
      }
    }
    expect(rates.kept[1] + rates.dropped[1]).toBe(281 + 499);
    expect(rates.kept[0] / rates.kept[1]).toBeGreaterThan(rates.dropped[0] / rates.dropped[1]);
  },
);

const languages = [
  ["webtext_lang_1.parquet", "text", "lang", "en", 100],
  ["webtext_lang_quality_2.parquet", "text", "lang", "fr", 100],
  ["commoncrawl_quality_100.parquet", "contents", "ft_lang", "en", 100],
] as const;
for (const [name, text, language, code, rows] of languages)
  testShared(
    `shared: the language detected is the one that ${name} states, for 98 of 100 pages`,
    [`data/text/${name}`],
    async () => {
      const { kept } = await filter(name, [], { text, language });
      expect(kept).toHaveLength(rows);
      const { detect } = await loadLanguageDetector();
      const same = kept.filter((document) => detect(document.text).language === document.language);
      expect(same.length).toBeGreaterThanOrEqual(98);
      const { kept: left } = await filter(name, [await languageFilter({ languages: [code], threshold: 0 })], { text });
      expect(left.length).toBe(kept.filter((document) => detect(document.text).language === code).length);
    },
  );

testShared(
  "shared: a score in a field divides Common Crawl's pages as counting them does",
  ["data/text/webtext_lang_1.parquet"],
  async () => {
    const { kept: all } = await filter("webtext_lang_1.parquet", [], { score: "e_lid_score" });
    const { kept, reports } = await filter("webtext_lang_1.parquet", [scoreFilter({ min: 0.99 })], {
      score: "e_lid_score",
    });
    const scores = all.map(({ score }) => score!).sort((a, b) => a - b);
    const below = scores.findIndex((score) => score >= 0.99);
    expect(droppedBy(reports[0])).toEqual({ "low-score": below });
    expect(kept).toHaveLength(100 - below);
    expect(below).toBeGreaterThan(0);
  },
);
