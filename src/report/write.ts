/** A report's three files: <name>.html, .json and .md, each whole or not at all. */
import { joinPath, makeFolder, writeAtomically } from "../platform/files.ts";
import { toHtml } from "./html.ts";
import { toMarkdown } from "./markdown.ts";
import type { Report } from "./report.ts";

/** @returns the paths written @throws FileError where the disk refuses */
export function writeReport(folder: string, name: string, report: Report): string[] {
  makeFolder(folder);
  const files: [string, string][] = [
    [`${name}.html`, toHtml(report)],
    [`${name}.json`, `${JSON.stringify(report, null, 2)}\n`],
    [`${name}.md`, toMarkdown(report)],
  ];
  return files.map(([file, content]) => {
    const path = joinPath(folder, file);
    writeAtomically(path, content);
    return path;
  });
}
