/** What a worker thread of encode-documents.ts runs: makes the encoder once, then encodes groups of texts. */
import type { JobHandler } from "../platform/workers.ts";
import { Encoder, type EncoderTables } from "./encoder.ts";
import { IdBuffer } from "./id-buffer.ts";
import { createTokenizer } from "./load.ts";
import type { EncodeOptions, Tokenizer } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";
import { SLACK_BEFORE, Utf8Buffer } from "./utf8-buffer.ts";

export interface EncodeSetup {
  /** An encoder's tables; or the file of a tokenizer that general.ts runs. */
  of: { tables: EncoderTables } | { json: TokenizerJson; name: string };
  options: EncodeOptions;
}

/** Texts, or parts of long ones, as UTF-8 end to end with slack around: part i is bytes[ends[i - 1], ends[i]). */
export interface TextGroup {
  bytes: Uint8Array<ArrayBuffer>;
  ends: Int32Array<ArrayBuffer>;
  /** UTF-16 units of its text before part i. */
  unitsBefore: Int32Array<ArrayBuffer>;
  /** 1 where part i is its text's last. */
  isLast: Uint8Array<ArrayBuffer>;
}

/** The tokens of the parts end to end: those of part i are ids[ends[i - 1], ends[i]). */
export interface EncodedGroup {
  ids: Int32Array<ArrayBuffer>;
  ends: Int32Array<ArrayBuffer>;
}

export type GroupHandler = JobHandler<TextGroup, EncodedGroup>;

export function createHandler({ of, options }: EncodeSetup): GroupHandler {
  return "tables" in of
    ? handlerOf(new Encoder(of.tables), options)
    : handlerOfTokenizer(createTokenizer(of.json, { name: of.name, engine: "general" }), options);
}

export function handlerOf(encoder: Encoder, options: EncodeOptions): GroupHandler {
  const out = new IdBuffer();
  return (group) => {
    const text = new Utf8Buffer(group.bytes);
    out.length = 0;
    return encoded(group, out, (start, end, unitsBefore, isLast) =>
      encoder.encode(text, start, end, out, options, { unitsBefore, isLast }),
    );
  };
}

/** A tokenizer that wants strings; texts come whole. */
export function handlerOfTokenizer(tokenizer: Tokenizer, options: EncodeOptions): GroupHandler {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (group) => {
    const out = new IdBuffer();
    return encoded(group, out, (start, end) => {
      const ids = tokenizer.encode(decoder.decode(group.bytes.subarray(start, end)), options);
      out.reserve(ids.length);
      out.ids.set(ids, out.length);
      out.length += ids.length;
    });
  };
}

function encoded(
  { ends: textEnds, unitsBefore, isLast }: TextGroup,
  out: IdBuffer,
  encode: (start: number, end: number, unitsBefore: number, isLast: boolean) => void,
) {
  const ends = new Int32Array(textEnds.length);
  for (let i = 0; i < ends.length; i++) {
    encode(i > 0 ? textEnds[i - 1] : SLACK_BEFORE, textEnds[i], unitsBefore[i], isLast[i] === 1);
    ends[i] = out.length;
  }
  const ids = out.ids.slice(0, out.length);
  return { result: { ids, ends }, transfer: [ids.buffer, ends.buffer] };
}
