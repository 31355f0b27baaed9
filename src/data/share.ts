/**
 * A machine's or process's part of any work: part `index` of `count`, counted from 0, as in `--share 3/16`. The one word for
 * it, in options, reports and code: a shard is a file, and a rank a process of a communicator. Called by whatever divides
 * work: preparing, deduplicating, mixing, streaming.
 */
import { UsageError } from "../platform/errors.ts";

export interface Share {
  readonly index: number;
  readonly count: number;
}

/** All of the work. */
export const wholeShare: Share = { index: 0, count: 1 };

/** @throws UsageError for one that is none */
export function checkShare({ index, count }: Share): void {
  if (!(Number.isInteger(count) && count >= 1 && Number.isInteger(index) && index >= 0 && index < count))
    throw new UsageError(`share ${index} of ${count}; expected a whole number of shares, counted from 0`);
}

/** "3/16". @throws UsageError */
export function parseShare(text: string): Share {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const share = match && { index: Number(match[1]), count: Number(match[2]) };
  if (!share || !(share.index < share.count) || !Number.isSafeInteger(share.count))
    throw new UsageError(`share "${text}": expected I/N with I below N, such as 0/4`);
  return share;
}

/** As `parseShare` reads it. */
export const shareName = ({ index, count }: Share): string => `${index}/${count}`;

/** Whether a piece of work, by its number, belongs to the share: those whose number modulo `count` is `index`. */
export const isInShare = (number: number, { index, count }: Share): boolean => number % count === index;
