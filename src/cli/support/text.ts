/** A text that a model is measured on: the options that name it, and its tokens. Of eval, sensitivity and calibrate. */
import { type Command, Option } from "commander";
import type { SourceFormat } from "../../corpus/index.ts";
import type { TokenStream } from "../../data/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";

export interface TextFlags {
  data?: string[];
  format?: SourceFormat;
  split: "train" | "valid";
  separator?: string;
  field?: string;
  cacheDir: string;
  threads?: number;
}

/** -d, --format, --split, --separator and --field. */
export function addTextOptions(command: Command): Command {
  return command
    .option(
      "-d, --data <paths...>",
      "text: .txt, .jsonl, WikiText (.raw, .tokens), also .gz; folders of them; or one prepared dataset",
    )
    .addOption(
      new Option("--format <name>", "what the files are, where their names do not tell").choices([
        "text",
        "jsonl",
        "wikitext",
      ]),
    )
    .addOption(new Option("--split <name>", "of a prepared dataset").choices(["train", "valid"]).default("valid"))
    .option("--separator <text>", 'between documents of .txt files (default: "<|endoftext|>")')
    .option("--field <name>", 'with the text in .jsonl files (default: "text")');
}

/** A prepared dataset's split, or files, encoded (or found encoded) in the cache. */
export async function openText(
  tokenizer: Tokenizer,
  options: TextFlags & { data: string[] },
  signal: AbortSignal,
): Promise<TokenStream> {
  const { prepareTokens } = await import("../../corpus/index.ts");
  const { isDataset, openTokens, readManifest } = await import("../../data/index.ts");
  const { DataError } = await import("../../platform/errors.ts");
  const { data, split, separator, field, format, cacheDir } = options;
  if (data.length === 1 && isDataset(data[0])) {
    if (readManifest(data[0]).tokenizer.hash !== tokenizer.hash)
      throw new DataError(
        `${data[0]}: was encoded with another tokenizer than the model's; evaluate on the text itself, or prepare it with the model's tokenizer`,
      );
    return openTokens(data[0], split);
  }
  const { createDocumentEncoder } = await import("../../tokenizer/index.ts");
  const encoder = createDocumentEncoder(tokenizer, { threads: options.threads, signal });
  try {
    const prepared = await prepareTokens({
      sources: data,
      tokenizer: encoder,
      cacheDir,
      separator,
      field,
      format,
      signal,
    });
    return openTokens(prepared.folder, "train");
  } finally {
    await encoder.close();
  }
}
