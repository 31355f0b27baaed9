/**
 * A list of named parts that users may add to: quantizers, estimators, objectives, optimizers, tasks, filters and the like. It
 * knows nothing of what the parts do. Each kind of part has one registry, beside its implementations; extensions/ adds to them.
 */
import { nearest } from "./edit-distance.ts";
import { UsageError } from "./errors.ts";
import { show } from "./show.ts";

export class Registry<T extends object> {
  private readonly parts: T[] = [];
  private readonly taken: string[] = [];
  private readonly lacks: (part: unknown) => string | null;

  /**
   * @param what  names the kind of part in messages, such as "weight quantizer"
   * @param lacks says what a part has not that it must have, such as "quantize()"; null: nothing
   * @param key   the property that holds a part's name
   */
  constructor(
    readonly what: string,
    parts: readonly T[],
    lacks: (part: T) => string | null = () => null,
    private readonly key: "name" | "kind" = "name",
  ) {
    this.lacks = lacks as (part: unknown) => string | null;
    for (const part of parts) this.register(part);
  }

  /**
   * Adds a part.
   *
   * @returns takes it out again
   * @throws UsageError if it has no name, its name is taken, or it lacks what it must have
   */
  register(part: T): () => void {
    const name: unknown = (part as Record<string, unknown> | null)?.[this.key];
    if (typeof name !== "string" || name === "")
      throw new UsageError(`${this.what}: ${this.key} is ${show(name)}; expected a name of its own`);
    const missing = this.lacks(part);
    if (missing !== null) throw new UsageError(`${this.what} "${name}" has no ${missing}; see docs/extending.md`);
    if (this.taken.includes(name)) throw new UsageError(`${this.what} "${name}" exists already; choose another name`);
    this.parts.push(part);
    this.taken.push(name);
    return () => {
      const at = this.parts.indexOf(part);
      if (at < 0) return;
      this.parts.splice(at, 1);
      this.taken.splice(at, 1);
    };
  }

  /** The parts, those of extensions behind ours; the list itself, which grows. */
  get all(): readonly T[] {
    return this.parts;
  }

  /** Their names, in the same order; this list grows too. */
  get names(): readonly string[] {
    return this.taken;
  }

  has(name: string): boolean {
    return this.find(name) !== undefined;
  }

  find(name: string): T | undefined {
    return this.parts[this.taken.indexOf(name)];
  }

  /**
   * @param where the key or option that asks for it, such as "optimizer.kind"
   * @throws UsageError that names the parts there are
   */
  get(name: string, where?: string): T {
    const part = this.find(name);
    if (part) return part;
    throw new UsageError(
      where === undefined ? this.unknown(name) : `${where} is ${show(name)}; ${this.expected(name)}`,
    );
  }

  /** The message about a name that is not there. @param others names that are taken beside the parts', such as "none" */
  unknown(name: unknown, others: readonly string[] = []): string {
    return `unknown ${this.what} ${show(name)}; ${this.expected(name, others)}`;
  }

  /** Its end: the names there are, and the nearest of them, or how a part of one's own gets there. */
  expected(name: unknown, others: readonly string[] = []): string {
    const known = [...this.names, ...others];
    const near = typeof name === "string" ? nearest(name, known) : undefined;
    const list = known.length === 0 ? "there are none yet" : `expected one of ${known.join(", ")}`;
    return `${list}${near ? `; did you mean "${near}"?` : " (your own: load its module with --extension FILE)"}`;
  }
}
