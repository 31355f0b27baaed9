/** `bitnet data prepare`: files, or a recipe, to a dataset of token shards. The work is data/'s; here are options and lines. */
import { Command, InvalidArgumentError, Option } from "commander";
import type {
  PackingKind,
  PrepareInput,
  PrepareShardsOptions,
  PrepareShardsProgress,
  PrepareStage,
  TokenizerSource,
} from "../../corpus/index.ts";
import { checkFilterFields } from "./filter.ts";
import { printDataset } from "./support/dataset-text.ts";
import { describeEstimate } from "./support/estimate-text.ts";
import { countOf, formatDuration, formatRate } from "../support/format.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import type { Share } from "../../data/share.ts";
import { decimalNumber, shareOption, wholeNumber } from "../support/options.ts";
import { tokenizerOfFile, tokenizerOfText } from "./support/prepare-tokenizer.ts";
import { createProgressLine, type ProgressLine } from "../support/progress.ts";
import {
  addSourceOptions,
  readSourceOptions,
  type SourceCommandOptions,
  sourcesHelp,
} from "./support/source-options.ts";
// Types and constants alone: help stays quick.
import { defaultShardTokens, prepareStages } from "../../corpus/prepare-context.ts";

interface PrepareCommandOptions extends SourceCommandOptions {
  tokenizer?: string;
  output?: string;
  cacheDir: string;
  valFraction?: number;
  val?: string[];
  filters?: string;
  dedup?: "none" | "exact" | "near";
  against?: string[];
  packing?: PackingKind;
  sequence?: number;
  shuffle?: number;
  shardTokens?: number;
  shards?: number;
  local?: Record<string, string[]>;
  only?: string[];
  without?: string[];
  limit?: number;
  dryRun?: boolean;
  printRecipe?: boolean;
  threads?: number;
  memory?: string;
  work?: string;
  keepWork?: boolean;
  restart?: boolean;
  stage?: PrepareStage;
  share?: Share;
  json?: boolean;
}

export function prepareCommand(): Command {
  const command = new Command("prepare")
    .summary("turn text, or a recipe of sources, into a dataset of token shards")
    .description(
      "Reads, filters, deduplicates, encodes over worker threads, packs and writes a dataset, whole or not at all. What was\nended goes on where it was.",
    )
    .argument("<paths...>", `tier1, tier2 or tier3, a recipe of your own (.yaml), or ${sourcesHelp}`)
    .option(
      "-t, --tokenizer <path>",
      "tokenizer.json, tokenizer.model, a folder with one, or hf://org/name/tokenizer.json",
    )
    .option("-o, --output <folder>", "the dataset's folder; a dataset that is there is replaced")
    .option("--cache-dir <folder>", "without -o: the dataset is kept there, named by its content", "runs/cache")
    .option("--val-fraction <share>", "hold out this share of the documents for validation", decimalNumber(0, 1))
    .option("--val <paths...>", "or: validate on these files")
    .option("--filters <list>", "a YAML file of filters, or their names with commas between (see bitnet data filter)")
    .addOption(
      new Option("--dedup <what>", "drop duplicates, as bitnet data dedup does (default: none)").choices([
        "none",
        "exact",
        "near",
      ]),
    )
    .option("--against <paths...>", "with --dedup: drop documents that hold text of these files")
    .addOption(
      new Option("--packing <how>", "how documents become sequences (default: documents)").choices([
        "documents",
        "concatenate",
        "best-fit",
      ]),
    )
    .option("--sequence <n>", "tokens of a sequence, for the other two (default: 2048)", wholeNumber(2, 2 ** 24))
    .option("--shuffle <seed>", "put documents in an order of this seed", wholeNumber(0))
    .option("--shard-tokens <n>", `tokens of a shard (default: ${defaultShardTokens})`, wholeNumber(1))
    .option("--shards <n>", "or: so many shards, as large as that makes them", wholeNumber(1, 99999));
  return addSourceOptions(command)
    .option("--limit <n>", "read no more than so many documents of each source", wholeNumber(1))
    .option("--dry-run", "tell what would happen, with sizes and time, and write nothing")
    .option("--local <name=path>", "recipes: read this in place of a source; again for several", collectLocal)
    .option("--only <names...>", "recipes: these sources alone")
    .option("--without <names...>", "recipes: leave these sources, or texts to decontaminate by, out")
    .option("--print-recipe", "print the recipe, to copy and change")
    .option("--threads <n>", "worker threads; 0: none (default: one for each processor)", wholeNumber(0, 256))
    .option("--memory <size>", "bound of deduplication's memory; beyond it, it uses the disk (default: 1GB)")
    .option("--work <folder>", "of the unfinished run (default: the output's name with .work)")
    .option("--keep-work", "leave it there when all is done")
    .option("--restart", "throw away an unfinished run of other sources or settings")
    .addOption(new Option("--stage <name>", "one stage alone, on what those before it left").choices(prepareStages))
    .addOption(shareOption("with --stage: one machine's share, counted from 0"))
    .option("--json", "print the dataset's description as JSON")
    .addHelpText(
      "after",
      `
A second run over the same text, tokenizer and options finds the dataset and does nothing. After Ctrl-C, a crash or a full
disk the same command goes on, and comes to the same bytes; neither the order of files nor the threads change them.

Recipes: tier1 (TinyStories), tier2 (10B tokens of FineWeb-Edu), tier3 (RedPajama, on many machines).

Examples:
  bitnet data prepare stories.txt --tokenizer tokenizer.json -o stories
  bitnet data prepare a.jsonl.gz b.jsonl.gz -t tokenizer.json --field content --val-fraction 0.01 -o web
  bitnet data prepare crawl/*.parquet -t tokenizer.json --filters web.yaml --on-bad-record skip --dedup near -o clean
  bitnet data prepare web.jsonl.gz -t llama2/ --packing best-fit --sequence 2048 --shuffle 1 --val-fraction 0.01 -o packed
  bitnet data prepare train.txt --val valid.txt -t tokenizer.json -o split
  bitnet data prepare tier1 -o tier1
  bitnet data prepare tier1 --local tinystories=stories.txt.gz -o tier1
  bitnet data prepare tier2 --dry-run
  bitnet data prepare tier2 --print-recipe > mine.yaml
  bitnet train tiny --data stories`,
    )
    .action(runPrepare);
}

function collectLocal(word: string, before: Record<string, string[]> = {}): Record<string, string[]> {
  const at = word.indexOf("=");
  if (at < 1 || at === word.length - 1)
    throw new InvalidArgumentError("Expected NAME=PATH, such as tinystories=stories.txt.gz.");
  const name = word.slice(0, at);
  return { ...before, [name]: [...(before[name] ?? []), word.slice(at + 1)] };
}

async function runPrepare(paths: string[], options: PrepareCommandOptions): Promise<void> {
  const { estimatePreparation, isRecipe, prepareShards, recipeText } = await import("../../corpus/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  const { exists, joinPath } = await import("../../platform/files.ts");
  const { systemClock } = await import("../../platform/system.ts");
  const recipe = paths.some(isRecipe);
  if (recipe && paths.length > 1)
    throw new UsageError(`a recipe stands alone, but ${paths.join(" and ")} came; its sources are named in it`);
  if (options.printRecipe) {
    if (!recipe) throw new UsageError(`${paths[0]}: is no recipe; name tier1, tier2, tier3 or a YAML file`);
    process.stdout.write(recipeText(paths[0]));
    return;
  }
  const interruption = listenForInterrupts();
  const { signal } = interruption;
  const lines = stageLines();
  try {
    const chosen = await (recipe ? fromRecipe : fromFiles)(paths, options, signal, lines.first);
    const common: PrepareShardsOptions = {
      ...chosen.options,
      ...(options.output === undefined ? { cacheDir: options.cacheDir } : { outDir: options.output }),
      workDir: options.work,
      keepWork: options.keepWork,
      restart: options.restart,
      threads: options.threads,
      memory: options.memory,
      stage: options.stage,
      share: options.share,
      onProgress: lines.onProgress,
      onNote: (text) => process.stderr.write(`bitnet: ${text}\n`),
      signal,
    };
    if (options.dryRun) {
      const estimate = await estimatePreparation(common, chosen.expected, systemClock, options.limit);
      lines.close();
      const { shardTokens = defaultShardTokens, shardCount, packing } = common;
      const how = packing?.kind === "documents" || !packing ? "" : `, ${packing.kind} sequences of ${packing.sequence}`;
      const size = shardCount === undefined ? ` of ${countOf(shardTokens, "token")}` : "";
      const text = describeEstimate(chosen.name, estimate, {
        deduplicates: Boolean(common.dedup),
        shardTokens: `${size}${how}`,
      });
      process.stdout.write(options.json ? `${JSON.stringify({ name: chosen.name, ...estimate }, null, 2)}\n` : text);
      return;
    }
    const start = systemClock.monotonicMs();
    const { folder, manifest, reused } = await prepareShards(common);
    const spent = lines.close();
    const ms = systemClock.monotonicMs() - start;
    if (!manifest) {
      process.stderr.write(`bitnet: stage ${options.stage} is done, in ${folder} (${formatDuration(ms)})\n`);
      return;
    }
    const { train, valid } = manifest.splits;
    const speed = formatRate((1000 * (train.tokens + (valid?.tokens ?? 0))) / Math.max(1, ms), "tokens");
    process.stderr.write(
      reused
        ? `bitnet: ${folder}: was prepared before from the same text, tokenizer and options; nothing to do\n`
        : `bitnet: prepared in ${formatDuration(ms)} (${spent}), ${speed}\n`,
    );
    await printDataset(folder, manifest, options.json);
  } catch (error) {
    lines.close();
    const work = options.work ?? (options.output && `${options.output}.work`);
    if (work && exists(joinPath(work, "run.json")))
      process.stderr.write(`bitnet: what is finished stays in ${work}; the same command goes on with it\n`);
    throw error;
  } finally {
    lines.close();
    interruption.release();
  }
}

interface Chosen {
  name: string;
  options: Omit<PrepareShardsOptions, "outDir" | "cacheDir">;
  expected: Parameters<typeof import("../../corpus/index.ts").estimatePreparation>[1];
}

/** What options say of packing and the like, for files and over a recipe. */
async function overrides(options: PrepareCommandOptions) {
  const { UsageError } = await import("../../platform/errors.ts");
  const { packing, sequence, shuffle, shardTokens, shards, valFraction, dedup } = options;
  if (sequence !== undefined && packing === "documents")
    throw new UsageError("documents as they are have no sequences; leave out --sequence, or choose another --packing");
  return {
    ...(packing === undefined
      ? {}
      : {
          packing:
            packing === "documents" ? ({ kind: packing } as const) : { kind: packing, sequence: sequence ?? 2048 },
        }),
    ...(shuffle === undefined ? {} : { shuffle }),
    ...(shardTokens === undefined ? {} : { shardTokens, shardCount: undefined }),
    ...(shards === undefined ? {} : { shardCount: shards, shardTokens: undefined }),
    ...(shardTokens !== undefined && shards !== undefined ? { shardTokens, shardCount: shards } : {}),
    ...(valFraction === undefined ? {} : { validFraction: valFraction }),
    ...(dedup === undefined ? {} : { dedup: dedup === "none" ? null : { near: dedup === "near" } }),
  };
}

async function fromFiles(
  paths: string[],
  options: PrepareCommandOptions,
  signal: AbortSignal,
  line: ProgressLine,
): Promise<Chosen> {
  const { readFilters } = await import("../../corpus/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  for (const name of ["local", "only", "without"] as const)
    if (options[name] !== undefined) throw new UsageError(`--${name} is for recipes; name the files that you want`);
  if (options.tokenizer === undefined)
    throw new UsageError("name the tokenizer with --tokenizer (bitnet tokenizer train makes one)");
  if (options.valFraction !== undefined && !(options.valFraction > 0 && options.valFraction < 1))
    throw new UsageError(
      `the validation fraction is ${options.valFraction}; expected a number between 0 and 1, such as 0.01`,
    );
  const read = readSourceOptions(options, { signal, line });
  const stages = options.filters === undefined ? [] : await readFilters(options.filters);
  await checkFilterFields(stages, options);
  const { limit } = options;
  const input = (path: string, name: string, split: PrepareInput["split"]): PrepareInput => ({
    name,
    paths: [path],
    split,
    read,
    ...(limit === undefined ? {} : { limit: { documents: limit } }),
  });
  const more = await overrides(options);
  if (options.sequence !== undefined && !more.packing)
    throw new UsageError("--sequence is for --packing concatenate or best-fit; name one of them");
  return {
    name: paths.join(", "),
    expected: {},
    options: {
      inputs: [
        ...paths.map((path) => input(path, path, options.val ? "train" : "both")),
        ...(options.val ?? []).map((path) => input(path, `validation ${path}`, "valid")),
      ],
      tokenizer: await tokenizerOfFile(options.tokenizer, { threads: options.threads, signal, remote: read.remote }),
      stages,
      heldOut: (options.against ?? []).map((path) => ({ name: path, paths: [path], read })),
      ...more,
    },
  };
}

/** What a recipe says itself, and options would say again. */
const recipeSays = [
  "separator",
  "field",
  "fieldJoin",
  "idField",
  "languageField",
  "scoreField",
  "sourceField",
] as const;

async function fromRecipe(
  [word]: string[],
  options: PrepareCommandOptions,
  signal: AbortSignal,
  line: ProgressLine,
): Promise<Chosen> {
  const { isHubFile } = await import("../../platform/hub-file.ts");
  const { joinPath } = await import("../../platform/files.ts");
  const { optionsOfRecipe, readRecipe } = await import("../../corpus/index.ts");
  const { FileError, UsageError } = await import("../../platform/errors.ts");
  for (const name of [...recipeSays, "format", "filters", "val"] as const)
    if (options[name] !== undefined)
      throw new UsageError(
        `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} is the recipe's to say; copy it (--print-recipe > mine.yaml) and change it there`,
      );
  const loaded = await readRecipe(word);
  const { recipe, folder } = loaded;
  const read = readSourceOptions(options, { signal, line });
  const { local, only, without, limit, threads } = options;
  const choices = { local, only, without, limit, remote: read.remote };
  const { inputs, heldOut, ...others } = await optionsOfRecipe(loaded, choices, !options.dryRun);
  const more = await overrides(options);
  // A sequence alone changes the recipe's, whose way of packing stays.
  const packing =
    options.sequence !== undefined && !more.packing && others.packing && others.packing.kind !== "documents"
      ? { packing: { ...others.packing, sequence: options.sequence } }
      : {};
  const ofRecipe = async (): Promise<TokenizerSource> => {
    const { tokenizer } = recipe;
    if (options.tokenizer === undefined && "train" in tokenizer) return tokenizerOfText(tokenizer, { threads, signal });
    const named = options.tokenizer ?? ("file" in tokenizer ? tokenizer.file : "");
    const here = options.tokenizer !== undefined || isHubFile(named) || named.startsWith("/");
    return tokenizerOfFile(here ? named : joinPath(folder, named), { threads, signal, remote: read.remote });
  };
  const tokenizer = await ofRecipe().catch((error: unknown): TokenizerSource => {
    if (!options.dryRun || !(error instanceof FileError)) throw error;
    // A look at what would happen goes on without it, and says so.
    const open = () => Promise.reject(error);
    return { identity: "", trains: false, open };
  });
  return {
    name: `${recipe.name}: ${recipe.about}`,
    expected: Object.fromEntries(recipe.sources.map(({ name, expected }) => [name, local?.[name] ? {} : expected])),
    options: {
      ...others,
      inputs: inputs.map((input) => ({
        ...input,
        read: {
          ...input.read,
          ...(options.onBadRecord === undefined ? {} : { onBadRecord: options.onBadRecord }),
          ...(options.maxDocument === undefined ? {} : { maxDocumentBytes: options.maxDocument }),
        },
      })),
      heldOut: [...(heldOut ?? []), ...(options.against ?? []).map((path) => ({ name: path, paths: [path] }))],
      ...more,
      ...packing,
      tokenizer,
    },
  };
}

/** A line of progress for each stage in turn, and how long each took. */
function stageLines() {
  const first = createProgressLine("hash");
  let open: { stage: string; line: ProgressLine; start: number } | undefined;
  const spent: string[] = [];
  const now = () => performance.now();
  const end = () => {
    if (!open) return;
    spent.push(`${open.stage} ${formatDuration(now() - open.start)}`);
    open.line.close();
    open = undefined;
  };
  return {
    first,
    onProgress({ stage, done, total, note }: PrepareShardsProgress) {
      if (open?.stage !== stage) {
        end();
        open = { stage, line: stage === "hash" ? first : createProgressLine(stage), start: now() };
      }
      const elapsed = now() - open!.start;
      const left = done > 0 && total > done ? `, ${formatDuration((elapsed * (total - done)) / done)} left` : "";
      open!.line.update(done, Math.max(total, done), `${note}${left}`);
    },
    close(): string {
      end();
      first.close();
      return spent.join(", ");
    },
  };
}
