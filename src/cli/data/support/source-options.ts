/** Options of commands that read documents: how files are taken apart, which fields mean what, where copies lie. */
import { type Command, Option } from "commander";
import type { SourceFormat, SourceOptions } from "../../../corpus/index.ts";
import { formatBytes } from "../../support/format.ts";
import { wholeNumber } from "../../support/options.ts";
import type { ProgressLine } from "../../support/progress.ts";

export interface SourceCommandOptions {
  separator?: string;
  field?: string[];
  fieldJoin?: string;
  idField?: string;
  languageField?: string;
  scoreField?: string;
  sourceField?: string;
  format?: SourceFormat;
  maxDocument?: number;
  onBadRecord?: "fail" | "skip";
  localCopy?: string;
}

export const sourcesHelp =
  "text: .txt, .jsonl, WikiText (.raw, .tokens), also .gz and .zst; .parquet; .arrow; folders, globs, addresses, hf://datasets/org/name";

const collect = (word: string, before: string[] | undefined) => [...(before ?? []), word];

export function addSourceOptions(command: Command): Command {
  return command
    .option(
      "--separator <text>",
      'between documents of .txt files; or "blank-line", "line", "none" (default: "<|endoftext|>")',
    )
    .option("--field <name>", 'with the text, in rows (default: "text"); again for several, joined', collect)
    .option("--field-join <text>", "between several text fields (default: a blank line)")
    .option("--id-field <name>", "with a document's name")
    .option("--language-field <name>", "with its language")
    .option("--score-field <name>", "with its quality score")
    .option("--source-field <name>", "with its origin")
    .addOption(
      new Option("--format <name>", "what the files are, whatever their names").choices([
        "text",
        "jsonl",
        "wikitext",
        "parquet",
        "arrow",
      ]),
    )
    .option("--max-document <bytes>", "longest document that is taken (default: 67108864)", wholeNumber(1, 2 ** 28))
    .addOption(
      new Option(
        "--on-bad-record <what>",
        "a record that cannot be read: end, or count it and go on (default: fail)",
      ).choices(["fail", "skip"]),
    )
    .option("--local-copy <folder>", "take files that are far away from here: a clone of the data set, say");
}

/** What data/ takes, of a command's options. */
export function readSourceOptions(
  options: SourceCommandOptions,
  { signal, line }: { signal?: AbortSignal; line?: ProgressLine } = {},
): Omit<SourceOptions, "onRead" | "report"> {
  const { field, fieldJoin, idField, languageField, scoreField, sourceField } = options;
  const fields = {
    ...(field && field.length > 1 ? { text: field } : {}),
    ...(fieldJoin === undefined ? {} : { join: fieldJoin }),
    ...(idField === undefined ? {} : { id: idField }),
    ...(languageField === undefined ? {} : { language: languageField }),
    ...(scoreField === undefined ? {} : { score: scoreField }),
    ...(sourceField === undefined ? {} : { source: sourceField }),
  };
  const onProgress = ({ file, doneBytes, totalBytes }: { file: string; doneBytes: number; totalBytes: number }) =>
    line?.update(doneBytes, totalBytes, `${formatBytes(doneBytes)} of ${file}`);
  const onNote = (text: string) => process.stderr.write(`bitnet: ${text}\n`);
  return {
    separator: options.separator,
    field: field?.length === 1 ? field[0] : undefined,
    ...(Object.keys(fields).length > 0 ? { fields } : {}),
    format: options.format,
    maxDocumentBytes: options.maxDocument,
    onBadRecord: options.onBadRecord,
    remote: { localCopy: options.localCopy, onProgress, signal, hub: { onProgress, onNote, signal } },
  };
}
