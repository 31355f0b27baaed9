// What each filter counts on real pages. Oracles: quality columns that other programs published with their documents (IBM's
// docq_*, RedPajama-V2's rps_*), and where there are none, the papers' rules written down here a second time, over strings
// and sets of characters, without the filters' regular expressions and numbered n-grams.
import { join } from "node:path";
import { expect } from "vitest";
import { readRows } from "../../../test/support/parquet-rows.ts";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { runPipeline, type Stage } from "../pipeline.ts";
import type { TextDocument } from "../records.ts";
import { expandSources, readTextDocuments } from "../sources.ts";
import {
  c4Filter,
  createFilters,
  gopherRepetition,
  linesFilter,
  maskFilter,
  scoreFilter,
  unicodeFilter,
} from "./index.ts";
import { countOf, lengthOf, meanLength, shareOf, wordsOf } from "./text-measures.ts";

const pages = [
  "c4_sample.jsonl.gz",
  "dolma_commoncrawl_2019-30.jsonl.gz",
  "dclm_quality_agreement.jsonl.gz",
  "dclm_quality_majority.jsonl.gz",
].map((name) => `data/text/${name}`);

let read: Promise<TextDocument[]> | undefined;
async function allPages(): Promise<TextDocument[]> {
  const documents: TextDocument[] = [];
  for await (const document of readTextDocuments(pages.map(sharedPath))) documents.push(document);
  return documents;
}

/** What a rule written here makes of a text: a reason to drop it, or what it leaves. */
type Rule = (text: string) => { drop: string } | { text: string };

/** Holds a filter's account and texts on all pages, or each so many'th, to those of the rule. */
async function compare(stage: Stage, rule: Rule, leastDropped: number, every = 1): Promise<Record<string, number>> {
  read ??= allPages();
  const documents = (await read).filter((_, i) => i % every === 0);
  async function* source() {
    for (const document of documents) yield { ...document };
  }
  const run = runPipeline(source(), [stage]);
  const kept: string[] = [];
  for await (const { text } of run.documents) kept.push(text);
  const [report] = run.report();
  const verdicts = documents.map(({ text }) => rule(text));
  const dropped: Record<string, number> = {};
  for (const verdict of verdicts) if ("drop" in verdict) dropped[verdict.drop] = (dropped[verdict.drop] ?? 0) + 1;
  expect(Object.fromEntries(Object.entries(report.dropped).map(([reason, { documents: n }]) => [reason, n]))).toEqual(
    dropped,
  );
  expect(kept).toEqual(verdicts.flatMap((verdict) => ("text" in verdict ? [verdict.text] : [])));
  const all = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  // 27 of the 2,477 are blank.
  const total = Math.ceil(2450 / every);
  expect(report).toMatchObject({ documentsIn: total, documentsOut: total - all });
  expect(all).toBeGreaterThanOrEqual(leastDropped);
  return report.counts;
}

const spaces = new Set(" \t\n\v\f\r\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff");
for (let code = 0x2000; code <= 0x200a; code++) spaces.add(String.fromCharCode(code));
/** Words, character by character. */
function split(text: string): string[] {
  const words: string[] = [];
  let word = "";
  for (const character of text)
    if (!spaces.has(character)) word += character;
    else if (word !== "") {
      words.push(word);
      word = "";
    }
  return word === "" ? words : [...words, word];
}
const points = (text: string) => Array.from(text).length;
function lines(text: string): string[] {
  const all = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").split("\n");
  return all.length > 1 && all.at(-1) === "" ? all.slice(0, -1) : all;
}

function again(items: string[]): { items: number; characters: number } {
  const first = new Map<string, number>();
  for (const [i, item] of items.entries()) if (!first.has(item)) first.set(item, i);
  const repeated = items.filter((item, i) => first.get(item)! < i);
  return { items: repeated.length, characters: repeated.reduce((sum, item) => sum + points(item), 0) };
}

/** Gopher's table A1, over strings. */
function repetitionByHand(text: string): { drop: string } | { text: string } {
  const paragraphs: string[][] = [[]];
  for (const line of text.trim().split("\n"))
    if (line.trim() === "" && paragraphs.at(-1)!.length > 0) paragraphs.push([]);
    else if (line.trim() !== "") paragraphs.at(-1)!.push(line);
  for (const [noun, items] of [
    ["line", lines(text).filter((line) => line.trim() !== "")],
    ["paragraph", paragraphs.map((some) => some.join("\n"))],
  ] as const) {
    const { items: count, characters } = again(items);
    if (count / items.length > 0.3) return { drop: `repeated-${noun}s` };
    const total = items.reduce((sum, item) => sum + points(item), 0);
    if (characters / Math.max(1, total) > 0.2) return { drop: `repeated-${noun}-characters` };
  }
  const words = split(text);
  const total = words.reduce((sum, word) => sum + points(word), 0);
  for (let n = 2; n <= 10; n++) {
    const places = new Map<string, number[]>();
    for (let i = 0; i + n <= words.length; i++) {
      const gram = words.slice(i, i + n).join(" ");
      const starts = places.get(gram);
      if (starts) starts.push(i);
      else places.set(gram, [i]);
    }
    if (n <= 4) {
      let [most, length] = [1, 0];
      for (const [gram, { length: count }] of places)
        if (count > most) [most, length] = [count, points(gram.replaceAll(" ", ""))];
      if (most > 1 && (most * length) / total > [0.2, 0.18, 0.16][n - 2]) return { drop: `top-${n}-gram` };
    } else {
      const covered = new Set<number>();
      for (const starts of places.values())
        if (starts.length > 1) for (const i of starts) for (let k = 0; k < n; k++) covered.add(i + k);
      const characters = [...covered].reduce((sum, i) => sum + points(words[i]), 0);
      if (characters / total > [0.15, 0.14, 0.13, 0.12, 0.11, 0.1][n - 5]) return { drop: `repeated-${n}-grams` };
    }
  }
  return { text };
}

testShared(
  "shared: what gopher-repetition drops of every sixth page is what the rules over strings drop",
  pages,
  async () => {
    await compare(gopherRepetition(), repetitionByHand, 20, 6);
  },
);

/** C4's rules, by looking at the ends of lines. */
function c4ByHand(counts: Record<string, number>): Rule {
  const count = (name: string) => {
    counts[`lines: ${name}`] = (counts[`lines: ${name}`] ?? 0) + 1;
  };
  const notices = ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];
  const uncited = (line: string): string => {
    let text = line.replaceAll("[edit]", "").replaceAll("[citation needed]", "");
    for (let at = text.indexOf("["); at >= 0; at = text.indexOf("[", at)) {
      let end = at + 1;
      while ("0123456789".includes(text[end] ?? "x")) end++;
      if (text[end] === "]") text = text.slice(0, at) + text.slice(end + 1);
      else at++;
    }
    return text;
  };
  const sentencesOf = (line: string): number => {
    let sentences = 0;
    for (const word of split(line)) {
      let core = word;
      while (core !== "" && "\"'”’)]".includes(core.at(-1)!)) core = core.slice(0, -1);
      if (core !== "" && ".!?".includes(core.at(-1)!)) sentences++;
    }
    return Math.max(1, sentences);
  };
  return (text) => {
    const kept: string[] = [];
    let sentences = 0;
    for (const raw of lines(text).map((line) => line.trim())) {
      if (raw === "") continue;
      const line = uncited(raw);
      const lower = line.toLowerCase();
      if (split(raw).some((word) => word.length > 1000)) count("long word");
      else if (!".?!\"'”’".includes(line.at(-1) ?? " ") || line.endsWith("...")) count("no terminal punctuation");
      else if (split(raw).length < 3) count("few words");
      else if (lower.split("lorem ipsum").length > 1) return { drop: "lorem-ipsum" };
      else if (lower.split("javascript").length > 1) count("javascript");
      else if (line.split("{").length > 1) return { drop: "curly-bracket" };
      else if (notices.some((notice) => lower.split(notice).length > 1)) count("policy notice");
      else {
        kept.push(line);
        sentences += sentencesOf(line);
      }
    }
    if (kept.length === 0) return { drop: "no-line-left" };
    return sentences < 5 ? { drop: "too-few-sentences" } : { text: kept.join("\n") };
  };
}

testShared("shared: c4 drops the pages, and leaves out the lines, that its rules by hand do", pages, async () => {
  const counts: Record<string, number> = {};
  expect(await compare(c4Filter(), c4ByHand(counts), 300)).toEqual(counts);
  expect(Object.keys(counts).length).toBeGreaterThanOrEqual(4);
});

testShared("shared: length drops by characters and words as counting them does", pages, async () => {
  const [stage] = await createFilters(
    [{ length: { minCharacters: 500, maxCharacters: 9000, maxWords: 1200 } }],
    "",
    ".",
  );
  const rule: Rule = (text) => {
    const [characters, words] = [points(text), split(text).length];
    if (characters < 500) return { drop: "too-short" };
    if (characters > 9000) return { drop: "too-long" };
    return words > 1200 ? { drop: "too-many-words" } : { text };
  };
  await compare(stage, rule, 300);
});

testShared("shared: unicode composes and cleans as going through the characters does", pages, async () => {
  let removed = 0;
  const unseen = (point: number) =>
    (point < 0x20 && point !== 9 && point !== 10) ||
    (point >= 0x7f && point < 0xa0) ||
    [0xad, 0x200b, 0x2060, 0xfeff].includes(point);
  const rule: Rule = (text) => {
    const broken = Array.from(text).filter((character) => character === "\ufffd").length;
    if (broken > text.length / 1000) return { drop: "wrong-encoding" };
    let clean = "";
    for (const character of text.replaceAll("\r\n", "\n")) {
      const point = character.codePointAt(0)!;
      if ([0x0d, 0x85, 0x2028, 0x2029].includes(point)) clean += "\n";
      else if (!unseen(point)) clean += character;
    }
    clean = clean.normalize();
    if (clean !== text) removed += Math.max(0, text.length - clean.length);
    return { text: clean };
  };
  const counts = await compare(unicodeFilter(), rule, 0);
  expect(counts["characters removed"]).toBe(removed);
  expect(removed).toBeGreaterThan(50);
});

testShared("shared: lines leaves out what lists of words, looked up whole, say", pages, async () => {
  const counts: Record<string, number> = {};
  const things = "like share comment retweet repost quote bookmark upvote downvote download view follower".split(" ");
  const counted = new Set([...things, ...things.map((thing) => `${thing}s`), "reply", "replies"]);
  const controls = new Set(
    (
      "share,tweet,pin it,print,reply,report,login,log in,signin,sign in,signup,sign up,subscribe,read more,items in cart," +
      "skip to content,skip to main content,back to top,previous,next,menu,search,home"
    ).split(","),
  );
  const inWord = (character: string) => "abcdefghijklmnopqrstuvwxyz0123456789_".includes(character.toLowerCase());
  const bare = (line: string): string => {
    let [from, to] = [0, line.length];
    while (from < to && !inWord(line[from])) from++;
    while (to > from && !inWord(line[to - 1])) to--;
    return line.slice(from, to).toLowerCase();
  };
  const isCounter = (core: string): boolean => {
    let at = 0;
    while ("0123456789.,".includes(core[at] ?? "x")) at++;
    if (at === 0) return false;
    let rest = core.slice(at).trimStart();
    if ((rest.startsWith("k") || rest.startsWith("m")) && !counted.has(rest)) rest = rest.slice(1).trimStart();
    return counted.has(rest);
  };
  const reasonFor = (line: string): string | null => {
    const core = bare(line);
    if (isCounter(core)) return "counter";
    if (controls.has(core)) return "control";
    return Array.from(line).some((character) => /\p{L}/u.test(character)) ? null : "no letter";
  };
  const rule: Rule = (text) => {
    const kept: string[] = [];
    let [words, removed] = [0, 0];
    for (const line of lines(text).map((one) => one.trimEnd())) {
      const count = split(line).length;
      words += count;
      const reason = count === 0 ? null : reasonFor(line);
      if (reason === null) kept.push(line);
      else {
        removed += count;
        counts[`lines: ${reason}`] = (counts[`lines: ${reason}`] ?? 0) + 1;
      }
    }
    const shown = kept.filter((line, i) => line !== "" || (i > 0 && kept[i - 1] !== ""));
    while (shown.at(-1) === "") shown.pop();
    while (shown[0] === "") shown.shift();
    if (shown.length === 0) return { drop: "no-line-left" };
    return removed > words / 20 ? { drop: "mostly-removed" } : { text: shown.join("\n") };
  };
  expect(await compare(linesFilter(), rule, 5)).toEqual(counts);
  expect(Object.keys(counts).sort()).toEqual(["lines: control", "lines: counter", "lines: no letter"]);
});

testShared("shared: mask finds the e-mail and IPv4 addresses that taking words apart finds", pages, async () => {
  read ??= allPages();
  const stage = maskFilter({ phone: false });
  const found = { emails: 0, "IP addresses": 0 };
  const expected = { emails: 0, "IP addresses": 0 };
  const letter = (character: string) => /\p{L}/u.test(character);
  const digit = (character: string) => /\p{N}/u.test(character);
  /** Characters around an @: a name, and at least two labels of which the last is letters. */
  const emailAt = (text: string, at: number): boolean => {
    let from = at;
    while (from > 0 && (letter(text[from - 1]) || digit(text[from - 1]) || "._%+-".includes(text[from - 1]))) from--;
    let to = at + 1;
    while (to < text.length && (letter(text[to]) || digit(text[to]) || ".-".includes(text[to]))) to++;
    const labels = text.slice(at + 1, to).split(".");
    for (let n = labels.length; n >= 2; n--) {
      const last = labels[n - 1];
      // After the name a dot or a dash may stand: the end of a sentence, a second word.
      const core = n === labels.length ? last.split("-")[0] : last;
      if (labels.slice(0, n - 1).every((label) => label !== "") && core.length >= 2 && Array.from(core).every(letter))
        return from < at;
    }
    return false;
  };
  for (const { text } of await read) {
    stage.judge!({ text } as TextDocument, {
      count(name, by = 1) {
        found[name as keyof typeof found] += by;
      },
    });
    for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) if (emailAt(text, at)) expected.emails++;
    let run = "";
    for (const character of `${text} `) {
      if ("0123456789.".includes(character)) {
        run += character;
        continue;
      }
      const parts = (run.endsWith(".") ? run.slice(0, -1) : run).split(".");
      const bytes = parts.every((part) => part !== "" && part.length <= 3 && Number(part) < 256);
      if (parts.length === 4 && bytes) expected["IP addresses"]++;
      run = "";
    }
  }
  expect(found).toEqual(expected);
  expect(found.emails).toBeGreaterThan(50);
});

testShared(
  "shared: words, braces, fillers and letters are those of the quality columns of 100 Common Crawl pages",
  ["data/text/commoncrawl_quality_100.parquet"],
  async () => {
    const rows = await readRows(sharedPath("data/text/commoncrawl_quality_100.parquet"));
    expect(rows).toHaveLength(100);
    for (const row of rows) {
      const text = row.contents as string;
      const words = wordsOf(text);
      const ours = {
        docq_total_words: words.length,
        docq_mean_word_len: meanLength(words),
        docq_curly_bracket_ratio: (countOf(text, "{") + countOf(text, "}")) / lengthOf(text),
        docq_lorem_ipsum_ratio: countOf(text.toLowerCase(), "lorem ipsum") / lengthOf(text),
        docq_alphabet_word_ratio: shareOf(words, (word) => /\p{L}/u.test(word)),
      };
      for (const [name, value] of Object.entries(ours)) expect(value, name).toBeCloseTo(Number(row[name]), 9);
    }
  },
);

testShared(
  "shared: score divides FineWeb-Edu's pages, made Parquet as the error for .csv says, as SQL over the table does",
  ["data/text/fineweb_llm_scored.csv"],
  async () => {
    const csv = sharedPath("data/text/fineweb_llm_scored.csv");
    const refusal = (() => {
      try {
        return expandSources([csv]).join();
      } catch (error) {
        return (error as Error).message;
      }
    })();
    const [sql] = /COPY .*$/.exec(refusal)!;
    const folder = temporaryFolder();
    const { DuckDBInstance } = await import("@duckdb/node-api");
    const instance = await DuckDBInstance.create(":memory:");
    const connection = await instance.connect();
    await connection.run(sql.replace(" TO '", ` TO '${folder}/`));
    const counted = await connection.runAndReadAll(
      `SELECT COUNT(*), COUNT(*) FILTER (score < 3), SUM(LENGTH(text)) FROM read_csv('${csv}')`,
    );
    const [[rows, low, characters]] = counted.getRows().map((row) => row.map(Number));
    connection.closeSync();
    instance.closeSync();
    const documents = readTextDocuments(join(folder, "fineweb_llm_scored.parquet"), { fields: { score: "score" } });
    let [read, length, kept] = [0, 0, 0];
    async function* source() {
      for await (const document of documents) {
        read++;
        length += lengthOf(document.text);
        yield document;
      }
    }
    const run = runPipeline(source(), [scoreFilter()]);
    for await (const { score } of run.documents) if (score! >= 3) kept++;
    expect([read, length]).toEqual([rows, characters]);
    expect([kept, run.report()[0].dropped["low-score"].documents]).toEqual([rows - low, low]);
    expect(low).toBeGreaterThan(5);
  },
);
