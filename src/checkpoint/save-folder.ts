/** A model as a folder of its own, without training state: what imports write. */
import type { Transformer } from "../model/index.ts";
import { writeFolderAtomically } from "../platform/files.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { holdsModelAlone, writeModelFiles } from "./model-folder.ts";

/**
 * Writes a model's folder (model-folder.ts), whole or not at all. A folder that holds nothing but a model's files is
 * replaced.
 *
 * @param source the folder that the model came from, for what its tokenizer's files say beyond ours
 * @throws FileError when the disk refuses, or the folder holds other things
 */
export async function saveModelFolder(
  path: string,
  model: Transformer,
  tokenizer: Tokenizer | null,
  source?: string,
): Promise<void> {
  await writeFolderAtomically(
    path,
    async (folder) => void (await writeModelFiles(folder, model, tokenizer, { source })),
    {
      mayReplace: holdsModelAlone,
    },
  );
}
