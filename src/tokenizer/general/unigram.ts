/**
 * Unigram (Kudo, 2018) as the Rust library `tokenizers` runs it: the best path through all tokens of a text, by the sum of
 * their scores (Viterbi), found in one pass whose work grows with the text's length times that of the longest token. Called
 * by models.ts.
 */
import type { TokenizerModel } from "../tokenizer-json.ts";
import { type Model, UnknownText } from "./model.ts";

/** What an unknown character costs beyond the worst token. */
const unknownPenalty = 10;
const utf8 = new TextEncoder();

export function createUnigram(model: TokenizerModel): Model {
  const pieces = model.vocab as [string, number][];
  const ids = new Map<string, number>();
  // Nodes of a trie over UTF-16 units; the children of all are in one map, which a vocabulary of 250,000 pieces needs.
  const children = new Map<number, number>();
  const idOfNode: number[] = [-1];
  let worst = Number.POSITIVE_INFINITY;
  for (const [id, [piece, score]] of pieces.entries()) {
    ids.set(piece, id);
    worst = Math.min(worst, score);
    let node = 0;
    for (let i = 0; i < piece.length; i++) {
      const key = node * 65536 + piece.charCodeAt(i);
      let child = children.get(key);
      if (child === undefined) {
        child = idOfNode.push(-1) - 1;
        children.set(key, child);
      }
      node = child;
    }
    if (piece !== "") idOfNode[node] = id;
  }
  const scores = Float64Array.from(pieces, ([, score]) => score);
  const unknownScore = worst - unknownPenalty;
  const unknownId = typeof model.unk_id === "number" ? model.unk_id : -1;
  const idOfByte =
    model.byte_fallback === true
      ? Array.from({ length: 256 }, (_, b) => ids.get(`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`))
      : null;

  return (text, out) => {
    const length = text.length;
    const best = new Float64Array(length + 1);
    const startOf = new Int32Array(length + 1).fill(-1);
    const idAt = new Int32Array(length + 1);
    const reach = (end: number, start: number, id: number, score: number) => {
      if (startOf[end] >= 0 && !(score > best[end])) return;
      best[end] = score;
      startOf[end] = start;
      idAt[end] = id;
    };
    for (let start = 0; start < length; ) {
      const next = start + (text.codePointAt(start)! > 0xffff ? 2 : 1);
      let single = false;
      let node: number | undefined = 0;
      for (let end = start; end < length; ) {
        node = children.get(node * 65536 + text.charCodeAt(end++));
        if (node === undefined) break;
        const id = idOfNode[node];
        if (id < 0) continue;
        reach(end, start, id, scores[id] + best[start]);
        if (end === next) single = true;
      }
      if (!single) {
        if (startOf[next] < 0 || unknownScore + best[start] > best[next]) {
          if (unknownId < 0) throw new UnknownText(text.slice(start, next));
          reach(next, start, unknownId, unknownScore + best[start]);
        }
      }
      start = next;
    }
    // From the end: tokens by id, and stretches of unknown characters as one each.
    const path: number[] = [];
    for (let end = length; end > 0; ) {
      let start = startOf[end];
      if (unknownId >= 0 && idAt[end] === unknownId)
        while (start > 0 && idAt[start] === unknownId) start = startOf[start];
      path.push(end, start);
      end = start;
    }
    for (let i = path.length - 1; i > 0; i -= 2) {
      const [start, end] = [path[i], path[i - 1]];
      const id = idAt[end];
      if (id !== unknownId) {
        out.push(id);
        continue;
      }
      const stretch = text.slice(start, end);
      const whole = ids.get(stretch);
      const bytes = whole === undefined && idOfByte ? utf8.encode(stretch) : null;
      if (whole !== undefined) out.push(whole);
      else if (bytes?.every((byte) => idOfByte![byte] !== undefined)) for (const b of bytes) out.push(idOfByte![b]!);
      else if (unknownId < 0) throw new UnknownText(stretch);
      else out.push(unknownId);
    }
  };
}
