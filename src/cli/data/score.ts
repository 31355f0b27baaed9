/** `bitnet data score`: how hard each sequence of a prepared dataset is, kept beside its shards for a curriculum. */
import { Command, Option } from "commander";
import type { Progress } from "../../eval/index.ts";
import type { PreparedSplit, ScoresName, SplitName } from "../../data/index.ts";
import { countOf, formatCount, formatDuration, formatTable } from "../support/format.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import { addPreOption, type PreFlags } from "../support/model-options.ts";
import { addBackendOptions, type BackendOptions, readBackendOptions, wholeNumber } from "../support/options.ts";
import { createProgressLine, type ProgressLine } from "../support/progress.ts";

interface ScoreOptions extends BackendOptions, PreFlags {
  by: "length" | "score" | "loss";
  model?: string;
  name?: string;
  sequence?: number;
  split: SplitName;
  batch: number;
  maskDocuments?: boolean;
  restart?: boolean;
  json?: boolean;
}

export function scoreCommand(): Command {
  const command = new Command("score")
    .summary("score a dataset's sequences for a curriculum")
    .description("Scores every sequence of a prepared dataset, and keeps scores and order beside its shards.")
    .argument("<folder>", "of the dataset")
    .addOption(
      new Option(
        "--by <what>",
        "mean length of the documents in a sequence; the score that they were prepared with; or the loss of a model",
      )
        .choices(["length", "score", "loss"])
        .makeOptionMandatory(),
    )
    .option("-m, --model <model>", "for loss: the reference, a checkpoint, run or model folder")
    .option("--name <name>", "what a curriculum calls these scores (default: what they are by)")
    .option("-T, --sequence <n>", "tokens of a sequence (default: what the dataset was packed for)", wholeNumber(1))
    .addOption(new Option("--split <name>", "which part of the dataset").choices(["train", "valid"]).default("train"))
    .option("--batch <n>", "for loss: sequences at once", wholeNumber(1), 8)
    .option("--mask-documents", "for loss: attention stays within documents")
    .option("--restart", "for loss: throw away an unfinished scoring of other data or another model")
    .option("--json", "print what was written as JSON");
  return addBackendOptions(addPreOption(command))
    .addHelpText(
      "after",
      `
A curriculum of a mixture.yaml names them (by: length). Scores are good for the dataset as it is and for one sequence
length; prepared anew, they are made anew. A scoring by loss that was ended goes on with the same command, and comes to the
same numbers.

Examples:
  bitnet data score stories --by length --sequence 256
  bitnet data score web --by score
  bitnet data score web --by loss -m runs/tiny-bitnet-1 --sequence 256 --name loss-tiny`,
    )
    .action(run);
}

async function run(folder: string, options: ScoreOptions): Promise<void> {
  const { openSplit, openScores, scoresPath, writeScores } = await import("../../data/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  const { systemClock } = await import("../../platform/system.ts");
  if ((options.by === "loss") !== (options.model !== undefined))
    throw new UsageError(
      options.by === "loss"
        ? "--by loss wants a model to measure it: name one with --model"
        : `--model is for --by loss; leave it out, or score by loss`,
    );
  if (options.restart && options.by !== "loss")
    throw new UsageError(`--restart is for --by loss; scores by ${options.by} are made in one go`);
  const interruption = listenForInterrupts();
  const line = createProgressLine("scoring");
  const start = systemClock.monotonicMs();
  const split = openSplit(folder, options.split);
  try {
    const sequence = options.sequence ?? split.sequence ?? split.manifest.packing?.sequence ?? null;
    if (sequence === null)
      throw new UsageError(`${folder}: was not packed for one sequence length; name yours with --sequence`);
    const where = { folder, split: options.split, sequence, name: options.name ?? options.by };
    scoresPath(where); // a name that cannot be is refused before the work
    const { scores, detail, done } = await scoresBy(split, where, options, interruption.signal, line);
    const sequences = split.sequences(sequence);
    writeScores(where, sequences, scores, detail);
    done?.();
    line.close();
    const written = openScores(where, sequences);
    try {
      const order = written.order("lowest");
      const at = (share: number) => written.scoreOf(order.sequenceAt(Math.floor(share * (written.sequences - 1))));
      const quantiles = { least: at(0), quarter: at(0.25), median: at(0.5), threeQuarters: at(0.75), most: at(1) };
      const { path, sequences: count } = written;
      if (options.json) {
        const about = { path, by: options.by, detail: written.detail, sequence, sequences: count };
        process.stdout.write(`${JSON.stringify({ ...about, ...quantiles }, null, 2)}\n`);
        return;
      }
      const numbers = Object.values(quantiles).map((value) => value.toPrecision(4));
      process.stdout.write(
        formatTable([
          ["scores", path],
          ["of", written.detail],
          ["sequences", `${formatCount(count)} of ${countOf(sequence, "token")}`],
          ["quartiles", numbers.join("  ")],
          ["time", formatDuration(systemClock.monotonicMs() - start)],
        ]),
      );
    } finally {
      written.close();
    }
  } finally {
    line.close();
    interruption.release();
    split.close();
  }
}

interface Scored {
  scores: Float32Array;
  detail: string;
  /** To be called once they are written. */
  done?(): void;
}

async function scoresBy(
  split: PreparedSplit,
  where: ScoresName,
  options: ScoreOptions,
  signal: AbortSignal,
  line: ProgressLine,
): Promise<Scored> {
  const { sequence } = where;
  if (options.by === "loss") return lossOfModel(split, where, options, signal, line);
  const { documentScores, lengthScores } = await import("../../data/index.ts");
  const onShard = (done: number, total: number) => line.update(done, total, "shards");
  return options.by === "length"
    ? {
        scores: await lengthScores(split, sequence, { onShard, signal }),
        detail: "mean length of documents, in tokens",
      }
    : { scores: await documentScores(split, sequence, { onShard, signal }), detail: "mean score of documents" };
}

/** Tokens that are scored anew at most when the work was ended, in batches of one sequence: some tens of seconds. */
const partTokens = 2 ** 18;

async function lossOfModel(
  split: PreparedSplit,
  where: ScoresName,
  options: ScoreOptions,
  signal: AbortSignal,
  line: ProgressLine,
): Promise<Scored> {
  const { openUnfinishedScores } = await import("../../data/index.ts");
  const { sequenceLosses } = await import("../../eval/index.ts");
  const { FormatError } = await import("../../platform/errors.ts");
  const { openModel, tokenizerOf } = await import("../support/model.ts");
  const opened = await openModel(options.model!, { ...readBackendOptions(options), pre: options.pre });
  try {
    const tokenizer = tokenizerOf(opened);
    const { manifest, tokens } = split;
    if (tokenizer.hash !== manifest.tokenizer.hash)
      throw new FormatError(
        `${opened.folder}: was trained with another tokenizer than the data were prepared with; prepare them with its own`,
      );
    const { sequence } = where;
    const { batch, maskDocuments = false, restart } = options;
    const sequences = split.sequences(sequence);
    const about = { model: await hashOfModel(opened.folder), batch, maskDocuments };
    const partSequences = batch * Math.max(1, Math.round(partTokens / (sequence * batch)));
    const unfinished = openUnfinishedScores(where, sequences, about, { partSequences, restart });
    const onProgress = ({ tokens: done, totalTokens = done }: Progress) =>
      line.update(done, totalTokens, `${countOf(done, "token")}`);
    const scores = await sequenceLosses(opened.model, sequences, {
      batch,
      parts: unfinished,
      vocabSize: tokens.vocabSize,
      endOfText: maskDocuments ? tokens.endOfText : undefined,
      signal,
      onProgress,
    }).catch((error: unknown) => {
      line.close();
      if (!unfinished.removeIfEmpty())
        process.stderr.write(
          `bitnet: what is finished stays in ${unfinished.path}; the same command goes on with it\n`,
        );
      throw error;
    });
    const step = opened.step === null ? "" : `, step ${opened.step}`;
    return { scores, detail: `mean loss of ${opened.folder}${step}, nats`, done: unfinished.remove };
  } finally {
    opened.close();
  }
}

/** Of all that decides what a model says: its weights and their config, or the file that holds both. */
async function hashOfModel(path: string): Promise<string> {
  const { describePath, joinPath, listFolder, sha256Of, sha256OfFile } = await import("../../platform/files.ts");
  if (describePath(path).kind === "file") return sha256OfFile(path);
  const files = listFolder(path).filter((name) => name === "config.json" || name.endsWith(".safetensors"));
  // The optimizer's moments change nothing.
  const model = files.filter((name) => name !== "optimizer.safetensors");
  return sha256Of(model.map((name) => `${name} ${sha256OfFile(joinPath(path, name))}`).join("\n"));
}
