/** A sequence of the packed engine: its length, and its pages of keys and values. */
import { pageTokens } from "../../ops/cached-attention/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { checkLength, type Sequence } from "../engine.ts";
import type { PageList } from "./pages.ts";

/** What a sequence needs of its engine. */
export interface SequenceOwner {
  /** The first position that the token at a position sees. */
  firstSeen(position: number): number;
  /** A new sequence over these pages. */
  adopt(pages: PageList, length: number): PackedSequence;
  /** One is disposed of. */
  forget(sequence: PackedSequence): void;
}

export class PackedSequence implements Sequence {
  private disposed = false;

  constructor(
    private readonly owner: SequenceOwner,
    readonly pages: PageList,
    public length: number,
  ) {}

  truncate(length: number): void {
    checkLength(length, this.length);
    const seenFrom = this.owner.firstSeen(length);
    if (length > 0 && seenFrom < this.pages.first * pageTokens)
      throw new UsageError(
        `sequence: cannot be truncated to ${length} tokens; what they would see, from token ${seenFrom} on, has slid out of the cache`,
      );
    this.pages.truncate(length);
    this.length = length;
  }

  fork(): Sequence {
    if (this.disposed) throw new UsageError("sequence: fork of a sequence that is disposed of");
    return this.owner.adopt(this.pages.fork(), this.length);
  }

  dispose(): void {
    if (this.disposed) return;
    this.pages.truncate(0);
    this.length = 0;
    this.disposed = true;
    this.owner.forget(this);
  }
}
