// The core stays domain-agnostic (docs/repo-alignment-guidelines.md). Oracle: a list of words that belong to fields of
// business, written down here; a source that names one is told to move it out, or to say it otherwise.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** By field. Whole words, whatever their case; words that programs use in another sense (contract, record, diagnosis) are left out. */
const fields = {
  medicine:
    "medical|medicine|clinical|clinician|patients|hospitals?|physicians?|pharma\\w*|oncolog\\w*|radiolog\\w*|surgery",
  law: "lawyers?|attorneys?|litigation|plaintiffs?|defendants?|paralegal|jurisdictions?",
  finance:
    "finance|financial|banking|stock market|portfolios?|hedge funds?|mortgages?|cryptocurrenc\\w*|bitcoin|blockchain|payroll",
  insurance: "insurance|insurers?|underwriting",
  trade: "e-?commerce|retail|shopping carts?|real[- ]estate|merchandis\\w*",
  people: "recruit\\w*|job applicants?|horoscopes?|dating",
  force: "military|weapons?|policing|surveillance",
  industry: "agricultur\\w*|livestock|automotive|aerospace|logistics",
} as const;

const pattern = new RegExp(`\\b(?:${Object.values(fields).join("|")})\\b`, "i");

/** What the package is made of; texts of tests and data are not. */
const rooms = ["src", "native", "scripts", "bench", "examples"];

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.(ts|js|cc|h|py)$/.test(entry.name) && !/\.test\.ts$/.test(entry.name)) yield path;
  }
}

test("the sources name no vertical domain", () => {
  const files = rooms.flatMap((room) => [...sources(room)]);
  expect(files.length).toBeGreaterThan(200);
  const guilty = files.flatMap((path) =>
    readFileSync(join(root, path), "utf8")
      .split("\n")
      .flatMap((line, i) => {
        const word = pattern.exec(line)?.[0];
        return word ? [`${path}:${i + 1} names "${word}"`] : [];
      }),
  );
  expect(guilty).toEqual([]);
});

test("a source that names a domain would be found, and words of programs are not mistaken for one", () => {
  for (const line of ["// scores patients of a hospital", 'task: "real-estate"', "e-commerce", "Financial news"])
    expect(pattern.test(line), line).toBe(true);
  for (const line of [
    "early stopping with patience",
    "updating the contract",
    "a trailing record",
    "diagnostic push",
    "the diagnosis of a run",
  ])
    expect(pattern.test(line), line).toBe(false);
});

test("the guidelines and the pull-request template are there, and the template asks what the guidelines ask", () => {
  const guidelines = readFileSync(join(root, "docs/repo-alignment-guidelines.md"), "utf8");
  const template = readFileSync(join(root, ".github/pull_request_template.md"), "utf8");
  const questions = [...guidelines.matchAll(/^\d+\. \*\*(.+?)\*\*/gm)].map(([, question]) => question);
  expect(questions.length).toBeGreaterThan(3);
  for (const question of questions) expect(template).toContain(question);
});

test("the README says that the project is domain-agnostic, and points to the guidelines", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  expect(readme).toContain("docs/repo-alignment-guidelines.md");
  expect(readme).toContain("domain-agnostic");
});
