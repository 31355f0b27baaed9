/**
 * Patterns that name parameters and layers: `*` stands for any characters, dots included. A pattern is held against the whole
 * name, with or without `model.` in front and `.weight` behind: `layers.0.*`, `*.down_proj` and `embed_tokens` name what
 * they seem to. The one matcher of `model.quantization.overrides`, `train.freeze` and `training.controls`.
 */
import { UsageError } from "./errors.ts";

export function matchesPattern(pattern: string, name: string): boolean {
  const escaped = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^(?:model\\.)?${escaped.join(".*")}(?:\\.weight)?$`, "s").test(name);
}

/** Those that a pattern names. @throws UsageError for none */
export function matching<T extends { readonly name: string }>(what: string, pattern: string, all: readonly T[]): T[] {
  const found = all.filter(({ name }) => matchesPattern(pattern, name));
  if (found.length > 0) return found;
  const examples = all.slice(0, 3).map(({ name }) => name);
  throw new UsageError(`${what}: "${pattern}" names nothing; names are such as ${examples.join(", ")}`);
}
