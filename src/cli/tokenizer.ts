/** `bitnet tokenizer train | encode | decode`. The work is tokenizer/'s and data/'s; here are options, files and lines. */
import { Command, Option } from "commander";
import type { TrainedTokenizer, TrainProgress } from "../tokenizer/index.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatRate, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";
import { openOutput, readInput, type TokenFormat, tokenFormats } from "./support/token-files.ts";

export function tokenizerCommand(): Command {
  return new Command("tokenizer")
    .summary("train a tokenizer; turn text into tokens and back")
    .description(
      "Trains a tokenizer on a text, or runs one: ours, or any that Hugging Face, LLaMA-2 or LLaMA-3 came with.",
    )
    .addCommand(trainCommand())
    .addCommand(encodeCommand())
    .addCommand(decodeCommand())
    .addHelpText(
      "after",
      `
Examples:
  bitnet tokenizer train --data stories.txt --vocab-size 2048 -o tokenizer.json
  bitnet tokenizer encode -t tokenizer.json "Once upon a time"
  bitnet tokenizer decode -t tokenizer.json 422 434 259 395

docs/tokenizers.md tells which files are read, and what is exact.`,
    );
}

interface TrainCommandOptions {
  data: string[];
  type: "bpe" | "char";
  vocabSize?: number;
  special?: string[];
  unknown?: "error" | "bytes";
  minFrequency?: number;
  separator?: string;
  field?: string;
  output: string;
}

function trainCommand(): Command {
  return new Command("train")
    .summary("train a tokenizer on text, save it as a Hugging Face tokenizer.json")
    .requiredOption("-d, --data <paths...>", "text: .txt, .jsonl, WikiText (.raw, .tokens), also .gz; folders of them")
    .addOption(
      new Option("--type <name>", "bpe: byte pairs, any text; char: one token a character")
        .choices(["bpe", "char"])
        .default("bpe"),
    )
    .option(
      "--vocab-size <n>",
      "tokens: special tokens + 256 bytes + merges (default: 2048; char: as many as needed)",
      wholeNumber(1),
    )
    .option(
      "--special <tokens...>",
      'tokens that stand for no text, the first between documents (default: "<|endoftext|>")',
    )
    .option("--min-frequency <n>", "bpe: stop when no pair occurs so often (default: 2)", wholeNumber(1))
    .addOption(
      new Option("--unknown <what>", "char: on a character that the text had not (default: error)").choices([
        "error",
        "bytes",
      ]),
    )
    .option("--separator <text>", 'between documents of .txt files (default: "<|endoftext|>")')
    .option("--field <name>", 'with the text in .jsonl files (default: "text")')
    .option("-o, --output <file>", "a file, or a folder (which gets a tokenizer_config.json too)", "tokenizer.json")
    .addHelpText(
      "after",
      `
The same text gives the same tokenizer, byte for byte. Of a text with too few pairs the tokenizer has fewer tokens than
asked for, and the output says how many.

Examples:
  bitnet tokenizer train --data stories.txt.gz --vocab-size 2048
  bitnet tokenizer train --data a.jsonl b.jsonl --vocab-size 32000 --special "<|endoftext|>" "<|user|>" -o mine/tokenizer.json
  bitnet tokenizer train --type char --data sums.txt --separator line -o chars.json`,
    )
    .action(runTrain);
}

async function runTrain(options: TrainCommandOptions): Promise<void> {
  const { readDocuments, expandSources } = await import("../corpus/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  const { describePath } = await import("../platform/files.ts");
  const { systemClock } = await import("../platform/system.ts");
  const { saveTokenizer, trainBpe, trainCharacters } = await import("../tokenizer/index.ts");
  const { type, special, separator, field } = options;
  if (type === "bpe" && options.unknown)
    throw new UsageError("--unknown is for --type char; byte pairs spell any text");
  if (type === "char" && options.minFrequency) throw new UsageError("--min-frequency is for --type bpe; leave it out");
  const files = expandSources(options.data);
  const totalBytes = files.reduce((sum, file) => sum + describePath(file).sizeBytes, 0);
  const interruption = listenForInterrupts();
  const line = createProgressLine("training");
  const start = systemClock.monotonicMs();
  let bytesRead = 0;
  const documents = readDocuments(files, {
    separator,
    field,
    onRead: (bytes) => {
      bytesRead += bytes;
    },
  });
  const onProgress = ({ phase, characters, tokens, vocabSize }: TrainProgress) => {
    const rate = (1000 * characters) / Math.max(1, systemClock.monotonicMs() - start);
    if (phase === "read") line.update(bytesRead, totalBytes, `read, ${formatRate(rate, "characters")}`);
    else line.update(tokens, vocabSize, `${formatCount(tokens)} of ${countOf(vocabSize, "token")}`);
  };
  try {
    const shared = { specialTokens: special, onProgress, signal: interruption.signal };
    const trained =
      type === "bpe"
        ? await trainBpe(documents, {
            ...shared,
            vocabSize: options.vocabSize ?? 2048,
            minFrequency: options.minFrequency,
          })
        : await trainCharacters(documents, { ...shared, unknown: options.unknown, maxVocabSize: options.vocabSize });
    line.close();
    const paths = saveTokenizer(trained.tokenizer, options.output);
    printTrained(type, trained, paths, systemClock.monotonicMs() - start);
  } finally {
    line.close();
    interruption.release();
  }
}

function printTrained(
  type: "bpe" | "char",
  { tokenizer, report }: TrainedTokenizer,
  paths: string[],
  ms: number,
): void {
  const rate = formatRate((1000 * report.characters) / Math.max(1, ms), "characters");
  const rows = [
    ["read", `${countOf(report.documents, "document")}, ${countOf(report.characters, "character")}`],
    ["found", `${formatCount(report.distinct)} different ${type === "bpe" ? "words" : "characters"}`],
    ["tokens", formatCount(report.vocabSize)],
    ["took", `${formatDuration(ms)}, ${rate}`],
    ["hash", tokenizer.hash],
    ["saved", paths.join(", ")],
  ];
  process.stdout.write(formatTable(rows));
  if (type === "bpe" && report.vocabSize < report.requestedVocabSize)
    process.stderr.write(
      `bitnet: ${countOf(report.vocabSize, "token")}, not ${formatCount(report.requestedVocabSize)}: the text has no more pairs that occur often enough; give more text, or lower --min-frequency\n`,
    );
}

interface EncodeCommandOptions {
  tokenizer: string;
  file?: string;
  data?: string[];
  separator?: string;
  field?: string;
  format: TokenFormat | "tokens";
  output?: string;
  threads?: number;
  addSpecialTokens?: boolean;
  parseSpecialTokens: boolean;
}

const tokenizerOption = ["-t, --tokenizer <path>", "tokenizer.json, tokenizer.model, or a folder with one"] as const;

function encodeCommand(): Command {
  return new Command("encode")
    .summary("text to tokens")
    .description("Encodes the text given; or a file, or the standard input, as it is; or the documents of text files.")
    .argument("[text]", "the text; without it, --file, --data or the standard input")
    .requiredOption(...tokenizerOption)
    .option("--file <file>", "the whole file is the text (UTF-8)")
    .option(
      "-d, --data <paths...>",
      "documents of .txt, .jsonl, also .gz, encoded over threads: one line each, or each followed by end-of-text",
    )
    .option("--separator <text>", 'between documents of .txt files (default: "<|endoftext|>")')
    .option("--field <name>", 'with the text in .jsonl files (default: "text")')
    .addOption(
      new Option("--format <name>", "text: ids; tokens: ids and what they stand for; u16, u32: little-endian binary")
        .choices([...tokenFormats, "tokens"])
        .default("text"),
    )
    .option("-o, --output <file>", "write there, not to the standard output")
    .option("--add-special-tokens", "put around each text what the tokenizer puts there (LLaMA: begin of text)")
    .option("--no-parse-special-tokens", "take <|endoftext|> and the like in the text as ordinary text")
    .option(
      "--threads <n>",
      "worker threads for --data; 0: none (default: one for each processor)",
      wholeNumber(0, 256),
    )
    .addHelpText(
      "after",
      `
Examples:
  bitnet tokenizer encode -t tokenizer.json "Once upon a time"
  bitnet tokenizer encode -t tokenizer.json --format tokens "Once upon a time"
  bitnet tokenizer encode -t llama/tokenizer.model --file poem.txt | bitnet tokenizer decode -t llama/tokenizer.model
  bitnet tokenizer encode -t tokenizer.json --data stories.txt.gz --format u16 -o stories.bin`,
    )
    .action(runEncode);
}

async function runEncode(text: string | undefined, options: EncodeCommandOptions): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { loadTokenizer } = await import("../tokenizer/index.ts");
  const given = [text !== undefined, options.file !== undefined, options.data !== undefined].filter(Boolean).length;
  if (given > 1) throw new UsageError("give the text, --file or --data, and only one of them");
  const wrong = (["separator", "field", "threads"] as const).find((name) => options[name] !== undefined);
  if (wrong && !options.data) throw new UsageError(`--${wrong} has a meaning only with --data`);
  const tokenizer = loadTokenizer(options.tokenizer);
  const { format, addSpecialTokens, parseSpecialTokens } = options;
  if (format === "u16" && tokenizer.vocabSize > 65536)
    throw new UsageError(
      `--format u16 holds ids to 65535, but the tokenizer has ${tokenizer.vocabSize} tokens; use u32`,
    );
  if (options.data) return encodeData(options);
  const whole = text ?? (await readInput(options.file)).text();
  const ids = tokenizer.encode(whole, { addSpecialTokens, parseSpecialTokens });
  const output = openOutput(options.output);
  if (format === "tokens")
    output.text(
      formatTable(
        Array.from(ids, (id) => [String(id), JSON.stringify(tokenizer.tokenOf(id))]),
        [0],
      ),
    );
  else output.ids(ids, format);
  await output.finish();
}

async function encodeData(options: EncodeCommandOptions): Promise<void> {
  const { readDocuments, expandSources } = await import("../corpus/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  const { describePath } = await import("../platform/files.ts");
  const { systemClock } = await import("../platform/system.ts");
  const { encodeDocuments, loadTokenizer } = await import("../tokenizer/index.ts");
  const { format, addSpecialTokens, parseSpecialTokens, threads, separator, field } = options;
  if (format === "tokens") throw new UsageError("--format tokens is for one text; with --data use text, u16 or u32");
  const tokenizer = loadTokenizer(options.tokenizer);
  const files = expandSources(options.data!);
  const totalBytes = files.reduce((sum, file) => sum + describePath(file).sizeBytes, 0);
  const interruption = listenForInterrupts();
  const { signal } = interruption;
  const line = createProgressLine("encoding");
  const start = systemClock.monotonicMs();
  const counts = { read: 0, characters: 0, documents: 0, tokens: 0 };
  async function* counted() {
    const onRead = (bytes: number) => {
      counts.read += bytes;
    };
    for await (const document of readDocuments(files, { separator, field, onRead })) {
      counts.characters += document.length;
      yield document;
    }
  }
  const rate = () =>
    formatRate((1000 * counts.characters) / Math.max(1, systemClock.monotonicMs() - start), "characters");
  const output = openOutput(options.output);
  try {
    for await (const ids of encodeDocuments(tokenizer, counted(), {
      threads,
      signal,
      addSpecialTokens,
      parseSpecialTokens,
    })) {
      output.ids(ids, format);
      if (format !== "text") output.ids([tokenizer.endOfText!], format);
      await output.drained();
      counts.documents++;
      counts.tokens += ids.length;
      if (counts.documents % 256 === 0) line.update(counts.read, totalBytes, rate());
    }
    await output.finish();
    line.close();
    process.stderr.write(
      `bitnet: ${countOf(counts.documents, "document")}, ${countOf(counts.tokens, "token")}, ${rate()}${options.output ? `, ${formatBytes(output.sizeBytes)} in ${options.output}` : ""}\n`,
    );
  } catch (error) {
    output.abort();
    throw error;
  } finally {
    line.close();
    interruption.release();
  }
}

interface DecodeCommandOptions {
  tokenizer: string;
  file?: string;
  format: TokenFormat;
  skipSpecialTokens?: boolean;
  output?: string;
}

function decodeCommand(): Command {
  return new Command("decode")
    .summary("tokens to text")
    .description("Decodes the ids given, or those in a file, or on the standard input.")
    .argument("[ids...]", "the ids; without them, --file or the standard input")
    .requiredOption(...tokenizerOption)
    .option("--file <file>", "the ids are in this file")
    .addOption(
      new Option(
        "--format <name>",
        "of the file or the standard input; text: ids with spaces or commas; u16, u32: binary",
      )
        .choices([...tokenFormats])
        .default("text"),
    )
    .option("--skip-special-tokens", "leave out <|endoftext|> and the like")
    .option("-o, --output <file>", "write there, not to the standard output")
    .addHelpText(
      "after",
      `
The text comes out as it is, with no newline added (but on a terminal).

Examples:
  bitnet tokenizer decode -t tokenizer.json 422 434 259 395
  bitnet tokenizer decode -t tokenizer.json --file stories.bin --format u16 -o stories.txt`,
    )
    .action(runDecode);
}

async function runDecode(words: string[], options: DecodeCommandOptions): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { loadTokenizer } = await import("../tokenizer/index.ts");
  const { parseIds } = await import("./support/token-files.ts");
  if (words.length > 0 && options.file !== undefined) throw new UsageError("give the ids or --file, not both");
  if (words.length > 0 && options.format !== "text")
    throw new UsageError(`--format ${options.format} is for a file or the standard input; leave it out`);
  const tokenizer = loadTokenizer(options.tokenizer);
  const ids =
    words.length > 0 ? parseIds(words.join(" "), "the ids") : (await readInput(options.file)).ids(options.format);
  for (let position = 0; position < ids.length; position++)
    if (tokenizer.tokenOf(ids[position]) === undefined)
      throw new UsageError(
        `tokenizer ${tokenizer.name}: cannot decode id ${ids[position]} at position ${position}; expected 0 to ${tokenizer.vocabSize - 1}`,
      );
  const output = openOutput(options.output);
  output.text(tokenizer.decode(ids, { skipSpecialTokens: options.skipSpecialTokens }));
  if (!options.output && process.stdout.isTTY) output.text("\n");
  await output.finish();
}
