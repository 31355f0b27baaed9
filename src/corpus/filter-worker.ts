/**
 * Documents through filters, with an account of what is left: what filter-chunks.ts runs in its own thread, or in worker
 * threads, which make the filters anew from their names and options.
 */
import type { JobHandler } from "../platform/workers.ts";
import { createFilters } from "./filters/spec.ts";
import { type Remake, runPipeline, type Stage, type StageReport } from "./pipeline.ts";
import type { TextDocument } from "./records.ts";
import { utf8Length } from "./utf8-length.ts";
import { nextTurn } from "../platform/turn.ts";

/** What filters made of some documents. */
export interface FilteredDocuments {
  documents: TextDocument[];
  stages: StageReport[];
  /** Documents that went in, and UTF-16 units of their text. */
  read: number;
  characters: number;
  kept: number;
  /** UTF-8 bytes of what they left. */
  textBytes: number;
  /** Documents of which nothing but white space was left, and which are not kept either. */
  emptied: number;
}

/** Documents between two looks at the signal. */
const documentsAtOnce = 1024;

/** @param mostTextBytes  the first document that reaches it is the last */
export async function filterDocumentsHere(
  documents: readonly TextDocument[],
  stages: readonly Stage[],
  mostTextBytes = Number.POSITIVE_INFINITY,
  signal?: AbortSignal,
): Promise<FilteredDocuments> {
  const account = { read: 0, characters: 0, kept: 0, textBytes: 0, emptied: 0 };
  async function* counted() {
    for (const document of documents) {
      account.read++;
      account.characters += document.text.length;
      yield document;
      if (account.read % documentsAtOnce > 0) continue;
      await nextTurn();
      signal?.throwIfAborted();
    }
  }
  const kept: TextDocument[] = [];
  const run = runPipeline(counted(), stages);
  for await (const document of run.documents) {
    if (!/\S/.test(document.text)) {
      account.emptied++;
      continue;
    }
    kept.push(document);
    account.kept++;
    account.textBytes += utf8Length(document.text);
    if (account.textBytes >= mostTextBytes) break;
  }
  return { ...account, documents: kept, stages: run.report() };
}

export interface FilterJob {
  documents: TextDocument[];
  remakes: readonly Remake[];
}

export function createHandler(): JobHandler<FilterJob, FilteredDocuments> {
  // Inputs may have filters of their own: each list is made once.
  const made = new Map<string, Promise<Stage[]>>();
  const make = async (remakes: readonly Remake[]): Promise<Stage[]> => {
    const stages: Stage[] = [];
    for (const { name, options, folder } of remakes)
      stages.push(...(await createFilters([{ [name]: options }], "filters", folder)));
    return stages;
  };
  return async ({ documents, remakes }) => {
    const key = JSON.stringify(remakes);
    const stages = made.get(key) ?? make(remakes);
    made.set(key, stages);
    return { result: await filterDocumentsHere(documents, await stages) };
  };
}

export const filterWorker = { url: import.meta.url, createHandler };
