// Oracle: perplexities of the first two pages of WikiText-2's validation file by a PyTorch program on the same weights
// (test/fixtures/log-likelihood/README.md): its own pages, detokeniser, windows and tokenizer (Hugging Face's `tokenizers`).
// Bounds: full: float32 here, float64 there. bitnet: int8 codes that lie at a rounding boundary fall to one side or the other.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createBackend } from "../backends/index.ts";
import { loadModel } from "../exchange/index.ts";
import { prepareTokens, readDocuments } from "../corpus/index.ts";
import { openTokens } from "../data/index.ts";
import { Runtime } from "../tensor/index.ts";
import { createDocumentEncoder } from "../tokenizer/index.ts";
import { evaluateLoss } from "./loss.ts";
import { evaluateWikiText } from "./wikitext.ts";

const fixture = resolve(import.meta.dirname, "../../test/fixtures/log-likelihood");

interface Expected {
  wikitext: Record<"pages" | "tokens" | "words" | "bytes" | "word_perplexity" | "bits_per_byte", number>;
  sliding: { stride: number; tokens: number; bytes: number; loss: number }[];
}
const expected = JSON.parse(readFileSync(join(fixture, "wikitext.json"), "utf8")) as Record<string, Expected>;

/** From the first heading of level 1 to the line of the third, the break before it left out. */
function firstPages(): string {
  const text = readFileSync(sharedPath("data/wikitext2/wiki.valid.raw"), "utf8");
  const headings = [...text.matchAll(/^ = [^=\n]+ = $/gm)];
  return text.slice(headings[0].index, headings[2].index - 1);
}

for (const variant of ["full", "bitnet"] as const)
  testShared(
    `perplexities of WikiText-2 by rolling and by sliding windows agree with PyTorch's: ${variant}`,
    ["data/wikitext2/wiki.valid.raw"],
    async () => {
      const folder = temporaryFolder();
      const path = join(folder, "pages.txt");
      writeFileSync(path, firstPages());
      const backend = await createBackend({ backend: "auto", threads: 1 });
      const { model, tokenizer } = await loadModel(join(fixture, variant), new Runtime(backend));
      const { wikitext, sliding } = expected[variant];
      const relative = variant === "full" ? 1e-6 : 2e-4;
      const near = (got: number, want: number) => expect(Math.abs(got / want - 1)).toBeLessThan(relative);

      const pages = readDocuments([path], { format: "wikitext" });
      const rolled = await evaluateWikiText(model, tokenizer!, pages, { batch: 4, startToken: tokenizer!.endOfText });
      const { pages: pageCount, tokens, words, bytes } = wikitext;
      expect(rolled).toMatchObject({ pages: pageCount, tokens, words, bytes });
      near(rolled.bitsPerByte, wikitext.bits_per_byte);
      near(Math.log(rolled.wordPerplexity), Math.log(wikitext.word_perplexity));

      const encoder = createDocumentEncoder(tokenizer!, { threads: 1 });
      const prepared = await prepareTokens({
        sources: [path],
        tokenizer: encoder,
        cacheDir: folder,
        separator: "none",
      });
      await encoder.close();
      const stream = openTokens(prepared.folder, "train");
      for (const want of sliding) {
        const got = await evaluateLoss(model, stream, { batch: 4, stride: want.stride });
        expect(got).toMatchObject({ tokens: want.tokens, bytes: want.bytes });
        near(got.lossNats, want.loss);
      }
      stream.close();
      backend.close();
    },
    60_000,
  );
