/**
 * Rotary angles by need: rows of rotaryTable (reference.ts), made in blocks when a position is first asked for. A model's file
 * claims its context, up to 2^31 tokens; texts are seldom so long. Called by infer/packed/ and nn/rotary-table.ts.
 */
import { rotaryRows } from "./reference.ts";

/** Positions of a block: 64 kB with heads of 128, a millisecond of sines. */
const blockPositions = 128;

export class RotaryAngles {
  private readonly blocks = new Map<number, Float32Array>();

  /** @param positions rows beyond these are made anew each time: a text in a ring has no last one */
  constructor(
    private readonly positions: number,
    private readonly headWidth: number,
    private readonly base: number,
  ) {}

  /** [headWidth]: cos of the position's angles, then their sines. Not to be changed. */
  at(position: number): Float32Array {
    const { headWidth: D } = this;
    if (position >= this.positions) return rotaryRows(position, position + 1, D, this.base);
    const index = Math.floor(position / blockPositions);
    let block = this.blocks.get(index);
    if (!block) {
      const from = index * blockPositions;
      block = rotaryRows(from, Math.min(from + blockPositions, this.positions), D, this.base);
      this.blocks.set(index, block);
    }
    const at = (position - index * blockPositions) * D;
    return block.subarray(at, at + D);
  }
}
