/**
 * The rotary table of a model on its device, as long as its texts have been, not as its config claims: it grows by doubling
 * up to the context. Rows are those of rotaryTable, so results do not depend on how far it has grown. Called by a model.
 */
import { rotaryTable } from "../ops/rotary/index.ts";
import { type Runtime, Storage, Tensor } from "../tensor/index.ts";

/** Positions of the first table. */
const firstPositions = 512;

export class RotaryTable {
  private tensor: Tensor | null = null;

  constructor(
    private readonly runtime: Runtime,
    private readonly sizes: { contextLength: number; headWidth: number; ropeBase: number },
  ) {}

  /**
   * [at least `positions`, headWidth]; the context's length at most. The table's, which disposes of it: a tape that still
   * wants an older one holds it.
   */
  upTo(positions: number): Tensor {
    const { contextLength, headWidth, ropeBase } = this.sizes;
    const before = this.tensor?.shape[0] ?? 0;
    if (this.tensor && before >= Math.min(positions, contextLength)) return this.tensor;
    const rows = Math.min(contextLength, Math.max(positions, 2 * before, firstPositions));
    // Outside every scope: it outlives the pass that is under way.
    const { backend } = this.runtime;
    const table = new Tensor([rows, headWidth], "f32", new Storage(backend, backend.allocate(4 * rows * headWidth)));
    backend.upload(table.buffer, rotaryTable(rows, headWidth, ropeBase));
    this.tensor?.dispose();
    this.tensor = table;
    return table;
  }

  dispose(): void {
    this.tensor?.dispose();
    this.tensor = null;
  }
}
