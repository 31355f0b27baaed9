/** `bitnet data stream`: the batches of a mixture as training reads them, or one machine's share of them, for another program. */
import { Command, Option } from "commander";
import type { MixtureBatch, MixturePosition, MixtureSpec } from "../../data/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import type { Share } from "../../data/share.ts";
import { countOf, formatBytes } from "../support/format.ts";
import { listenForInterrupts } from "../support/interrupt.ts";
import { shareOption, wholeNumber } from "../support/options.ts";
import { createProgressLine } from "../support/progress.ts";
import { openOutput } from "../support/token-files.ts";

interface StreamOptions {
  mix?: string[];
  share?: Share;
  batch: number;
  sequence?: number;
  steps: number;
  seed: number;
  split: "train" | "valid";
  format: "jsonl" | "i32";
  position?: string;
  output?: string;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function streamCommand(): Command {
  return new Command("stream")
    .summary("write the batches that training would read, or one machine's share of them")
    .description(
      "Writes the sequences of a mixture of prepared datasets, or of one, in the order in which training draws them. Of N\n" +
        "machines each writes its own share: none is written twice or left out.",
    )
    .argument("[mixture]", "a mixture.yaml, or the folder of a prepared dataset")
    .option("--mix <sources>", "or: name=weight:path, with commas between several; may be repeated", collect)
    .requiredOption("--steps <n>", "steps; each is --batch sequences on each machine", wholeNumber(1))
    .addOption(shareOption("machine I of N, counted from 0 (default: 0/1)"))
    .option("--batch <n>", "sequences a step", wholeNumber(1), 32)
    .option("-T, --sequence <n>", "tokens of a sequence (default: what the dataset was packed for)", wholeNumber(1))
    .option("-s, --seed <n>", "of the order", wholeNumber(0), 0)
    .addOption(new Option("--split <name>", "which part").choices(["train", "valid"]).default("train"))
    .addOption(
      new Option(
        "--format <name>",
        "a JSON line for each sequence (source, tokens, targets), or int32: each step's tokens, then its targets",
      )
        .choices(["jsonl", "i32"])
        .default("jsonl"),
    )
    .option("--position <file>", "go on from the position in it, if it is there; where it ends is written there")
    .option("-o, --output <file>", "write there, not to the standard output")
    .addHelpText(
      "after",
      `
Targets are the next tokens, and -100 where there is none. The same seed, batch and number of machines give the same
sequences; a position is good for any batch and number of machines.

Examples:
  bitnet data stream stories --sequence 256 --steps 2 --batch 4
  bitnet data stream mixture.yaml -T 2048 --share 3/16 --steps 1000 --format i32 -o step-0-to-999.3.i32
  bitnet data stream mixture.yaml -T 2048 --steps 500 --position at.json --format i32 | my-trainer`,
    )
    .action(run);
}

async function run(path: string | undefined, options: StreamOptions): Promise<void> {
  const { isDataset, openMixture, openSplit, parseMix, pathsOf, readMixture } = await import("../../data/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  const { exists, writeAtomically } = await import("../../platform/files.ts");
  if ((path === undefined) === (options.mix === undefined))
    throw new UsageError("name a mixture.yaml or a dataset's folder, or the sources with --mix");
  const spec: MixtureSpec =
    path === undefined
      ? parseMix(options.mix!)
      : isDataset(path)
        ? { sources: [{ name: "data", weight: 1, path }] }
        : readMixture(path);
  const folders = spec.sources.flatMap(pathsOf);
  const text = folders.find((folder) => !isDataset(folder));
  if (text !== undefined)
    throw new UsageError(`${text}: is no prepared dataset; prepare it first: bitnet data prepare ${text} -o FOLDER`);
  const packedFor = () => {
    const split = openSplit(folders[0], options.split);
    split.close();
    return split.sequence ?? split.manifest.packing?.sequence ?? null;
  };
  const sequence = options.sequence ?? packedFor();
  if (sequence === null)
    throw new UsageError(`${folders[0]}: was not packed for one sequence length; name yours with --sequence`);
  const { batch, steps, position, format, share } = options;
  const mixture = openMixture({
    kind: "mixture",
    sources: spec.sources.map((source) => ({
      name: source.name,
      weight: source.weight,
      folders: pathsOf(source),
      curriculum: source.curriculum ?? true,
    })),
    split: options.split,
    curriculum: spec.curriculum ?? null,
    batch,
    sequence,
    seed: options.seed,
    documentStarts: false,
    lossAfter: null,
    ...(share ? { share } : {}),
  });
  const interruption = listenForInterrupts();
  const line = createProgressLine("streaming");
  const output = openOutput(options.output);
  try {
    if (position !== undefined && exists(position)) mixture.restore(await readPosition(position));
    for (let step = 0; step < steps; step++) {
      const drawn = mixture.next() as MixtureBatch;
      if (format === "i32") {
        output.bytes(int32Bytes(drawn.tokens_BT));
        output.bytes(int32Bytes(drawn.targets_BT));
      } else output.text(linesOf(drawn, spec, sequence));
      line.update(step + 1, steps, `${formatBytes(output.sizeBytes)}`);
      await output.drained();
      await nextTurn();
      interruption.signal.throwIfAborted();
    }
    await output.finish();
    if (position !== undefined) writeAtomically(position, `${JSON.stringify(mixture.state())}\n`);
    line.close();
    if (options.output !== undefined)
      process.stderr.write(
        `bitnet: ${countOf(steps * batch, "sequence")} of ${countOf(sequence, "token")}, ${formatBytes(output.sizeBytes)} in ${options.output}\n`,
      );
  } catch (error) {
    output.abort();
    throw error;
  } finally {
    line.close();
    interruption.release();
    mixture.close?.();
  }
}

async function readPosition(path: string): Promise<MixturePosition> {
  const { readWhole } = await import("../../platform/files.ts");
  const { FormatError } = await import("../../platform/errors.ts");
  try {
    const value = JSON.parse(new TextDecoder().decode(readWhole(path, 2 ** 20))) as MixturePosition;
    if (value.kind !== "mixture" || !Array.isArray(value.sources)) throw new SyntaxError("it has no sources");
    return value;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new FormatError(`${path}: is no position that bitnet data stream wrote (${cause.message})`, { cause });
  }
}

function linesOf(
  { tokens_BT, targets_BT, source_B }: MixtureBatch,
  { sources }: MixtureSpec,
  sequence: number,
): string {
  let lines = "";
  for (const [b, source] of source_B.entries()) {
    const row = (values: Int32Array) => [...values.subarray(b * sequence, (b + 1) * sequence)];
    lines += `${JSON.stringify({ source: sources[source].name, tokens: row(tokens_BT), targets: row(targets_BT) })}\n`;
  }
  return lines;
}

function int32Bytes(values: Int32Array): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setInt32(4 * i, value, true);
  return bytes;
}
