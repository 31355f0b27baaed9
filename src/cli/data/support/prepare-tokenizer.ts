/** Tokenizers for `bitnet data prepare`: of a file, of the hub, or trained on the text; kept beside the shards. */
import type { Recipe, TokenizerSource } from "../../../corpus/index.ts";
import type { LocateOptions } from "../../../corpus/index.ts";

interface Use {
  threads?: number;
  signal?: AbortSignal;
}

/** A tokenizer that is there: a path, or hf://org/name/tokenizer.json. */
export async function tokenizerOfFile(
  path: string,
  { threads, signal, remote }: Use & { remote?: Omit<LocateOptions, "format"> },
): Promise<TokenizerSource> {
  const { createDocumentEncoder, loadTokenizer, saveTokenizer } = await import("../../../tokenizer/index.ts");
  const { fetchHubFile, isHubFile } = await import("../../../platform/hub-file.ts");
  const hint = "name a copy on this disk with --tokenizer FILE";
  const file = isHubFile(path) ? await fetchHubFile(path, remote?.hub ?? {}, hint) : path;
  const tokenizer = loadTokenizer(file);
  return {
    identity: tokenizer.hash,
    trains: false,
    async open(folder) {
      saveTokenizer(tokenizer, folder);
      return createDocumentEncoder(tokenizer, { threads, signal });
    },
  };
}

/** Byte-level BPE of the training text. */
export function tokenizerOfText(
  { vocabSize, sampleBytes }: Extract<Recipe["tokenizer"], { train: string }>,
  { threads, signal }: Use,
): TokenizerSource {
  return {
    identity: `bpe ${vocabSize} ${sampleBytes ?? "all"}`,
    trains: true,
    sampleBytes,
    async open(folder, documents) {
      const { createDocumentEncoder, loadTokenizer, saveTokenizer, trainBpe } = await import(
        "../../../tokenizer/index.ts"
      );
      const { exists, joinPath } = await import("../../../platform/files.ts");
      const { UsageError } = await import("../../../platform/errors.ts");
      if (!exists(joinPath(folder, "tokenizer.json"))) {
        const { tokenizer, report } = await trainBpe(documents(), { vocabSize, signal });
        if (report.vocabSize < vocabSize)
          throw new UsageError(
            `the text supports a vocabulary of ${report.vocabSize} tokens, and ${vocabSize} are asked for; give more text, or a smaller vocabulary`,
          );
        saveTokenizer(tokenizer, folder);
      }
      return createDocumentEncoder(loadTokenizer(folder), { threads, signal });
    },
  };
}
