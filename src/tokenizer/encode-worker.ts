/** What a worker thread of encode-documents.ts runs: makes the tokenizer once, then encodes groups of texts. */
import type { JobHandler } from "../platform/workers.ts";
import { createTokenizer } from "./load.ts";
import { type EncodeOptions, IdBuffer, type Tokenizer, TokenizerBase, type TokenizerEngine } from "./tokenizer.ts";
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

export function createHandler({ json, name, engine, options }: EncodeSetup): JobHandler<string[], EncodedTexts> {
  return handlerFor(createTokenizer(json, { name, engine }), options);
}

/** The same with a tokenizer that there is already. */
export function handlerFor(tokenizer: Tokenizer, options: EncodeOptions): JobHandler<string[], EncodedTexts> {
  if (!(tokenizer instanceof TokenizerBase)) throw new Error("encode-worker: a tokenizer of another kind");
  return (texts) => {
    const out = new IdBuffer();
    const ends = new Int32Array(texts.length);
    for (const [i, text] of texts.entries()) {
      tokenizer.encodeInto(text, out, options);
      ends[i] = out.length;
    }
    const ids = out.ids.slice(0, out.length);
    return { result: { ids, ends }, transfer: [ids.buffer, ends.buffer] };
  };
}
