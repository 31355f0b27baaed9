/** What a worker thread of encode-documents.ts runs: makes the tokenizer once, then encodes groups of texts. */
import type { JobHandler } from "../platform/workers.ts";
import { createTokenizer } from "./load.ts";
import { type EncodeOptions, IdBuffer, TokenizerBase, type TokenizerEngine } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";

export interface EncodeSetup {
  json: TokenizerJson;
  name: string;
  engine: TokenizerEngine;
  options: EncodeOptions;
}

/** The tokens of several texts end to end: those of text i are ids[ends[i - 1], ends[i]). */
export interface EncodedTexts {
  ids: Int32Array<ArrayBuffer>;
  ends: Int32Array<ArrayBuffer>;
}

export function createHandler(setup: EncodeSetup): JobHandler<string[], EncodedTexts> {
  const tokenizer = createTokenizer(setup.json, { name: setup.name, engine: setup.engine });
  if (!(tokenizer instanceof TokenizerBase)) throw new Error("encode-worker: a tokenizer of another kind");
  return (texts) => {
    const out = new IdBuffer();
    const ends = new Int32Array(texts.length);
    for (const [i, text] of texts.entries()) {
      tokenizer.encodeInto(text, out, setup.options);
      ends[i] = out.length;
    }
    const ids = out.ids.slice(0, out.length);
    return { result: { ids, ends }, transfer: [ids.buffer, ends.buffer] };
  };
}
