/**
 * Generated problem sets: endless text whose answers can be checked, for sanity checks of small models.
 *
 * Each set is a pure function of a seed. A problem is held out, or not, by a hash of its canonical form, never by its
 * line or its place: a held-out problem does not occur in training text of any seed, in any spelling that the set
 * counts as the same problem.
 */
import type { Random } from "../../platform/random.ts";
import { DataError, UsageError } from "../../platform/errors.ts";
import type { DocumentSource } from "../prepare.ts";
import { unitHash } from "../../data/split.ts";

export type ProblemSplit = "train" | "heldout";

export interface ProblemSet {
  readonly name: string;
  /** Changes whenever the texts of the set do; keys caches. */
  readonly identity: string;
  /** Every character that its prompts and answers can hold, and the newline behind an answer. */
  readonly characters: string;
  /** Problems of one split without end, repeats included; the same for the same seed. */
  generate(split: ProblemSplit, seed: number): Iterable<string>;
  isHeldOut(problem: string): boolean;
  /** What the model is given. */
  prompt(problem: string): string;
  /** What it should go on with, up to the newline. */
  answer(problem: string): string;
  /**
   * Whether a model's continuation of a prompt is right: its text up to the first newline is judged, spaces at its end
   * do not count. Worked out from the prompt alone.
   *
   * @throws UsageError for a prompt that is not of this set
   */
  check(prompt: string, answer: string): boolean;
}

/** One problem in ten. */
export const heldOutFraction = 0.1;

/** Whether the problem of this canonical form is held out. */
export const isHeldOutForm = (setName: string, form: string): boolean =>
  unitHash(`${setName}\n${form}`) < heldOutFraction;

/** Endless problems of one split: `draw` is called until it gives one of that split. */
export function* drawSplit(
  set: Pick<ProblemSet, "isHeldOut">,
  split: ProblemSplit,
  random: Random,
  draw: (random: Random) => string,
): Generator<string> {
  for (;;) {
    const problem = draw(random);
    if (set.isHeldOut(problem) === (split === "heldout")) yield problem;
  }
}

/** A problem as a line (or lines) of text: prompt, answer, newline. */
export const problemText = (set: ProblemSet, problem: string): string =>
  `${set.prompt(problem)}${set.answer(problem)}\n`;

/** What a continuation is judged by: its text up to the first newline, without spaces at the end. */
export const answerLine = (continuation: string): string => continuation.split("\n", 1)[0].trimEnd();

/** The first `count` problems. */
export function* take(problems: Iterable<string>, count: number): Generator<string> {
  let taken = 0;
  if (taken >= count) return;
  for (const problem of problems) {
    yield problem;
    if (++taken >= count) return;
  }
}

/**
 * `count` different problems, to measure on.
 *
 * @throws DataError if the set runs out: 1000 draws in a row bring nothing new
 */
export function* takeDistinct(set: ProblemSet, split: ProblemSplit, seed: number, count: number): Generator<string> {
  const found = new Set<string>();
  let idle = 0;
  if (count <= 0) return;
  for (const problem of set.generate(split, seed)) {
    if (!found.has(problem)) {
      found.add(problem);
      idle = 0;
      yield problem;
    } else if (++idle >= 1000)
      throw new DataError(
        `${count} different ${split} problems of ${set.name} were asked for, but it hardly has more than ${found.size}; ask for fewer`,
      );
    if (found.size === count) return;
  }
}

/**
 * A set's problems as documents for prepareTokens: `perDocument` of them a document, newlines between. With 1, an
 * end-of-text token stands behind every answer instead.
 */
export function problemDocuments(
  set: ProblemSet,
  { split, seed, count, perDocument = 64 }: { split: ProblemSplit; seed: number; count: number; perDocument?: number },
): DocumentSource {
  for (const [name, value] of Object.entries({ count, perDocument }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new UsageError(`${name} is ${value}; expected a whole number from 1`);
  return {
    name: `${set.name} (${split}, ${count} problems, seed ${seed})`,
    identity: `${set.identity}:${split}:${seed}:${count}:${perDocument}`,
    *documents() {
      let lines: string[] = [];
      for (const problem of take(set.generate(split, seed), count)) {
        lines.push(set.prompt(problem) + set.answer(problem));
        if (lines.length === perDocument) {
          yield lines.join("\n");
          lines = [];
        }
      }
      if (lines.length > 0) yield lines.join("\n");
    },
  };
}
