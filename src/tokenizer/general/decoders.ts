/**
 * The decoders of a tokenizer.json, as the Rust library `tokenizers` runs them: tokens to the pieces of a text. Called by
 * general.ts; a type that is not here is refused when the file is opened.
 */
import { FormatError } from "../../platform/errors.ts";
import { tokenToBytes } from "../byte-alphabet.ts";
import type { Component } from "../tokenizer-json.ts";
import { finderOf } from "./patterns.ts";
import { metaspaceSettings } from "./pre-tokenizers.ts";

export type Decoder = (tokens: string[]) => string[];

/** @param where named in errors */
export function createDecoder(component: Component | null, where: string): Decoder {
  if (component === null) return (tokens) => [tokens.join(" ")];
  switch (component.type) {
    case "Sequence": {
      const steps = (component.decoders as Component[]).map((step) => createDecoder(step, where));
      return (tokens) => steps.reduce((now, step) => step(now), tokens);
    }
    case "ByteLevel":
      return byteLevel;
    case "ByteFallback":
      return byteFallback;
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "WordPiece":
      return wordPiece(component);
    case "Metaspace": {
      const { mark, scheme } = metaspaceSettings(component);
      return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 && scheme !== "never" ? "" : " "));
    }
    case "BPEDecoder": {
      const suffix = (component.suffix ?? "</w>") as string;
      return (tokens) => tokens.map((token, i) => replaceAll(token, suffix, i === tokens.length - 1 ? "" : " "));
    }
    case "CTC":
      return ctc(component);
    case "Replace": {
      const find = finderOf(component.pattern as { String?: string; Regex?: string }, where);
      const content = component.content as string;
      return (tokens) =>
        tokens.map((token) =>
          find(token)
            .map(({ start, end, isMatch }) => (isMatch ? content : token.slice(start, end)))
            .join(""),
        );
    }
    case "Strip":
      return strip(component);
    default:
      throw new FormatError(`${where}: the decoder ${JSON.stringify(component.type)} is not supported`);
  }
}

/** Rust's replace: an empty text is found between all characters, as by JavaScript's. */
const replaceAll = (text: string, old: string, replacement: string) => text.split(old).join(replacement);

const utf8 = new TextEncoder();

/** A token spelled in the byte alphabet, which a whole is; any other is taken as it is. */
const byteLevel: Decoder = (tokens) => {
  const bytes: number[] = [];
  for (const token of tokens) {
    for (const byte of tokenToBytes(token) ?? utf8.encode(token)) bytes.push(byte);
  }
  return [new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes))];
};

const byteToken = /^<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>$/;

/** The byte that a token "<0x41>" stands for; -1 for any other token. */
export function byteOfToken(token: string): number {
  const match = token.length === 6 ? byteToken.exec(token) : null;
  return match ? Number.parseInt(match[1], 16) : -1;
}

/** The text of a run of bytes: where it is not UTF-8 as a whole, U+FFFD for each byte. */
export function textOfBytes(bytes: ArrayLike<number>): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return "\ufffd".repeat(bytes.length);
  }
}

const byteFallback: Decoder = (tokens) => {
  const decoded: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length > 0) {
      const text = textOfBytes(bytes);
      // A run that is no text is as many pieces as bytes, which Strip behind it sees.
      if (text === "\ufffd".repeat(bytes.length)) decoded.push(...text);
      else decoded.push(text);
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = byteOfToken(token);
    if (byte >= 0) {
      bytes.push(byte);
      continue;
    }
    flush();
    decoded.push(token);
  }
  flush();
  return decoded;
};

/** Spaces that writing does not have, taken out as BERT's code does. */
const cleanUps = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] as const;
const cleanedUp = (text: string) => cleanUps.reduce((now, [old, better]) => now.replaceAll(old, better), text);

function wordPiece(settings: Component): Decoder {
  const prefix = settings.prefix as string;
  return (tokens) =>
    tokens.map((token, i) => {
      const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return settings.cleanup === false ? joined : cleanedUp(joined);
    });
}

function ctc(settings: Component): Decoder {
  const pad = (settings.pad_token ?? "<pad>") as string;
  const delimiter = (settings.word_delimiter_token ?? "|") as string;
  return (tokens) =>
    tokens
      .filter((token, i) => i === 0 || token !== tokens[i - 1])
      .map((token) => {
        const kept = replaceAll(token, pad, "");
        return settings.cleanup === false ? kept : replaceAll(cleanedUp(kept), delimiter, " ");
      })
      .filter((text) => text !== "");
}

function strip(settings: Component): Decoder {
  const content = (settings.content ?? " ") as string;
  const [start, stop] = [(settings.start ?? 0) as number, (settings.stop ?? 0) as number];
  return (tokens) =>
    tokens.map((token) => {
      const chars = [...token];
      let from = 0;
      while (from < start && chars[from] === content) from++;
      let to = chars.length;
      while (to > from && chars.length - to < stop && chars[to - 1] === content) to--;
      return chars.slice(from, to).join("");
    });
}
