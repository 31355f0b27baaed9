/**
 * Stages that documents go through: documents in, documents out, and an account of every one that does not come out. A
 * filter judges one document by itself (defineFilter); a stage that needs to see others (duplicates, mixing) writes `run`.
 *
 *   const run = runPipeline(readTextDocuments("web/*.jsonl.gz"), [scoreFilter({ min: 3 }), gopherQuality()]);
 *   for await (const document of run.documents) ...
 *   run.report()
 */
import type { TextDocument } from "./records.ts";
import { unitHash } from "../data/split.ts";

/** Why a document was left out. */
export interface Drop {
  /** A short name from a fixed set, such as "too-few-words": what is counted. */
  drop: string;
  /** What was measured, for people: "12 words, at least 50 wanted". */
  detail?: string;
}

export interface DropSample {
  file: string;
  place: string;
  id: string | null;
  detail: string | null;
  /** How the text begins. */
  text: string;
  /** A hash of the whole text, in [0, 1): the samples of a reason are those that hash lowest. */
  rank: number;
}

export interface DropCount {
  documents: number;
  characters: number;
  samples: DropSample[];
}

export interface StageReport {
  name: string;
  /** The options that were in force. */
  options: Record<string, unknown>;
  documentsIn: number;
  documentsOut: number;
  /** UTF-16 code units of the text. */
  charactersIn: number;
  charactersOut: number;
  /** Documents that came out with another text than they went in with. */
  changed: number;
  dropped: Record<string, DropCount>;
  /** What else the stage counted: lines removed, addresses masked. */
  counts: Record<string, number>;
}

/** How a stage tells what it does. Every document that goes in must come out or be dropped. */
export interface StageAccount {
  drop(document: TextDocument, reason: string, detail?: string): void;
  /** Adds to a count of the stage's own. */
  count(name: string, by?: number): void;
}

export interface Stage {
  readonly name: string;
  /** All that decides the outcome, as JSON: it is part of a dataset's key. */
  readonly options: Record<string, unknown>;
  run(documents: AsyncIterable<TextDocument>, account: StageAccount): AsyncIterable<TextDocument>;
  /** Set by defineFilter: what `run` does with one document. Filters in a row are run without an iterator between them. */
  readonly judge?: (document: TextDocument, account: Pick<StageAccount, "count">) => TextDocument | Drop;
  /** How a worker thread makes the same filter; absent for stages of one's own, which stay in their thread. */
  readonly remake?: Remake;
}

/** A filter as createFilters takes it (filters/spec.ts): plain data. */
export interface Remake {
  name: string;
  options: Record<string, unknown>;
  /** From where paths in its options are seen. */
  folder: string;
}

/** A stage that judges each document by itself: it gives the document back, or another text of it, or a reason. */
export function defineFilter(
  name: string,
  options: Record<string, unknown>,
  judge: (document: TextDocument, account: Pick<StageAccount, "count">) => TextDocument | Drop,
): Stage {
  return {
    name,
    options,
    judge,
    async *run(documents, account) {
      for await (const document of documents) {
        const verdict = judge(document, account);
        if ("drop" in verdict) account.drop(document, verdict.drop, verdict.detail);
        else yield verdict;
      }
    },
  };
}

export interface PipelineOptions {
  /** Documents kept to look at, for each reason (default 3): those whose text hashes lowest, whatever their order. */
  samples?: number;
  /** Hears of each document that is left out. */
  onDrop?: (document: TextDocument, stage: string, reason: string, detail?: string) => void;
}

export interface PipelineRun {
  documents: AsyncIterable<TextDocument>;
  /** The account so far; whole when the documents have ended. */
  report(): StageReport[];
}

const sampleCharacters = 300;
const defaultSamples = 3;

/** Lowest rank first, as many as are wanted; of equal ones (copies) the first by place, whatever came first. */
function keepLowest(samples: DropSample[], wanted: number): void {
  const place = ({ file, place }: DropSample) => `${file}\n${place}`;
  samples.sort((a, b) => a.rank - b.rank || (place(a) < place(b) ? -1 : 1));
  samples.length = Math.min(samples.length, wanted);
}

/** Several accounts of the same stages, over parts of the documents, as one. */
export function mergeStageReports(reports: readonly StageReport[][], samples = defaultSamples): StageReport[] {
  const merged = new Map<string, StageReport>();
  for (const report of reports.flat()) {
    const key = JSON.stringify([report.name, report.options]);
    let sum = merged.get(key);
    if (!sum) {
      sum = { ...report, documentsIn: 0, documentsOut: 0, charactersIn: 0, charactersOut: 0, changed: 0 };
      Object.assign(sum, { dropped: {}, counts: {} });
      merged.set(key, sum);
    }
    for (const name of ["documentsIn", "documentsOut", "charactersIn", "charactersOut", "changed"] as const)
      sum[name] += report[name];
    for (const [name, count] of Object.entries(report.counts)) sum.counts[name] = (sum.counts[name] ?? 0) + count;
    for (const [reason, count] of Object.entries(report.dropped)) {
      sum.dropped[reason] ??= { documents: 0, characters: 0, samples: [] };
      const entry = sum.dropped[reason];
      entry.documents += count.documents;
      entry.characters += count.characters;
      entry.samples.push(...count.samples);
      keepLowest(entry.samples, samples);
    }
  }
  return [...merged.values()];
}

/** Puts stages behind one another. Nothing is read before the documents are asked for, and then one at a time. */
export function runPipeline(
  source: AsyncIterable<TextDocument>,
  stages: readonly Stage[],
  options: PipelineOptions = {},
): PipelineRun {
  const books = stages.map((stage) => openBook(stage, options));
  let documents = source;
  for (let at = 0; at < stages.length; ) {
    let end = at;
    while (end < stages.length && stages[end].judge) end++;
    if (end > at) {
      documents = throughFilters(documents, books.slice(at, end));
      at = end;
    } else {
      documents = throughStage(documents, books[at]);
      at++;
    }
  }
  return { documents, report: () => books.map((book) => book.report()) };
}

type Book = ReturnType<typeof openBook>;

async function* throughFilters(documents: AsyncIterable<TextDocument>, books: readonly Book[]) {
  next: for await (let document of documents) {
    for (const book of books) {
      book.enter(document);
      const verdict = book.stage.judge!(document, book.account);
      if ("drop" in verdict) {
        book.account.drop(document, verdict.drop, verdict.detail);
        continue next;
      }
      book.leave(document, verdict);
      document = verdict;
    }
    yield document;
  }
}

async function* throughStage(documents: AsyncIterable<TextDocument>, book: Book) {
  async function* entering() {
    for await (const document of documents) {
      book.enter(document);
      yield document;
    }
  }
  for await (const document of book.stage.run(entering(), book.account)) {
    book.leave(null, document);
    yield document;
  }
}

function openBook(stage: Stage, { samples = defaultSamples, onDrop }: PipelineOptions) {
  const report: StageReport = {
    name: stage.name,
    options: stage.options,
    documentsIn: 0,
    documentsOut: 0,
    charactersIn: 0,
    charactersOut: 0,
    changed: 0,
    dropped: {},
    counts: {},
  };
  const kept = new Map<string, DropSample[]>();
  const account: StageAccount = {
    drop(document, reason, detail) {
      report.dropped[reason] ??= { documents: 0, characters: 0, samples: [] };
      const entry = report.dropped[reason];
      entry.documents++;
      entry.characters += document.text.length;
      onDrop?.(document, stage.name, reason, detail);
      if (samples === 0) return;
      const best = kept.get(reason) ?? [];
      kept.set(reason, best);
      const rank = unitHash(document.text);
      if (best.length >= samples && rank >= best[best.length - 1].rank) return;
      const { file, place, id, text } = document;
      const excerpt =
        text.length > sampleCharacters ? `${text.slice(0, sampleCharacters).replace(/[\ud800-\udbff]$/, "")}…` : text;
      best.push({ file, place, id, detail: detail ?? null, text: excerpt, rank });
      keepLowest(best, samples);
    },
    count(name, by = 1) {
      report.counts[name] = (report.counts[name] ?? 0) + by;
    },
  };
  return {
    stage,
    account,
    enter(document: TextDocument) {
      report.documentsIn++;
      report.charactersIn += document.text.length;
    },
    leave(before: TextDocument | null, after: TextDocument) {
      report.documentsOut++;
      report.charactersOut += after.text.length;
      if (before && before.text !== after.text) report.changed++;
    },
    report(): StageReport {
      const dropped: StageReport["dropped"] = {};
      for (const [reason, entry] of Object.entries(report.dropped))
        dropped[reason] = { ...entry, samples: [...(kept.get(reason) ?? [])] };
      return { ...report, dropped, counts: { ...report.counts } };
    },
  };
}
