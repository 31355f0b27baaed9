/**
 * Cutting long texts so that the tokens of the parts, end to end, are those of the whole: before a space that stands
 * between two ASCII letters. GPT-2's and LLaMA-3's patterns end a pre-token there whatever lies around; where a tokenizer has
 * no pre-tokenizer, its merges must not join a letter and a space (cutsAtSpaces of the tables tells).
 */

const isLetter = (unit: number): boolean => (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a;

const isCut = (text: string, at: number): boolean =>
  text.charCodeAt(at) === 0x20 && isLetter(text.charCodeAt(at - 1)) && isLetter(text.charCodeAt(at + 1));

/** Whether an added token could be cut in two. */
export const holdsCut = (name: string): boolean => /[A-Za-z] [A-Za-z]/.test(name);

/** Where the part that begins at `start` ends: near `units` further on, or at the text's end where no place is safe. */
export function partEnd(text: string, start: number, units: number): number {
  const wanted = start + units;
  if (wanted >= text.length) return text.length;
  for (let at = wanted; at > start + units / 2; at--) if (isCut(text, at)) return at;
  for (let at = wanted + 1; at < text.length - 1; at++) if (isCut(text, at)) return at;
  return text.length;
}
