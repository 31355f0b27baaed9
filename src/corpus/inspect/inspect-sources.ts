/**
 * Files of text as an inspection: reads them once for counts, lengths, filters and tokens, and, where duplicates are asked
 * for, as a deduplication reads them, into a folder that is thrown away.
 */
import { joinPath } from "../../platform/files.ts";
import { withTemporaryFolder } from "../../platform/temporary.ts";
import { nextTurn } from "../../platform/turn.ts";
import { type DedupProgress, deduplicate } from "../dedup/dedup.ts";
import type { DedupOptions } from "../dedup/options.ts";
import type { DedupReport } from "../dedup/report.ts";
import { type DedupSource, fileSources } from "../dedup/sources.ts";
import { runPipeline, type Stage } from "../pipeline.ts";
import type { DocumentEncoder } from "../document-encoder.ts";
import { createSourceReport } from "../records.ts";
import { locateSources } from "../source-files.ts";
import { readSourceFile, type SourceOptions } from "../sources.ts";
import type { InspectedGroup, Inspection } from "./inspection.ts";
import { createLengths } from "./lengths.ts";

export interface InspectSourcesOptions extends Omit<SourceOptions, "report" | "onRead"> {
  sources: readonly string[];
  stages?: readonly Stage[];
  /** Dropped documents to keep for each reason (default 3). */
  samples?: number;
  tokenizer?: DocumentEncoder;
  /** Read no more than so many documents of each file. */
  limit?: number;
  /** Look for duplicates with these options; null (default): do not. */
  duplicates?: (DedupOptions & { threads?: number; memory?: string }) | null;
  onProgress?: (progress: {
    stage: "read" | DedupProgress["stage"];
    done: number;
    total: number;
    note: string;
  }) => void;
  signal?: AbortSignal;
}

/** Texts handed to the tokenizer at once, in UTF-16 units. */
const unitsAtOnce = 1 << 20;
const reportEvery = 500;

/** @throws as readTextDocuments and deduplicate; the signal's reason */
export async function inspectSources(options: InspectSourcesOptions): Promise<Inspection> {
  const { sources, stages = [], tokenizer, duplicates = null } = options;
  const reading = createSourceReport();
  const groups = new Map<string, InspectedGroup>();
  const groupOf = ({ source, file }: { source: string | null; file: string }): InspectedGroup => {
    const name = source ?? file;
    let group = groups.get(name);
    if (!group) {
      group = { name, documents: 0, kept: 0, characters: 0, bytes: 0, tokens: tokenizer ? 0 : null };
      groups.set(name, group);
    }
    return group;
  };
  const lengths = { characters: createLengths("characters"), tokens: createLengths("tokens") };
  const files = await locateSources(sources, { ...options.remote, format: options.format });
  async function* documents() {
    for (const file of files)
      for await (const document of firstOf(readSourceFile(file, { ...options, report: reading }), options.limit)) {
        groupOf(document).documents++;
        if (reading.documents % reportEvery === 0) {
          options.onProgress?.({ stage: "read", done: reading.documents, total: 0, note: `documents, ${file.name}` });
          // A signal is heard between two turns.
          await nextTurn();
          options.signal?.throwIfAborted();
        }
        yield document;
      }
  }
  let texts: string[] = [];
  let owners: InspectedGroup[] = [];
  let units = 0;
  const count = async () => {
    const tokens = tokenizer?.encodeMany
      ? await tokenizer.encodeMany(texts)
      : texts.map((text) => tokenizer!.encode(text));
    for (const [i, { length }] of tokens.entries()) {
      owners[i].tokens! += length;
      lengths.tokens.add(length);
    }
    [texts, owners, units] = [[], [], 0];
  };
  const run = runPipeline(documents(), stages, { samples: options.samples });
  const bytesOf = utf8Counter();
  for await (const document of run.documents) {
    const group = groupOf(document);
    const { text } = document;
    group.kept++;
    group.characters! += text.length;
    group.bytes! += bytesOf(text);
    lengths.characters.add(text.length);
    if (!tokenizer) continue;
    texts.push(text);
    owners.push(group);
    units += text.length;
    if (units >= unitsAtOnce) await count();
  }
  if (texts.length > 0) await count();
  return {
    kind: "sources",
    of: [...sources],
    groupedBy: "source",
    groups: [...groups.values()],
    lengths: {
      characters: lengths.characters.histogram(),
      ...(tokenizer ? { tokens: lengths.tokens.histogram() } : {}),
    },
    tokenizer: tokenizer ? { vocabSize: tokenizer.vocabSize, hash: tokenizer.hash } : null,
    reading,
    stages: run.report(),
    duplicates: duplicates && (await findDuplicates(options, duplicates)),
  };
}

async function findDuplicates(
  options: InspectSourcesOptions,
  how: NonNullable<InspectSourcesOptions["duplicates"]>,
): Promise<DedupReport> {
  const { limit, onProgress, signal } = options;
  const sources = (await fileSources(options.sources, options)).map(
    (source): DedupSource => ({
      ...source,
      documents: (report) => firstOf(source.documents(report), limit),
    }),
  );
  return withTemporaryFolder(async (folder) => {
    const outDir = joinPath(folder, "duplicates");
    const { report } = await deduplicate({ ...how, sources, outDir, documents: false, onProgress, signal });
    return report!;
  });
}

/** The first of a sequence; all without a limit. */
async function* firstOf<T>(items: AsyncIterable<T> | Iterable<T>, limit = Number.POSITIVE_INFINITY) {
  let count = 0;
  for await (const item of items) {
    yield item;
    if (++count >= limit) return;
  }
}

/** Counts the bytes of texts in UTF-8, in memory that is used again. */
function utf8Counter(): (text: string) => number {
  const encoder = new TextEncoder();
  let scratch = new Uint8Array(1 << 16);
  return (text) => {
    if (text.length * 3 > scratch.length) scratch = new Uint8Array(text.length * 3);
    return encoder.encodeInto(text, scratch).written;
  };
}
