/**
 * Writes the tables of docs/quantization-aware-training.md from bench/results/qat-*.json, which `bitnet study report --json` made:
 * no number there is typed in. `npm run docs:results`; a test compares the page with what this makes.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { markdownTable, studyHead, studyNotes, studyRows } from "../src/report/study-table.ts";
import { parseStudyResults, type StudyResults } from "../src/study/results.ts";
import { summarizeStudy } from "../src/study/summary.ts";

const root = resolve(import.meta.dirname, "..");
const begin = "<!-- results: made by npm run docs:results -->";
const end = "<!-- end of results -->";

/** The results of all studies of the page, by their files' names. @throws FormatError for a file that is none */
export function readQatResults(folder = join(root, "bench/results")): StudyResults[] {
  return readdirSync(folder)
    .filter((name) => /^qat-.*\.json$/.test(name))
    .sort()
    .map((name) => parseStudyResults(readFileSync(join(folder, name), "utf8"), name));
}

const plain = (text: string) => text.replace(/\s+/g, " ").trim();

/** A study's part of the page. Its numbers are computed from the trials again, whatever the file's summary says. */
export function studyPart(results: StudyResults): string {
  const { name, file, machine, software, commands, endedMs, data } = results;
  const arms = results.arms.map((arm) => ({ ...arm, config: {} }));
  const summary = summarizeStudy({ ...results, arms });
  const lines = [
    `### ${name}`,
    ...(file.about ? [plain(file.about)] : []),
    markdownTable(studyHead(summary), studyRows(summary)),
    studyNotes(summary)
      .map((note) => `- ${note}`)
      .join("\n"),
  ];
  if (summary.failures.length > 0)
    lines.push(
      `Failures: ${summary.failures.map(({ arm, seed, steps, reason }) => `${arm}, seed ${seed}, after ${steps} steps (${plain(reason)})`).join("; ")}.`,
    );
  const text = data.map(
    ({ tokens, validationTokens }) =>
      `${tokens.toLocaleString("en-US")} tokens of text, ${validationTokens.toLocaleString("en-US")} to validate on`,
  );
  const made = [
    ...commands.map((command) => `\`${command}\``),
    ...(software ? [`version ${software.version}, commit ${software.commit?.slice(0, 7) ?? "unknown"}`] : []),
    ...(endedMs === null ? [] : [new Date(endedMs).toISOString().slice(0, 10)]),
    ...(machine
      ? [
          `${machine.processor}, ${machine.processors} processors, ${Math.round(machine.memoryBytes / 2 ** 30)} GiB, Node ${machine.node}`,
        ]
      : []),
    ...text,
  ];
  lines.push(`${made.join("; ")}.`);
  return lines.join("\n\n");
}

/** The page with its results in place. @throws Error where the markers are gone */
export function withQatResults(page: string, results: readonly StudyResults[]): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error(`docs/quantization-aware-training.md: expected the lines "${begin}" and "${end}"`);
  const text =
    results.length === 0
      ? "No study has been run yet: there is no `bench/results/qat-*.json`."
      : results.map(studyPart).join("\n\n");
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
  const path = resolve(root, "docs/quantization-aware-training.md");
  writeFileSync(path, withQatResults(readFileSync(path, "utf8"), readQatResults()));
  console.log("written: docs/quantization-aware-training.md");
}
