/** What layers share: how parameters are made and named. */
import type { Random } from "../platform/random.ts";
import { Parameter, type ParameterRole, type Runtime, Tensor } from "../tensor/index.ts";

/** How a parameter starts: every value the same, or N(0, std²). */
export type Initial = { fill: number } | { std: number };

/**
 * Makes parameters for one model, in order, from one seeded source, so that a seed names one set of weights. Without a
 * source their memory is left as it is, for values that are loaded next, or for none (a dry run).
 */
export class ParameterFactory {
  readonly parameters: Parameter[] = [];
  /** The values drawn last, for parameters that begin by them. */
  private lastDrawn: { parameter: Parameter; values: Float32Array } | null = null;

  constructor(
    readonly runtime: Runtime,
    private readonly random: Random | null,
  ) {}

  create(name: string, role: ParameterRole, shape: readonly number[], initial: Initial): Parameter {
    const values = this.random && drawn(shape, initial, this.random);
    const parameter = this.add(name, role, shape, values);
    this.lastDrawn = values && { parameter, values };
    return parameter;
  }

  /** A parameter that begins by the values of the one that was made last, and takes nothing from the source. */
  createFrom(
    of: Parameter,
    name: string,
    role: ParameterRole,
    shape: readonly number[],
    initial: (values: Float32Array) => Float32Array,
  ): Parameter {
    if (!this.random) return this.add(name, role, shape, null);
    if (this.lastDrawn?.parameter !== of) throw new Error(`${name}: begins by ${of.name}, which was not made last`);
    return this.add(name, role, shape, initial(this.lastDrawn.values));
  }

  private add(name: string, role: ParameterRole, shape: readonly number[], values: Float32Array | null): Parameter {
    const plain = values ? this.runtime.upload(shape, "f32", values) : this.runtime.empty(shape);
    const parameter = new Parameter(name, role, new Tensor(shape, "f32", plain.storage, true));
    this.parameters.push(parameter);
    return parameter;
  }
}

function drawn(shape: readonly number[], initial: Initial, random: Random): Float32Array {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  if ("fill" in initial) values.fill(initial.fill);
  else for (let i = 0; i < values.length; i++) values[i] = random.normal() * initial.std;
  return values;
}
