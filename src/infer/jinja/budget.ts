/**
 * What one rendering may cost. A template comes with a model's file, so it may loop without end, double a text until memory
 * is gone, or call itself: each is refused by name, and the process lives on. A deadline stands behind all of it
 * (template.ts). Called by the interpreter and what makes values.
 */
import { DataError } from "../../platform/errors.ts";

/** Nodes evaluated. The templates of known models take some hundred for each message. */
const maxSteps = 2_000_000;
/** Characters and list entries that one value may have, and that all of one rendering may make. A body has 1 MiB. */
const maxValueSize = 2 ** 24;
const maxMade = 2 ** 26;
/** Evaluations inside evaluations (macros that call macros). */
const maxDepth = 400;

export class Budget {
  private steps = 0;
  private made = 0;
  private depth = 0;

  step(): void {
    if (++this.steps > maxSteps) throw new DataError(`the template takes more than ${maxSteps} steps`);
  }

  /** Characters or entries about to be made. */
  make(size: number): void {
    this.check(size);
    this.made += size;
    if (this.made > maxMade)
      throw new DataError(`the template makes more than ${maxMade} characters or entries in all`);
  }

  /** The size of a value with all that is in it. */
  check(size: number): void {
    if (!(size <= maxValueSize))
      throw new DataError(`the template makes a value of more than ${maxValueSize} characters or entries`);
  }

  within<T>(work: () => T): T {
    if (this.depth >= maxDepth) throw new DataError(`the template nests more than ${maxDepth} evaluations`);
    this.depth++;
    try {
      return work();
    } finally {
      this.depth--;
    }
  }
}
