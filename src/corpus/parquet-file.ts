/**
 * A Parquet file, read by a library on a thread that can be ended (parquet-thread.ts): each answer has a time limit by the
 * file's size, and a limit of memory. Called by parquet.ts and eval/task-rows.ts.
 */
import { DataError, FileError } from "../platform/errors.ts";
import { describePath } from "../platform/files.ts";
import { type ServiceWorker, startService } from "../platform/service-worker.ts";
import { residentBytes } from "../platform/system.ts";
import {
  createService,
  type DocumentFields,
  type DocumentOrReason,
  type FromParquet,
  type ParquetFacts,
  threadUrl,
  type ToParquet,
} from "./parquet-thread.ts";

/** Of one answer: so many seconds, and one more for each 256 KiB of the file (the slowest known takes a tenth of it). */
const baseMs = 5000;
const bytesPerMs = 256;
/** The thread's own heap; and what the process may grow by, beside 16 times the file. */
const heapMb = 4096;
const freeBytes = 2 ** 30;
/** How often is looked. A thread of ours that is held up elsewhere does not count against the library. */
const lookMs = 50;

type Ask = ToParquet extends infer M ? (M extends { id: number } ? Omit<M, "id"> : never) : never;

export class ParquetFile {
  facts!: ParquetFacts;
  private worker: ServiceWorker<ToParquet> | null = null;
  private waiting: { id: number; resolve(value: unknown): void; reject(error: Error): void } | null = null;
  private lastId = 0;
  private readonly sizeBytes: number;
  private firstRows: number[] = [];

  private constructor(readonly path: string) {
    this.sizeBytes = describePath(path).sizeBytes;
  }

  /** The caller closes it. @throws FileError; DataError for a file that is no Parquet, or whose reading must be ended */
  static async open(path: string): Promise<ParquetFile> {
    const file = new ParquetFile(path);
    try {
      file.facts = (await file.ask({ type: "open" }, "")) as ParquetFacts;
      let first = 1;
      for (const { rows } of file.facts.groups) {
        file.firstRows.push(first);
        first += rows;
      }
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The rows of a group as documents, or why one is none. @throws as open */
  async documents(group: number, columns: string[], as: DocumentFields): Promise<DocumentOrReason[]> {
    return (await this.ask({ type: "documents", group, columns, as }, this.rowsOf(group))) as DocumentOrReason[];
  }

  /** The rows of a group as plain values, all columns. @throws as open */
  async rows(group: number): Promise<Record<string, unknown>[]> {
    return (await this.ask({ type: "rows", group }, this.rowsOf(group))) as Record<string, unknown>[];
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
    this.worker = null;
  }

  /** Row of the group's first, from 1. */
  firstRow(group: number): number {
    return this.firstRows[group];
  }

  private rowsOf(group: number): string {
    const first = this.firstRow(group);
    return `rows ${first} to ${first + this.facts.groups[group].rows - 1}: `;
  }

  private damaged(where: string, why: string): DataError {
    return new DataError(`${this.path}: ${where}cannot be read as Parquet (${why}); is it whole? Fetch it again`);
  }

  private async ask(message: Ask, where: string): Promise<unknown> {
    // A thread that was ended is begun again, for the row groups that are left.
    if (!this.worker) {
      await this.begin();
      if (message.type !== "open") await this.wait({ type: "open" }, where);
    }
    return this.wait(message, where);
  }

  private async begin(): Promise<void> {
    this.worker = await startService<string, ToParquet, FromParquet>({ url: threadUrl, createService }, this.path, {
      thread: true,
      heapMb,
      onMessage: (message) => {
        if (message.id !== this.waiting?.id) return;
        if ("value" in message) this.waiting.resolve(message.value);
        else this.waiting.reject(message.file ? new FileError(message.failed) : this.damaged("", message.failed));
      },
      // Out of memory, or an error that the library awaits nowhere.
      onEnd: (error) => {
        this.worker = null;
        const memory = /memory/i.test(error.message);
        this.waiting?.reject(this.damaged("", memory ? "it takes too much memory" : "its parts do not fit together"));
      },
    });
  }

  private async wait(message: Ask, where: string): Promise<unknown> {
    const id = ++this.lastId;
    const limitMs = baseMs + this.sizeBytes / bytesPerMs;
    const most = residentBytes() + freeBytes + 16 * this.sizeBytes;
    let looks = 0;
    let watch: ReturnType<typeof setInterval> | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.waiting = { id, resolve, reject };
        watch = setInterval(() => {
          const slow = ++looks * lookMs > limitMs;
          if (!slow && residentBytes() <= most) return;
          void this.close();
          const seconds = Math.round(limitMs / 1000);
          reject(this.damaged("", slow ? `the library takes longer than ${seconds} s` : "it takes too much memory"));
        }, lookMs);
        this.worker!.post({ ...message, id } as ToParquet);
      });
    } catch (error) {
      if (!(error instanceof DataError) || where === "") throw error;
      throw new DataError(error.message.replace(`${this.path}: `, `${this.path}: ${where}`));
    } finally {
      clearInterval(watch);
      this.waiting = null;
    }
  }
}
