/**
 * The records as files: one for each backend and instruction set in records/, and one of exports, which are the same
 * everywhere. Read by replay.test.ts, written by record.ts.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Curve, ReplaySet, Text } from "./cases.ts";

export interface SetRecord {
  threads: number;
  /** By case; null: the set refuses the case's precision. */
  curves: Record<string, Curve | null>;
  texts: Record<string, Text>;
}

/** SHA-256 by export and file. */
export type ExportRecord = Record<string, string>;

const folder = join(import.meta.dirname, "records");
const pathOf = (name: string) => join(folder, `${name}.json`);

function read<T>(name: string): T {
  const path = pathOf(name);
  if (!existsSync(path))
    throw new Error(
      `test/replay/records/${name}.json is missing: check out a commit whose numbers are trusted, run \`npm run replay:record -- ${name}\` on this machine, and commit the file`,
    );
  return JSON.parse(readFileSync(path, "utf8"));
}

export const readSet = ({ name }: Pick<ReplaySet, "name">): SetRecord => read(name);
export const readExports = (): ExportRecord => read("exports");

export function writeRecord(name: string, record: SetRecord | ExportRecord): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(pathOf(name), `${JSON.stringify(record, null, 1)}\n`);
  return pathOf(name);
}
