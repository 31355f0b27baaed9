/**
 * Raw text to training shards, out of core and resumable: read and filtered, without duplicates, encoded, put in an order,
 * packed into sequences, written as shards with checksums and an account of every document that is not in them.
 *
 * A run that was ended goes on where it was, from finished parts in a work folder (prepare-work.ts); the result's folder
 * appears when it is complete. The shards depend on the documents, their sources' names and the settings alone: not on the
 * order of files, threads, machines or interruptions; shuffled, not even on how documents are spread over files.
 *
 * The stages are prepare-run.ts's. prepareTokens (prepare.ts) runs the same ones for a training run's own text, which is not
 * taken up again.
 */
import { UsageError } from "../platform/errors.ts";
import { exists, joinPath, listFolder, removePath, replaceFolder } from "../platform/files.ts";
import { lockFolders } from "../platform/lock.ts";
import { isDataset } from "../data/dataset.ts";
import { checkShare, isInShare } from "../data/share.ts";
import { createBlockFilter } from "./filter-chunks.ts";
import type { DedupSource } from "./dedup/sources.ts";
import type { Stage } from "./pipeline.ts";
import { checkCommon, checkWhole, findPrepared } from "./prepare-checks.ts";
import {
  defaultShardTokens,
  type PrepareShardsOptions,
  type ResolvedPrepare,
  type StageContext,
} from "./prepare-context.ts";
import type { PreparedDataset } from "./prepare.ts";
import { runPreparation } from "./prepare-run.ts";
import { blockCharacters } from "./prepare-blocks.ts";
import { checkStages, type InputFile, type PrepareInput, resolveInputs } from "./prepare-inputs.ts";
import { describeRun, openPrepareWork, prepareVersion, readKnownFiles, removeFinishedWork } from "./prepare-work.ts";

/**
 * Prepares a dataset, goes on with one that is unfinished, or finds it prepared.
 *
 * @returns the dataset; with `stage` other than "finish", its work folder and no manifest
 * @throws UsageError for options that contradict, another process at work on the same output, an unfinished run with other
 *   settings (naming them), a stage whose parts are not there; DataError for text that cannot be used, no documents, a split left empty; FileError when the disk refuses
 */
export async function prepareShards(
  options: PrepareShardsOptions,
): Promise<PreparedDataset | { folder: string; manifest: null; reused: false }> {
  const { stage, share, signal } = options;
  checkOptions(options);
  const say: StageContext["say"] = (stage, done, total, note) => {
    signal?.throwIfAborted();
    options.onProgress?.({ stage, done, total, note });
  };
  const workBefore = options.workDir ?? (options.outDir && `${options.outDir}.work`);
  const known = workBefore ? readKnownFiles(workBefore) : {};
  const onFile = (name: string) => say("hash", 0, 0, name);
  const files = await resolveInputs(options.inputs, known, onFile);
  const heldOutFiles = await resolveInputs(options.heldOut ?? [], known, onFile);
  const settings = settingsOf(options, heldOutFiles);
  const run = describeRun(
    settings,
    files.map(({ split, identity }) => ({ split, identity })),
  );
  const outDir = options.outDir ?? joinPath(options.cacheDir!, run.key.slice(0, 32));
  const workDir = options.workDir ?? `${outDir}.work`;
  const ready = (): PreparedDataset | null => {
    const found = stage ? undefined : findPrepared(outDir, run.key);
    if (!found) return null;
    if (!options.keepWork) removeFinishedWork(workDir, run.key);
    return { folder: outDir, manifest: found, reused: true };
  };
  const prepare = async (): ReturnType<typeof prepareShards> => {
    mayReplace(outDir);
    const how = { restart: options.restart ?? false, known, shared: share !== undefined };
    const work = openPrepareWork(workDir, run, how);
    const { tokenizer, stages = [], dedup = null, validFraction = 0, shuffle = null } = options;
    const given: ResolvedPrepare = {
      ...options,
      key: run.key,
      cut: "every",
      recorded: null,
      stages,
      dedup,
      heldOut: async () => heldOutFiles.map(heldOutSource),
      validFraction,
      shuffle,
      packing: options.packing ?? { kind: "documents" },
      shardTokens: options.shardTokens ?? defaultShardTokens,
      blockCharacters: options.blockCharacters ?? blockCharacters,
      keepsText: dedup !== null || ("trains" in tokenizer && tokenizer.trains),
      settings,
      about: options.about ?? {},
    };
    const context: StageContext = {
      given,
      files,
      work,
      filter: createBlockFilter({ threads: options.threads, signal }),
      mine: (number) => !share || isInShare(number, share),
      say,
    };
    try {
      const manifest = await runPreparation(context, tokenizer, stage);
      if (manifest === null) return { folder: work.path, manifest, reused: false };
      signal?.throwIfAborted();
      mayReplace(outDir);
      replaceFolder(work.folder("result"), outDir);
      if (!options.keepWork) removePath(work.path);
      return { folder: outDir, manifest, reused: false };
    } catch (error) {
      work.removeIfEmpty();
      throw error;
    } finally {
      await context.filter.close();
    }
  };
  const before = ready();
  if (before) return before;
  // Machines that share the work are many processes at once, each on parts of its own.
  const lock = share ? null : lockFolders([outDir, workDir], options.onNote);
  try {
    // Another process may have finished it until the lock was ours.
    return ready() ?? (await prepare());
  } finally {
    lock?.release();
  }
}

function checkOptions(options: PrepareShardsOptions): void {
  const { inputs, validFraction = 0, shardTokens, shardCount, maxShards, packing, share, stages = [] } = options;
  checkCommon("prepareShards", {
    ...options,
    validFraction: validFraction === 0 ? undefined : validFraction,
    hasValidFiles: inputs.some(({ split }) => split === "valid"),
    sources: inputs.length,
  });
  checkWhole("shardTokens", shardTokens);
  checkWhole("shardCount", shardCount);
  checkWhole("maxShards", maxShards);
  if (shardTokens !== undefined && shardCount !== undefined)
    throw new UsageError("name the tokens of a shard or the number of shards, not both");
  if (packing && packing.kind !== "documents") {
    checkWhole("the sequence", packing.sequence);
    if (shardTokens !== undefined && shardTokens < packing.sequence)
      throw new UsageError(
        `a shard of ${shardTokens} tokens holds no sequence of ${packing.sequence}; name at least as many`,
      );
  }
  if (options.heldOut?.length && !options.dedup)
    throw new UsageError("held-out text is found by deduplication; ask for that too (exact duplicates alone will do)");
  if (share) {
    checkShare(share);
    if (!options.stage) throw new UsageError("a share is of one stage; name the stage too");
    if (inputs.some(({ limit }) => limit))
      throw new UsageError(
        "a source with a limit is read by one machine, which counts; leave out the limit or the share",
      );
  }
  for (const { stages: own = [] } of inputs) checkStages(own);
  checkStages(stages);
}

/** All that decides the content but the files' own. */
function settingsOf(options: PrepareShardsOptions, heldOut: readonly InputFile[]): Record<string, unknown> {
  const { tokenizer, inputs, stages = [], dedup = null, validFraction = 0, shuffle = null } = options;
  const names = (list: readonly Stage[]) => list.map(({ name, options }) => ({ [name]: options }));
  const reading = ({ read = {}, limit, stages = [] }: PrepareInput) => {
    const { separator, field, fields, maxDocumentBytes, onBadRecord } = read;
    return { separator, field, fields, maxDocumentBytes, onBadRecord, limit: limit ?? null, stages: names(stages) };
  };
  const content = {
    tokenizer: "trains" in tokenizer ? tokenizer.identity : tokenizer.hash,
    // In the order of their names, which is that of their files.
    reading: [...inputs].sort((a, b) => (a.name < b.name ? -1 : 1)).map(reading),
    stages: names(stages),
    dedup,
    heldOut: heldOut.map(({ identity, input }) => [identity, reading(input)]),
    validFraction,
    shuffle,
    packing: options.packing ?? { kind: "documents" },
    shardTokens: options.shardTokens ?? (options.shardCount === undefined ? defaultShardTokens : null),
    shardCount: options.shardCount ?? null,
    maxShards: options.maxShards ?? null,
    blockCharacters: options.blockCharacters ?? blockCharacters,
    about: options.about ?? {},
    version: prepareVersion,
  };
  return JSON.parse(JSON.stringify(content)) as Record<string, unknown>;
}

function heldOutSource(file: InputFile): DedupSource {
  const { input, name, identity } = file;
  const documents = async function* () {
    const { createSourceReport } = await import("./records.ts");
    for await (const { text } of file.documents(createSourceReport(), () => {})) yield text;
  };
  return { name: `${input.name} ${name}`, identity, documents };
}

/** @throws UsageError for a folder that holds something else */
function mayReplace(folder: string): void {
  if (exists(folder) && !isDataset(folder) && listFolder(folder).length > 0)
    throw new UsageError(`${folder}: exists and was not written by this command; name another folder or remove it`);
}
