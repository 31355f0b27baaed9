/**
 * What a preparation reads: inputs (named sources with files, fields and filters of their own) as a list of files in one
 * fixed order, so that the order in which they are given, and the machine, change nothing.
 */
import { FileError, UsageError } from "../platform/errors.ts";
import { describePath, exists } from "../platform/files.ts";
import type { Stage, StageReport } from "./pipeline.ts";
import type { SourceReport, TextDocument } from "./records.ts";
import { isAddress } from "../data/source-names.ts";
import { identityOf, locateSources, type SourceFile } from "./source-files.ts";
import { readSourceFile, type SourceOptions } from "./sources.ts";

/** A source with all that reading it takes. */
export interface PrepareInput {
  /** For people, the manifest, and the order of sources. */
  name: string;
  /** Files, folders, globs, addresses, data sets of the hub. */
  paths: readonly string[];
  /** Where its documents go: by the validation fraction (default), or all to one side. */
  split?: "both" | "train" | "valid";
  /** As its publisher says it. */
  licence?: string | null;
  /** How its files are read. */
  read?: Omit<SourceOptions, "onRead" | "report">;
  /** What its documents go through before the stages of all. Each judges a document by itself. */
  stages?: readonly Stage[];
  /** Said behind an error of files that are not there or cannot be reached: what to do. */
  hint?: string;
  /**
   * Files behind addresses are named by their address and not fetched to be hashed before they are read: for addresses
   * that have a version in them.
   */
  addressesAreVersions?: boolean;
  /** Read no more than this of it. */
  limit?: {
    documents?: number;
    /** UTF-8 bytes of text that is left after the filters: the first document that reaches it is the last. */
    textBytes?: number;
  };
}

/** One file of an input. */
export interface InputFile {
  input: PrepareInput;
  /** Place in the fixed order. */
  number: number;
  name: string;
  split: "both" | "train" | "valid";
  /** Changes whenever its content does. */
  identity: string;
  sizeBytes: number | null;
  documents(report: SourceReport, onRead: (bytes: number) => void): AsyncIterable<TextDocument>;
  /** Of several files that went through stages together, as one: the account of those stages, once it is read. */
  stages?(): StageReport[];
}

/** What a file was when it was hashed: its name, then size and time. */
export type KnownFiles = Record<string, { sizeBytes: number; modifiedMs: number; identity: string }>;

/**
 * The files of all inputs: those for training first, by input and by name, then those for validation.
 *
 * @param known  identities from before, taken where size and time of a file on this disk are the same; new ones are added
 * @throws as locateSources; UsageError for two inputs of one name, or stages that need to see several documents
 */
export async function resolveInputs(
  inputs: readonly PrepareInput[],
  known: KnownFiles,
  onFile: (name: string) => void,
): Promise<InputFile[]> {
  const names = inputs.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`the source "${twice}" is named twice; give each a name of its own`);
  const files: InputFile[] = [];
  for (const input of inputs) {
    const { read = {}, split = "both" } = input;
    for (const file of await locateInput(input)) {
      const byAddress = input.addressesAreVersions && isAddress(file.name);
      const content = byAddress ? file.name : await hinted(input, () => identify(file, known));
      files.push({
        input,
        number: 0,
        name: file.name,
        split,
        identity: `${file.format}:${content}`,
        sizeBytes: file.sizeBytes,
        documents: (report, onRead) => readSourceFile(file, { ...read, report, onRead }),
      });
      onFile(file.name);
    }
  }
  const last = (file: InputFile) => (file.split === "valid" ? 1 : 0);
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  files.sort((a, b) => last(a) - last(b) || compare(a.input.name, b.input.name) || compare(a.name, b.name));
  for (const [number, file] of files.entries()) file.number = number;
  return files;
}

/** The files of one input. @throws as locateSources, with the input's hint */
export const locateInput = (input: PrepareInput): Promise<SourceFile[]> =>
  hinted(input, () => locateSources(input.paths, { ...input.read?.remote, format: input.read?.format }));

async function hinted<T>({ hint }: PrepareInput, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (hint === undefined || !(error instanceof FileError)) throw error;
    throw new FileError(`${error.message}; or ${hint}`, { cause: error });
  }
}

async function identify(file: SourceFile, known: KnownFiles): Promise<string> {
  if (file.identity !== null || !exists(file.name)) return identityOf(file);
  const { sizeBytes, modifiedMs } = describePath(file.name);
  const before = known[file.name];
  if (before?.sizeBytes === sizeBytes && before.modifiedMs === modifiedMs) return before.identity;
  const identity = await identityOf(file);
  known[file.name] = { sizeBytes, modifiedMs, identity };
  return identity;
}

/** @throws UsageError for a stage that is no filter: what it does to a document would depend on where the work was ended */
export function checkStages(stages: readonly Stage[]): void {
  for (const { name, judge } of stages)
    if (!judge)
      throw new UsageError(
        `the stage "${name}" looks at several documents at once; a preparation that can be ended and taken up again has filters alone (defineFilter)`,
      );
}
