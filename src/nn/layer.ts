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

  constructor(
    readonly runtime: Runtime,
    private readonly random: Random | null,
  ) {}

  create(name: string, role: ParameterRole, shape: readonly number[], initial: Initial): Parameter {
    const plain = this.random
      ? this.runtime.upload(shape, "f32", drawn(shape, initial, this.random))
      : this.runtime.empty(shape);
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
