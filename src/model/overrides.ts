/**
 * From what a file says of each layer to the config's overrides (quantization.ts): a pattern for a whole block or for a
 * projection of all blocks, names for the rest. Called where models are read that other programs or formats hold.
 */
import { FormatError, UsageError } from "../platform/errors.ts";
import type { ModelConfig } from "./config.ts";
import { linearNames, linearRoles, moduleName, shortName } from "./names.ts";
import { planModel } from "./plan.ts";
import type { QuantizationConfig } from "./quantization.ts";

/** Of one layer: the names of its quantizers, as in a config. */
export interface LayerChoice {
  readonly weights: string;
  readonly activations: string;
}

/**
 * @param choices by layer name, of the layers that differ from the config's defaults
 * @param blocks  L
 * @returns undefined where no layer differs
 */
export function quantizationOf(
  choices: ReadonlyMap<string, LayerChoice>,
  blocks: number,
): QuantizationConfig | undefined {
  if (choices.size === 0) return undefined;
  const groups = new Map<string, { choice: LayerChoice; names: Set<string> }>();
  for (const [name, choice] of choices) {
    const key = `${choice.weights} ${choice.activations}`;
    const group = groups.get(key) ?? { choice, names: new Set() };
    group.names.add(name);
    groups.set(key, group);
  }
  const overrides = [...groups.values()].flatMap(({ choice, names }) =>
    patternsOf(names, blocks).map((layers) => ({ layers, ...choice })),
  );
  return { overrides };
}

/** Patterns that match exactly these layers. */
function patternsOf(names: ReadonlySet<string>, blocks: number): string[] {
  const all = Array.from({ length: blocks }, (_, block) => block);
  const left = new Set(names);
  const patterns: string[] = [];
  const take = (pattern: string, layers: readonly string[]) => {
    if (!layers.every((name) => names.has(name)) || !layers.some((name) => left.has(name))) return;
    for (const name of layers) left.delete(name);
    patterns.push(pattern);
  };
  for (const role of linearRoles) {
    const inBlock = linearNames[role];
    take(
      `*.${inBlock.split(".").at(-1)}`,
      all.map((block) => moduleName(block, inBlock)),
    );
  }
  for (const block of all)
    take(
      shortName(moduleName(block, "*")),
      linearRoles.map((role) => moduleName(block, linearNames[role])),
    );
  return [...patterns, ...[...left].map(shortName)];
}

/** @throws FormatError for overrides, in a file's config, that its layers cannot have */
export function checkQuantization(config: ModelConfig, where: string): void {
  try {
    planModel(config);
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    throw new FormatError(`${where}: ${cause.message}`, { cause });
  }
}
