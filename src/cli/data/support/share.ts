/** `--share I/N`, or `--shard I/N`: one machine's share of the work. */
import { InvalidArgumentError } from "commander";

export function parseShare(word: string): { index: number; count: number } {
  const match = /^(\d+)\/(\d+)$/.exec(word);
  const [index, count] = match ? [Number(match[1]), Number(match[2])] : [1, 0];
  if (index >= count) throw new InvalidArgumentError("Expected I/N with I below N, such as 0/4.");
  return { index, count };
}
