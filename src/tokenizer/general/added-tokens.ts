/**
 * Finding added tokens in a text as the Rust library `tokenizers` does: the leftmost, of those at one place the longest;
 * with white space beside them taken in (lstrip, rstrip), and only apart from letters (single_word). Called by general.ts;
 * encoder.ts has the same over bytes.
 */
import type { AddedToken } from "../tokenizer-json.ts";
import type { Piece } from "./piece.ts";
import { isSpace, isWord } from "./unicode.ts";

/** Cuts added tokens out of a piece. */
export type AddedSplitter = (piece: Piece, parseSpecial: boolean) => Piece[];

/** @param tokens with what is looked for: the name, normalized where the token is; the first of one name counts */
export function addedSplitter(tokens: readonly { token: AddedToken; name: string }[]): AddedSplitter | null {
  const byName = new Map<string, AddedToken>();
  for (const { token, name } of tokens) if (name !== "" && !byName.has(name)) byName.set(name, token);
  if (byName.size === 0) return null;
  const names = [...byName.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|"), "g");
  return (piece, parseSpecial) => {
    const { text } = piece;
    const parts: Piece[] = [];
    const plain = (start: number, end: number) => {
      if (start < end) parts.push({ text: text.slice(start, end), first: piece.first && start === 0, id: -1 });
    };
    let from = 0;
    pattern.lastIndex = 0;
    for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
      const token = byName.get(match[0])!;
      let start = match.index;
      let end = start + match[0].length;
      if (token.special && !parseSpecial) continue;
      if (token.single_word && (wordBefore(text, start) || wordBehind(text, end))) continue;
      // White space that the token before has taken in is not taken twice.
      if (token.lstrip) start = Math.max(start, from);
      if (token.lstrip) while (start > from && isSpace(text.charCodeAt(start - 1))) start--;
      if (token.rstrip) while (end < text.length && isSpace(text.charCodeAt(end))) end++;
      plain(from, start);
      if (start < end) parts.push({ text: text.slice(start, end), first: false, id: token.id });
      from = end;
    }
    plain(from, text.length);
    return parts;
  };
}

function wordBefore(text: string, at: number): boolean {
  if (at === 0) return false;
  const unit = text.charCodeAt(at - 1);
  return isWord(unit >= 0xdc00 && unit <= 0xdfff && at > 1 ? text.codePointAt(at - 2)! : unit);
}

const wordBehind = (text: string, at: number): boolean => at < text.length && isWord(text.codePointAt(at)!);
