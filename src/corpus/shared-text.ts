/**
 * Text files that several steps want: is there enough to hold some out, the name of the content, a tokenizer, tokens. They
 * are read as few times as can be. Each file's bytes are hashed in the read that gives its documents, and the documents are
 * kept while they are few, so that text of up to `keptCharacters` is read once, and longer text twice: its name must be known
 * before it is encoded. (Three times where the documents that are counted do not fit, and a tokenizer is trained.)
 *
 * One step asks at a time. Called by train/; prepareTokens takes the files as sources. Knows nothing of tokens.
 */
import { createHasher, describePath, type Hasher } from "../platform/files.ts";
import { addSourceReport, createSourceReport, type SourceReport, type TextDocument } from "./records.ts";
import { identityOf, locateSources, type SourceFile } from "./source-files.ts";
import { isReadInOrder, readSourceFile, type SourceOptions } from "./sources.ts";

/** UTF-16 units of text that are kept in memory: at most 64 MiB, of all texts of a memory together. */
export const keptCharacters = 2 ** 25;
/** What a document takes besides its text. */
const documentOverhead = 128;

/** How much may still be kept. Several texts may share one. */
export interface TextMemory {
  left: number;
}

export const createTextMemory = (characters = keptCharacters): TextMemory => ({ left: characters });

export type SharedTextOptions = Omit<SourceOptions, "report" | "onRead" | "tap"> & {
  memory?: TextMemory;
  signal?: AbortSignal;
};

export interface SharedText {
  /** As they were named, for people. */
  readonly paths: readonly string[];
  readonly files: readonly SharedFile[];
  /** Whether there are so many documents. Reads no further than that. */
  hasDocuments(count: number): Promise<boolean>;
  /** All documents, in the order of the files. */
  documents(): AsyncGenerator<string>;
  /** Ends a read that is under way, and forgets what was kept. */
  close(): Promise<void>;
}

/** @throws as locateSources; the rest when documents are asked for, as readDocuments */
export async function openSharedText(paths: readonly string[], options: SharedTextOptions = {}): Promise<SharedText> {
  const { memory = createTextMemory() } = options;
  const located = await locateSources(paths, { ...options.remote, format: options.format });
  const files = located.map((file) => new SharedFile(file, options, memory));
  return {
    paths,
    files,
    async hasDocuments(count) {
      let found = 0;
      for (const file of files) {
        found += await file.countTo(count - found);
        if (found >= count) return true;
      }
      return false;
    },
    async *documents() {
      for (const file of files) for await (const { text } of file.documents()) yield text;
    },
    async close() {
      for (const file of files) await file.close();
    },
  };
}

/** A read under way. */
interface Pass {
  documents: AsyncGenerator<TextDocument>;
  report: SourceReport;
  /** Null where the hash is known, or the format is not read in order. */
  hasher: Hasher | null;
  bytes: number;
  /** Only the hash of what is left is wanted. */
  passOver: boolean;
}

export class SharedFile {
  readonly name: string;
  readonly sizeBytes: number | null;
  private readonly file: SourceFile;
  private readonly options: SharedTextOptions;
  private readonly memory: TextMemory;
  /** The documents up to where the pass under way is, or all; null: too many to keep. */
  private kept: TextDocument[] | null = [];
  private keptSize = 0;
  private pass: Pass | null = null;
  /** The report of a whole pass. */
  private whole: SourceReport | null = null;
  private hash: string | null;
  private onRead: (bytes: number) => void = () => {};

  constructor(file: SourceFile, options: SharedTextOptions, memory: TextMemory) {
    this.name = file.name;
    this.sizeBytes = file.sizeBytes;
    this.file = file;
    this.options = options;
    this.memory = memory;
    this.hash = file.identity;
  }

  /** Names format and content: the hub's checksum, or SHA-256. */
  async identity(): Promise<string> {
    const { format } = this.file;
    if (this.hash === null && isReadInOrder(format)) {
      if (!this.pass) this.begin();
      // Kept, as far as they are few: they will be wanted.
      while (this.kept && (await this.next())) {}
      // A reader that has seen no document yet would say that there is none.
      if (this.pass?.report.documents === 0) await this.next();
      if (this.pass) {
        this.pass.passOver = true;
        while (await this.next()) {}
      }
    }
    this.hash ??= await identityOf(this.file);
    return `${format}:${this.hash}`;
  }

  /** How many documents there are, counted no further than `most`. */
  async countTo(most: number): Promise<number> {
    if (this.whole) return Math.min(most, this.whole.documents);
    if (!this.pass) this.begin();
    let count = this.pass!.report.documents;
    while (count < most && (await this.next())) count++;
    return count;
  }

  /**
   * The documents, from memory where they are kept.
   *
   * @param report  gets what reading all of the file came to, at its end
   */
  async *documents(report?: SourceReport, onRead: (bytes: number) => void = () => {}): AsyncGenerator<TextDocument> {
    if (this.kept === null || !(this.pass || this.whole)) {
      await this.end();
      this.begin();
    }
    this.onRead = onRead;
    try {
      if (!this.pass) onRead(this.sizeBytes ?? 0);
      else onRead(this.pass.bytes);
      const { kept } = this;
      for (let i = 0, known = kept?.length ?? 0; i < known; i++) yield kept![i];
      for (let document = await this.next(); document; document = await this.next()) yield document;
    } finally {
      this.onRead = () => {};
    }
    if (report && this.whole) addSourceReport(report, this.whole);
  }

  async close(): Promise<void> {
    await this.end();
    this.forget();
  }

  private begin(): void {
    const report = createSourceReport();
    const { signal } = this.options;
    const pass: Pass = {
      documents: readSourceFile(this.file, {
        ...this.options,
        report,
        onRead: (bytes) => this.onRead(bytes),
        tap: {
          onBytes(bytes) {
            pass.bytes += bytes.length;
            pass.hasher?.update(bytes);
          },
          passOver() {
            signal?.throwIfAborted();
            return pass.passOver;
          },
        },
      }),
      report,
      hasher: this.hash === null && isReadInOrder(this.file.format) ? createHasher() : null,
      bytes: 0,
      passOver: false,
    };
    this.pass = pass;
  }

  /** The next document of the pass under way; null at its end. */
  private async next(): Promise<TextDocument | null> {
    const { pass } = this;
    if (!pass) return null;
    this.options.signal?.throwIfAborted();
    const { value, done } = await pass.documents.next();
    if (!done) {
      this.keep(value);
      return value;
    }
    this.pass = null;
    if (!pass.passOver) this.whole = pass.report;
    // Behind the end of an archive there may be bytes that the reader left.
    if (pass.hasher && pass.bytes === describePath(await this.file.open()).sizeBytes) this.hash = pass.hasher.hex();
    return null;
  }

  private keep(document: TextDocument): void {
    if (!this.kept) return;
    const size = document.text.length + documentOverhead;
    // One document is in memory whatever its length (maxDocumentBytes is its limit).
    if (size > this.memory.left && this.kept.length > 0) {
      this.forget();
      return;
    }
    this.memory.left -= size;
    this.keptSize += size;
    this.kept.push(document);
  }

  private forget(): void {
    this.memory.left += this.keptSize;
    this.keptSize = 0;
    this.kept = null;
  }

  private async end(): Promise<void> {
    const { pass } = this;
    this.pass = null;
    await pass?.documents.return(undefined);
  }
}
