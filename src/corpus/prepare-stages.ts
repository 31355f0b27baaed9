/**
 * The stages of a preparation, each over what the one before left in the work folder: text (filtered, kept for the stages
 * that look at all of it), duplicates, encoded runs, shards. prepare-run.ts strings them together. Every part is written
 * once and named when it is whole, so each stage passes over what is there.
 */
import { UsageError } from "../platform/errors.ts";
import { exists, joinPath, listFolder } from "../platform/files.ts";
import type { SplitName } from "../data/dataset.ts";
import { type DedupStage, deduplicate } from "./dedup/dedup.ts";
import { type DedupReport, readDedupReport, readDropped } from "./dedup/report.ts";
import type { DedupSource } from "./dedup/sources.ts";
import type { DroppedDocument } from "./dedup/write.ts";
import { type EncodedDocument, writeRun } from "./packing/encoded-run.ts";
import { orderDocuments } from "./packing/document-order.ts";
import {
  bordersPast,
  evenBorders,
  shardName,
  type ShardPlan,
  shardsOf,
  type WrittenShard,
  writeShard,
} from "./packing/write-shards.ts";
import { encodeGroups } from "./encode-groups.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import {
  type Block,
  type BlockAccount,
  blockName,
  type FileAccount,
  readBlocks,
  readTextBlock,
  writeTextBlock,
} from "./prepare-blocks.ts";
import type { InputFile } from "./prepare-inputs.ts";
import type { StageContext } from "./prepare-context.ts";
import type { PrepareWork } from "./prepare-work.ts";
import { createSourceReport, type TextDocument } from "./records.ts";
import { isValidationDocument, unitHash } from "../data/split.ts";
import { utf8Length } from "./utf8-length.ts";
import { nextTurn } from "../platform/turn.ts";

/** Documents and tokens of a block's run for one split. */
interface RunCounts {
  documents: number;
  tokens: number;
  textBytes: number;
}

/** The marker of an encoded block. `account` is there where the block was read and filtered by the same stage. */
interface EncodedBlock {
  account: BlockAccount | null;
  runs: Partial<Record<SplitName, RunCounts>>;
}

const fileMarker = (file: number) => `file-${file}`;
const textMarker = (file: number, block: number) => `text-${blockName(file, block)}`;
const encodedMarker = (file: number, block: number) => `encoded-${blockName(file, block)}`;

export const accountOf = (work: PrepareWork, file: InputFile): FileAccount | null =>
  work.marker<FileAccount>(fileMarker(file.number));

/** The accounts of a file's blocks, whichever stage read them. */
export function blocksOf(work: PrepareWork, file: InputFile): BlockAccount[] {
  const { blocks } = accountOf(work, file)!;
  return Array.from({ length: blocks }, (_, block) => {
    const text = work.marker<BlockAccount>(textMarker(file.number, block));
    return text ?? work.marker<EncodedBlock>(encodedMarker(file.number, block))!.account!;
  });
}

/** Reads and filters what is left of the files, handing over each block that `finished` does not know. */
async function readFiles(
  context: StageContext,
  stage: string,
  finished: (file: number, block: number) => BlockAccount | null,
  onBlock: (file: InputFile, block: Block) => Promise<void>,
  onFile: () => Promise<void>,
): Promise<void> {
  const { given, files, work, filter, mine, say } = context;
  const total = files.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
  let bytes = 0;
  let documents = 0;
  say(stage, 0, total, "");
  const used = new Map<string, { documents: number; textBytes: number }>();
  for (const file of files) {
    const { input, number } = file;
    const before = used.get(input.name) ?? { documents: 0, textBytes: 0 };
    used.set(input.name, before);
    if (mine(number) && !accountOf(work, file)) {
      const started = bytes;
      const blocks = readBlocks(file, {
        stages: [...(input.stages ?? []), ...given.stages],
        filter,
        limit: {
          documents: (input.limit?.documents ?? Number.POSITIVE_INFINITY) - before.documents,
          textBytes: (input.limit?.textBytes ?? Number.POSITIVE_INFINITY) - before.textBytes,
        },
        blockCharacters: given.blockCharacters,
        finished: (block) => finished(number, block),
        onRead: (read) => {
          bytes += read;
        },
        signal: given.signal,
      });
      try {
        let next = await blocks.next();
        for (; !next.done; next = await blocks.next()) {
          documents += next.value.kept;
          await onBlock(file, next.value);
          say(stage, bytes, total, `${documents} documents`);
        }
        await onFile();
        work.mark(fileMarker(number), next.value);
      } finally {
        // Closes the file where the work was ended.
        await blocks.return({ blocks: 0, source: createSourceReport() });
      }
      bytes = Math.max(bytes, started + (file.sizeBytes ?? 0));
    } else bytes += file.sizeBytes ?? 0;
    if (accountOf(work, file))
      for (const { read, textBytes } of input.limit ? blocksOf(work, file) : []) {
        before.documents += read;
        before.textBytes += textBytes;
      }
    say(stage, bytes, total, `${documents} documents`);
  }
}

/** Reads, filters, keeps what is left as text. */
export async function textStage(context: StageContext): Promise<void> {
  const { work } = context;
  await readFiles(
    context,
    "text",
    (file, block) => work.marker<BlockAccount>(textMarker(file, block)),
    async (file, block) => {
      writeTextBlock(work, file.number, block);
      const { documents: _, number, ...account } = block;
      work.mark(textMarker(file.number, number), account);
    },
    async () => {},
  );
}

/** @throws UsageError naming the first file of this machine's share that the stage `text` has not been through */
function wantText({ files, work, mine }: StageContext): void {
  const missing = files.filter((file) => mine(file.number) && !accountOf(work, file));
  if (missing.length > 0)
    throw new UsageError(
      `${work.path}: the text of ${missing.length} of ${files.length} files is not there (first: ${missing[0].name}); run the stage "text" first, on all machines`,
    );
}

/** A file's documents that the text stage kept, block by block. */
export async function* textOf({ work }: StageContext, file: InputFile): AsyncGenerator<TextDocument> {
  for (const [block, account] of blocksOf(work, file).entries())
    yield* readTextBlock(work, file.number, block, account);
}

/** What deduplication calls a file. */
export const dedupName = ({ number, name }: InputFile): string => `${String(number).padStart(6, "0")} ${name}`;
const compared = (files: readonly InputFile[]) => files.filter(({ split }) => split !== "valid");
const droppedPrefix = "deduplicated";

/** Finds duplicates and held-out text among what training reads: all of it, or one stage of that for many machines. */
export async function dedupStage(context: StageContext, part?: DedupStage): Promise<void> {
  const { given, files, work, say } = context;
  const { dedup, share } = given;
  if (!dedup) throw new UsageError("this preparation looks for no duplicates; name dedup in its settings");
  wantText(context);
  const sources = compared(files).map((file): DedupSource => {
    const documents = async function* () {
      for await (const { text, id, score } of textOf(context, file)) yield { text, id, score };
    };
    return { name: dedupName(file), identity: `${given.key}:${file.number}`, documents };
  });
  await deduplicate({
    ...dedup,
    sources,
    heldOut: await given.heldOut(),
    outDir: joinPath(work.path, droppedPrefix + (share && part === "write" ? `-${share.index}-${share.count}` : "")),
    workDir: joinPath(work.path, "dedup"),
    documents: false,
    keepWork: share !== undefined,
    threads: given.threads,
    memory: given.memory,
    stage: part,
    share,
    signal: given.signal,
    onProgress: ({ stage, done, total, note }) => say(stage, done, total, note),
  });
}

/** What was dropped as a duplicate: one report, or one of each machine's share. */
export function dedupReports({ work }: StageContext): { folder: string; report: DedupReport }[] {
  return listFolder(work.path)
    .filter((name) => name === droppedPrefix || name.startsWith(`${droppedPrefix}-`))
    .map((name) => joinPath(work.path, name))
    .filter((folder) => exists(joinPath(folder, "report.json")))
    .map((folder) => ({ folder, report: readDedupReport(folder) }));
}

function droppedOf(context: StageContext, file: InputFile): AsyncIterable<DroppedDocument> | null {
  if (!context.given.dedup || file.split === "valid") return null;
  const name = dedupName(file);
  const found = dedupReports(context).find(({ report }) => report.sources.some((source) => source.name === name));
  if (!found)
    throw new UsageError(
      `${context.work.path}: it is not known which documents of ${file.name} are duplicates; run the stages of deduplication first`,
    );
  return readDropped(found.folder, name);
}

/** Blocks under way at once: one is encoded while the next is read. */
const blocksInFlight = 2;
/** Encodes what is left of the documents into runs, by block and split. */
export async function encodeStage(context: StageContext, encoder: DocumentEncoder): Promise<void> {
  const { given, files, work, mine, say } = context;
  const underway: Promise<void>[] = [];
  const drain = async (most: number) => {
    while (underway.length > most) await underway.shift();
  };
  const start = async (file: InputFile, block: number, documents: TextDocument[], account: BlockAccount | null) => {
    const encoded = encodeBlock(context, encoder, file, block, documents).then((runs) => {
      work.mark(encodedMarker(file.number, block), { account, runs } satisfies EncodedBlock);
      for (const counts of Object.values(runs)) context.encoded?.(counts);
    });
    encoded.catch(() => {}); // awaited in drain; meanwhile a failure is not unhandled
    underway.push(encoded);
    await drain(blocksInFlight - 1);
  };
  try {
    if (!given.keepsText) {
      const finished = (file: number, block: number) =>
        work.marker<EncodedBlock>(encodedMarker(file, block))?.account ?? null;
      const onBlock = (file: InputFile, { documents, number, ...account }: Block) =>
        start(file, number, documents, account);
      // A file is finished when all its blocks are.
      return await readFiles(context, "encode", finished, onBlock, () => drain(0));
    }
    wantText(context);
    const own = files.filter(({ number }) => mine(number));
    const total = own.reduce((sum, file) => sum + blocksOf(work, file).reduce((all, { kept }) => all + kept, 0), 0);
    let done = 0;
    for (const file of own) {
      const drops = droppedOf(context, file)?.[Symbol.asyncIterator]();
      let next = await drops?.next();
      let place = 0;
      for (const [block, account] of blocksOf(work, file).entries()) {
        if (work.marker(encodedMarker(file.number, block))) {
          place += account.kept;
          while (next && !next.done && next.value.document <= place) next = await drops!.next();
        } else {
          const documents: TextDocument[] = [];
          for await (const document of readTextBlock(work, file.number, block, account)) {
            place++;
            if (next && !next.done && next.value.document === place) next = await drops!.next();
            else documents.push(document);
          }
          await start(file, block, documents, null);
        }
        done += account.kept;
        say("encode", done, total, file.name);
      }
      if (next && !next.done)
        throw new Error(`${file.name}: document ${next.value.document} was dropped, but there are ${place}`);
    }
    await drain(0);
  } finally {
    // What is under way ends before the work folder is left.
    await Promise.allSettled(underway);
  }
}

const runPath = (work: PrepareWork, split: SplitName, file: number, block: number) =>
  joinPath(work.folder("runs"), `${split}-${blockName(file, block)}.run`);

async function encodeBlock(
  { given, work }: StageContext,
  encoder: DocumentEncoder,
  file: InputFile,
  block: number,
  documents: readonly TextDocument[],
): Promise<EncodedBlock["runs"]> {
  const splits: Record<SplitName, EncodedDocument[]> = { train: [], valid: [] };
  for await (const { items, tokens } of encodeGroups(documents, encoder, given.signal))
    for (const [i, { text, score }] of items.entries())
      splits[splitOf(file, text, given.validFraction)].push({
        tokens: tokens[i],
        key: given.shuffle === null ? 0 : unitHash(text, orderSeed(given.shuffle)),
        textBytes: utf8Length(text),
        score: score ?? Number.NaN,
      });
  const runs: EncodedBlock["runs"] = {};
  const { vocabSize, endOfText } = encoder;
  for (const split of ["train", "valid"] as const)
    if (splits[split].length > 0)
      runs[split] = writeRun(runPath(work, split, file.number, block), splits[split], {
        vocabSize,
        endOfText: endOfText!,
        durable: work.durable,
      });
  return runs;
}

/** Which side a document is on: its input's, or by its own text. */
export const splitOf = (file: Pick<InputFile, "split">, text: string, validFraction: number): SplitName =>
  file.split === "both" ? (isValidationDocument(text, validFraction) ? "valid" : "train") : file.split;

/** Another hash than that of the split, whose seed is 0: the order of training documents has nothing to do with it. */
const orderSeed = (seed: number): number => ((seed + 1) * 0x9e3779b1) >>> 0;

/** What a split's shards will be. @throws UsageError for files that are not encoded yet */
export function planShards(context: StageContext, encoder: DocumentEncoder, split: SplitName): ShardPlan {
  const { given, files, work } = context;
  const paths: string[] = [];
  for (const file of files) {
    const account = accountOf(work, file);
    for (let block = 0; block < (account?.blocks ?? 1); block++) {
      const encoded = account && work.marker<EncodedBlock>(encodedMarker(file.number, block));
      if (!encoded)
        throw new UsageError(
          `${work.path}: ${file.name} is not encoded yet; run the stage "encode" first, on all machines`,
        );
      if (encoded.runs[split]) paths.push(runPath(work, split, file.number, block));
    }
  }
  const order = orderDocuments(paths, { shuffled: given.shuffle !== null, bucketTokens: given.bucketTokens });
  // Validation text is scored whole and once, so its documents follow one another and nothing is filled up.
  const packing =
    split === "valid" && given.packing.kind === "best-fit"
      ? { kind: "concatenate" as const, sequence: given.packing.sequence }
      : given.packing;
  const step = packing.kind === "documents" ? 1 : packing.sequence;
  const wanted =
    given.shardCount !== undefined && split === "train"
      ? Math.max(1, Math.ceil(order.tokens / given.shardCount))
      : given.shardTokens;
  const shardTokens = Math.max(step, (given.shardCount === undefined ? Math.floor : Math.ceil)(wanted / step) * step);
  const { vocabSize, endOfText, hash } = encoder;
  return {
    order,
    split,
    packing,
    shardTokens,
    borders: (given.cut === "past" ? bordersPast : evenBorders)(order, shardTokens),
    vocabSize,
    endOfText: endOfText!,
    tokenizerHash: hash,
    scores: given.inputs.some(({ read }) => read?.fields?.score !== undefined),
  };
}

const shardMarker = (split: SplitName, number: number) => `shard-${shardName(split, number)}`;

/** Shards that a plan comes to: those that are wanted, of those there could be. */
function wantedShards({ given }: StageContext, plan: ShardPlan): number {
  const all = shardsOf(plan);
  return plan.split === "train" ? Math.min(all, given.maxShards ?? all) : all;
}

/** Writes the shards that are not there. */
export async function shardStage(context: StageContext, plans: readonly ShardPlan[]): Promise<void> {
  const { work, mine, say, given } = context;
  const total = plans.reduce((sum, plan) => sum + wantedShards(context, plan), 0);
  let done = 0;
  for (const plan of plans)
    for (let number = 0; number < wantedShards(context, plan); number++) {
      const marker = shardMarker(plan.split, number);
      if (mine(done) && !work.marker(marker)) {
        work.mark(marker, { written: writeShard(work.folder("result"), number, plan) });
        await nextTurn();
        given.signal?.throwIfAborted();
      }
      say("shards", ++done, total, shardName(plan.split, number));
    }
}

/** What shardStage wrote. @throws UsageError for one that is not there */
export function writtenShards(context: StageContext, plan: ShardPlan): WrittenShard[] {
  const { work } = context;
  const written: WrittenShard[] = [];
  for (let number = 0; number < wantedShards(context, plan); number++) {
    const marker = work.marker<{ written: WrittenShard | null }>(shardMarker(plan.split, number));
    if (!marker)
      throw new UsageError(
        `${work.path}: shard ${shardName(plan.split, number)} is not there; run the stage "shards" first, on all machines`,
      );
    if (marker.written) written.push(marker.written);
  }
  return written;
}
