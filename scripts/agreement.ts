/**
 * Writes the table of greedy tokens in docs/formats.md from bench/results/agreement.json: no number there is typed in. `npm run
 * docs:results`; a test compares the page with what this makes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { AgreementResult } from "../bench/agreement.ts";

const root = resolve(import.meta.dirname, "..");

const begin = "<!-- made by npm run docs:results from bench/results/agreement.json -->";
const end = "<!-- end of agreement -->";

export interface AgreementResults {
  models: AgreementResult[];
}

const counted = (n: number) => n.toLocaleString("en-US");

function agreementTable({ models }: AgreementResults): string {
  const names = [...new Set(models.flatMap(({ exact }) => exact.map(({ name }) => name)))];
  const cell = (found: { same: number; of: number } | undefined) =>
    found ? `${counted(found.same)} of ${counted(found.of)}` : "";
  const lines = [
    ["greedy tokens as the packed engine writes them", ...models.map(({ model }) => `\`${model}\``)],
    ["---", ...models.map(() => "---:")],
    ...names.map((name) => [name, ...models.map(({ exact }) => cell(exact.find((shape) => shape.name === name)))]),
    ...models[0].rounded.map(({ name }) => [
      `rounded: ${name}`,
      ...models.map(({ rounded }) => cell(rounded.find((shape) => shape.name === name))),
    ]),
  ];
  const told = models.map(({ model, width, hiddenWidth, prompts, rounded, isa, machine, commit, date }) => {
    const parts = rounded.map(
      ({ name, sameTexts, largestGap }) =>
        `${sameTexts} of ${prompts} texts to the end, and where one parts training's two logits at most ${largestGap.toFixed(4)} apart (${name})`,
    );
    return `\`${model}\`, ${width} and ${hiddenWidth} wide: ${parts.join("; ")}. ${machine.cpu}, ${isa}, commit ${commit}, ${date.slice(0, 10)}.`;
  });
  return `${lines.map((line) => `| ${line.join(" | ")} |`).join("\n")}\n\n${told.join("\n\n")}`;
}

/** The page with the table of these results in its place. */
export function withAgreement(page: string, results: AgreementResults): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/formats.md has no place for the table: ${begin} ... ${end}`);
  return `${page.slice(0, from + begin.length)}\n\n${agreementTable(results)}\n\n${page.slice(to)}`;
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
  const path = resolve(root, "docs/formats.md");
  const results = JSON.parse(readFileSync(resolve(root, "bench/results/agreement.json"), "utf8")) as AgreementResults;
  writeFileSync(path, withAgreement(readFileSync(path, "utf8"), results));
  console.log("written: docs/formats.md");
}
