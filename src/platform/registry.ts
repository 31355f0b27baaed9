/**
 * A list of named parts that users may add to: quantizers, estimators, objectives and the like. It knows nothing of what
 * the parts do. Each kind of part has one registry, beside its implementations.
 */
import { UsageError } from "./errors.ts";

export class Registry<T extends { readonly name: string }> {
  private readonly parts = new Map<string, T>();
  private readonly lacks: (part: unknown) => string | null;

  /**
   * @param what  names the kind of part in messages, e.g. "weight quantizer"
   * @param lacks says what a part has not that it must have, such as "quantize()"; null: nothing
   */
  constructor(
    readonly what: string,
    parts: readonly T[],
    lacks: (part: T) => string | null = () => null,
  ) {
    this.lacks = lacks as (part: unknown) => string | null;
    for (const part of parts) this.register(part);
  }

  /** Adds a part. @throws UsageError if its name is taken, or it lacks what it must have */
  register(part: T): void {
    const missing = this.lacks(part);
    if (missing !== null) throw new UsageError(`${this.what} "${part.name}" has no ${missing}; see docs/extending.md`);
    if (this.parts.has(part.name))
      throw new UsageError(`${this.what} "${part.name}" exists already; choose another name`);
    this.parts.set(part.name, part);
  }

  has(name: string): boolean {
    return this.parts.has(name);
  }

  /** @throws UsageError that names the parts there are */
  get(name: string): T {
    const part = this.parts.get(name);
    if (part) return part;
    throw new UsageError(`unknown ${this.what} "${name}"; expected one of: ${this.names.join(", ")}${this.hint}`);
  }

  /** Behind a list of names: how a part of one's own gets there. */
  readonly hint = " (your own: load its module with --extension FILE)";

  get names(): string[] {
    return [...this.parts.keys()];
  }
}
