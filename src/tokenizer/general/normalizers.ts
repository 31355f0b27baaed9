/**
 * The normalizers of a tokenizer.json, as the Rust library `tokenizers` runs them. Called by general.ts; settings have
 * been checked by component-check.ts, a type that is not here is refused when the file is opened.
 */
import { FormatError } from "../../platform/errors.ts";
import { byteToChar } from "../byte-alphabet.ts";
import type { Component } from "../tokenizer-json.ts";
import { finderOf } from "./patterns.ts";
import type { Piece } from "./piece.ts";
import { precompiledMap } from "./precompiled.ts";
import { isChinese, isControl, isMark, isNonspacingMark, isSpace, normalizeAs } from "./unicode.ts";

/** Changes the text of a piece. */
export type Normalizer = (piece: Piece) => void;

const mapped =
  (change: (text: string) => string): Normalizer =>
  (piece) => {
    piece.text = change(piece.text);
  };

/** Drops characters; a piece whose first one is dropped does not begin its text any more. */
function without(piece: Piece, dropped: (codePoint: number) => boolean): void {
  const { text } = piece;
  let kept = "";
  let from = 0;
  for (let i = 0; i < text.length; ) {
    const codePoint = text.codePointAt(i)!;
    const end = i + (codePoint > 0xffff ? 2 : 1);
    if (dropped(codePoint)) {
      kept += text.slice(from, i);
      if (i === 0) piece.first = false;
      from = end;
    }
    i = end;
  }
  if (from > 0) piece.text = kept + text.slice(from);
}

const eachCharacter = (text: string, change: (codePoint: number, char: string) => string): string => {
  let changed = "";
  for (const char of text) changed += change(char.codePointAt(0)!, char);
  return changed;
};

/** Character by character, as Rust does: JavaScript's own looks around a capital sigma. */
export function lowercase(text: string): string {
  const lower = text.toLowerCase();
  return text.includes("\u03a3") ? eachCharacter(text, (_, char) => char.toLowerCase()) : lower;
}

const utf8 = new TextEncoder();
/** A text in GPT-2's byte alphabet. */
export function byteLetters(text: string): string {
  let letters = "";
  for (const byte of utf8.encode(text)) letters += byteToChar[byte];
  return letters;
}

const spaceStart = (text: string): number => {
  let start = 0;
  while (start < text.length && isSpace(text.charCodeAt(start))) start++;
  return start;
};
const spaceEnd = (text: string): number => {
  let end = text.length;
  while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
  return end;
};

/** Of SentencePiece's nmt rules, those that the library has. */
const nmtDropped = (c: number) =>
  (c >= 1 && c <= 8) || c === 0xb || (c >= 0xe && c <= 0x1f) || c === 0x7f || c === 0x8f || c === 0x9f;
const nmtSpaces = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

/** @param where named in errors */
export function createNormalizer(component: Component | null, where: string): Normalizer | null {
  if (component === null) return null;
  switch (component.type) {
    case "Sequence": {
      const steps = (component.normalizers as Component[]).map((step) => createNormalizer(step, where)!);
      return (piece) => {
        for (const step of steps) step(piece);
      };
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = component.type;
      return mapped((text) => normalizeAs(form, text));
    }
    case "Lowercase":
      return mapped(lowercase);
    case "Strip": {
      const { strip_left: left, strip_right: right } = component;
      return (piece) => {
        if (left !== false) {
          const start = spaceStart(piece.text);
          if (start > 0) piece.first = false;
          piece.text = piece.text.slice(start);
        }
        if (right !== false) piece.text = piece.text.slice(0, spaceEnd(piece.text));
      };
    }
    case "StripAccents":
      return (piece) => without(piece, isMark);
    case "BertNormalizer":
      return bertNormalizer(component);
    case "Nmt":
      return (piece) => {
        without(piece, nmtDropped);
        piece.text = piece.text.replace(nmtSpaces, " ");
      };
    case "Precompiled": {
      const map = precompiledMap(component.precompiled_charsmap as string, where);
      return (piece) => {
        const { text } = piece;
        piece.text = map(text);
      };
    }
    case "Replace": {
      const find = finderOf(component.pattern as { String?: string; Regex?: string }, where);
      const content = component.content as string;
      return (piece) => {
        const { text } = piece;
        let replaced = "";
        for (const { start, end, isMatch } of find(text)) {
          replaced += isMatch ? content : text.slice(start, end);
          if (isMatch && start === 0 && end > 0 && content === "") piece.first = false;
        }
        piece.text = replaced;
      };
    }
    case "Prepend": {
      const prepended = component.prepend as string;
      return mapped((text) => (text === "" ? text : prepended + text));
    }
    case "ByteLevel":
      return mapped(byteLetters);
    default:
      throw new FormatError(`${where}: the normalizer ${JSON.stringify(component.type)} is not supported`);
  }
}

function bertNormalizer(settings: Component): Normalizer {
  const clean = settings.clean_text !== false;
  const chinese = settings.handle_chinese_chars !== false;
  const lower = settings.lowercase !== false;
  const accents = typeof settings.strip_accents === "boolean" ? settings.strip_accents : lower;
  return (piece) => {
    if (clean) {
      without(piece, isControl);
      piece.text = eachCharacter(piece.text, (codePoint, char) => (isSpace(codePoint) ? " " : char));
    }
    if (chinese)
      piece.text = eachCharacter(piece.text, (codePoint, char) => (isChinese(codePoint) ? ` ${char} ` : char));
    if (accents) {
      piece.text = normalizeAs("NFD", piece.text);
      without(piece, isNonspacingMark);
    }
    if (lower) piece.text = lowercase(piece.text);
  };
}
