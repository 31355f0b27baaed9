/**
 * A filter of one's own for `bitnet data filter` and `bitnet data prepare`: drops documents that name a word too often.
 *
 *   node examples/own-filter.mjs your-text.txt
 *   bitnet data filter your-text.txt -o kept.jsonl --filters no-shouting-example --extension examples/own-filter.mjs
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { filterDocuments, createFilters } from "bitnet.ts/corpus";
import { defineFilter, useExtension, z } from "bitnet.ts/extensions";

/** @type {import("bitnet.ts/extensions").FilterKind} */
export const noShouting = {
  name: "no-shouting-example",
  about: "drops documents with too many words in capitals",
  schema: z.strictObject({ most: z.number().min(0).max(1).optional() }),
  make: ({ most = 0.2 }) =>
    defineFilter("no-shouting-example", { most }, (document) => {
      const words = document.text.match(/\p{L}{2,}/gu) ?? [];
      const share = words.filter((word) => word === word.toUpperCase()).length / Math.max(1, words.length);
      return share > most ? { drop: "shouting", detail: `${(100 * share).toFixed(0)} % of the words` } : document;
    }),
};

/** @type {import("bitnet.ts/extensions").Extension} */
const extension = { filters: [noShouting] };
export default extension;

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [file] = process.argv.slice(2);
  if (!file) throw new Error("name a text file");
  useExtension(extension);
  const stages = await createFilters([{ "no-shouting-example": { most: 0.3 } }]);
  const report = await filterDocuments({ sources: [file], stages });
  for (const { name, documentsIn, documentsOut } of report.stages)
    console.log(`${name}: ${documentsIn} documents in, ${documentsOut} out`);
}
