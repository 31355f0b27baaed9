/**
 * The reading half of a preparation: a file's documents in blocks, each through the filters, with an account of what they
 * left out. A block is a fixed stretch of its file, and what becomes of it depends on nothing else; so one that is finished
 * is passed over when the work is taken up again, without being filtered or encoded a second time.
 */
import { gzip } from "../platform/compress.ts";
import { joinPath, writeAtomically } from "../platform/files.ts";
import type { BlockFilter } from "./filter-chunks.ts";
import { documentLine } from "./filter-documents.ts";
import type { Stage, StageReport } from "./pipeline.ts";
import type { InputFile } from "./prepare-inputs.ts";
import type { PrepareWork } from "./prepare-work.ts";
import { createSourceReport, type SourceReport, type TextDocument } from "./records.ts";
import { readSourceFile } from "./sources.ts";
import { nextTurn } from "../platform/turn.ts";

/** UTF-16 units of text in a block (some seconds of work, 64 MiB in memory at most), and documents. */
export const blockCharacters = 2 ** 25;
const blockDocuments = 2 ** 17;
/** Documents between two looks at the signal. */
const documentsAtOnce = 1024;

const five = (n: number): string => String(n).padStart(5, "0");
export const blockName = (file: number, block: number): string => `f${five(file)}-b${five(block)}`;

/** What a block came to: its marker. */
export interface BlockAccount {
  /** Documents that the filters saw, and UTF-16 units of their text. */
  read: number;
  characters: number;
  /** What they left, and UTF-8 bytes of it. */
  kept: number;
  textBytes: number;
  /** Documents of which the filters left nothing but white space, and which are not kept either. */
  emptied: number;
  stages: StageReport[];
}

/** What reading a file came to, of bad records and the like: its marker. */
export interface FileAccount {
  blocks: number;
  source: SourceReport;
  /** Stages that its documents went through before they were a file's. */
  stages?: StageReport[];
}

export interface Block extends BlockAccount {
  number: number;
  documents: TextDocument[];
}

export interface ReadOptions {
  stages: readonly Stage[];
  filter: BlockFilter;
  /** What is left of the input's limit. */
  limit: { documents: number; textBytes: number };
  blockCharacters: number;
  /** The account of a block that is finished. */
  finished(block: number): BlockAccount | null;
  onRead(bytes: number): void;
  signal?: AbortSignal;
}

/**
 * The blocks of a file that are not finished, in order; returns what reading came to.
 *
 * @throws as readSourceFile; the signal's reason
 */
export async function* readBlocks(file: InputFile, options: ReadOptions): AsyncGenerator<Block, FileAccount> {
  const { stages, filter, limit, finished, signal } = options;
  const source = createSourceReport();
  const left = { ...limit };
  let number = 0;
  let [read, characters] = [0, 0];
  const take = async (documents: TextDocument[]): Promise<Block | null> => {
    const before = finished(number);
    const block = before ? null : { number, ...(await filter.run(documents, stages, left.textBytes)) };
    const account = before ?? block!;
    number++;
    left.textBytes -= account.textBytes;
    read += account.read;
    characters += account.characters;
    return block;
  };
  let documents: TextDocument[] = [];
  let size = 0;
  let seen = 0;
  if (left.documents > 0 && left.textBytes > 0)
    for await (const document of file.documents(source, options.onRead)) {
      documents.push(document);
      size += document.text.length;
      if (++seen % documentsAtOnce === 0) {
        await nextTurn();
        signal?.throwIfAborted();
      }
      const last = seen >= left.documents;
      if (last || size >= options.blockCharacters || documents.length >= blockDocuments) {
        const block = await take(documents);
        documents = [];
        size = 0;
        if (block) yield block;
        if (last || left.textBytes <= 0) break;
      }
    }
  if (documents.length > 0) {
    const block = await take(documents);
    if (block) yield block;
  }
  if (file.stages) return { blocks: number, source, stages: file.stages() };
  // Counted by the filters: with a limit the reader may have read ahead of them.
  return { blocks: number, source: { ...source, documents: read, characters } };
}

const textPath = (work: PrepareWork, file: number, block: number) =>
  joinPath(work.folder("text"), `${blockName(file, block)}.jsonl.gz`);

/** Characters compressed at once, each a member of the gzip file. */
const memberCharacters = 2 ** 20;

const utf8 = new TextEncoder();

/** Keeps a block's documents as text, for stages that look at all of them. Level 1: it is read again soon. */
export function writeTextBlock(work: PrepareWork, file: number, { number, documents }: Block): void {
  writeAtomically(textPath(work, file, number), (output) => {
    let lines = "";
    const flush = () => {
      if (lines !== "") output.append(gzip(utf8.encode(lines), 1));
      lines = "";
    };
    for (const document of documents) {
      lines += documentLine(document);
      if (lines.length >= memberCharacters) flush();
    }
    flush();
  });
}

/** The documents of a block that writeTextBlock kept. */
export async function* readTextBlock(
  work: PrepareWork,
  file: number,
  block: number,
  account: Pick<BlockAccount, "kept">,
): AsyncGenerator<TextDocument> {
  if (account.kept === 0) return;
  const path = textPath(work, file, block);
  const open = async () => path;
  const fields = { id: "id", language: "language", score: "score", source: "source" };
  yield* readSourceFile({ name: path, format: "jsonl", sizeBytes: null, identity: null, open }, { fields });
}
